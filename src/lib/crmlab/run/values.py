"""Values that the library would refuse anyway, refused before anything runs."""

from collections.abc import Mapping

from crmlab.schema import ParameterError

__all__ = ["check_values"]

_LEAST = {
    "calls_per_week": 1,
    "call_cost": 0,
    "conversion_value": 0,
    "n_trials": 0,
    "n_draws": 100,
    "gate_min_outcomes": 1,
    "gate_calibration_error": 0,
    "gate_margin": 0,
}


def check_values(values: Mapping[str, object]) -> None:
    """Check the parameters whose meaning is known, as far as a study has them.

    Raises
    ------
    ParameterError : a value is not allowed, or does not fit another one.
    """
    # Imported here: a study that asks for none of this must not wait for pandas.
    if {"label", "horizon_days", "snapshots"} <= values.keys():
        from crmlab.snapshots import check_question

        check_question(
            entity=str(values.get("entity", "lead")),
            label=values["label"],
            horizon_days=values["horizon_days"],
            every=values["snapshots"],
        )
    if "test_share" in values:
        from crmlab.splits import check_test_share

        check_test_share(values["test_share"])
    if "n_bootstrap" in values:
        from crmlab.metrics import check_resamples

        check_resamples(values["n_bootstrap"])
    for name, least in _LEAST.items():
        if name in values and values[name] < least:
            raise ParameterError(
                f"`{name}` must be at least {least}.", found=str(values[name]), remedy="correct it in the params file."
            )
