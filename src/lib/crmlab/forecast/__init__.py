"""What the pipeline will bring: a distribution per month and quarter, against target, tried on the past."""

from .backtest import OURS, Backtest, backtest_forecast
from .facts import DealFacts, known_deals
from .outlook import LEVELS, Forecast, forecast_pipeline
from .periods import Period, forecast_edges, forecast_periods
from .shock import Residuals, Shock, estimate_shock
from .simulate import Draws, simulate
from .situation import NewDeals, Situation, build_situation

__all__ = [
    "LEVELS",
    "OURS",
    "Backtest",
    "DealFacts",
    "Draws",
    "Forecast",
    "NewDeals",
    "Period",
    "Residuals",
    "Shock",
    "Situation",
    "backtest_forecast",
    "build_situation",
    "estimate_shock",
    "forecast_edges",
    "forecast_periods",
    "forecast_pipeline",
    "known_deals",
    "simulate",
]
