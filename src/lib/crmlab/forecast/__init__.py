"""What the pipeline will bring: a distribution per month and quarter, against target, tried on the past."""

from .backtest import OURS, Backtest, backtest_forecast
from .cards import BattleCards, battle_cards
from .deals import at_risk, must_win
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
    "BattleCards",
    "DealFacts",
    "Draws",
    "Forecast",
    "NewDeals",
    "Period",
    "Residuals",
    "Shock",
    "Situation",
    "at_risk",
    "backtest_forecast",
    "battle_cards",
    "build_situation",
    "estimate_shock",
    "forecast_edges",
    "forecast_periods",
    "forecast_pipeline",
    "known_deals",
    "must_win",
    "simulate",
]
