"""The ladders of the demo: how leads, deals and customers move, and what each type of interaction really does.

Columns are the five levels, from cold to hot. The effect is what one interaction adds to the probability of going up
(down) one level that day. `email_open` has no effect on anything: it merely follows interest.
"""

import numpy as np

from .process import Ladder

__all__ = ["BY_REP", "CUSTOMER", "DEAL", "LADDERS", "LEAD"]

BY_REP = ("call", "email_sent", "meeting")
"""Types that the rep starts; their number depends on the rep's diligence and on working days."""

_LEAD_TYPES = {
    # type: (chance by level, effect up)
    "call": ((0.030, 0.047, 0.070, 0.100, 0.130), 0.020),
    "email_sent": ((0.050, 0.068, 0.092, 0.120, 0.140), 0.008),
    "email_open": ((0.015, 0.058, 0.143, 0.285, 0.420), 0.0),
    "email_click": ((0.003, 0.014, 0.038, 0.088, 0.143), 0.010),
    "email_reply": ((0.003, 0.014, 0.042, 0.094, 0.154), 0.020),
    "meeting": ((0.000, 0.003, 0.013, 0.033, 0.066), 0.080),
    "web_visit": ((0.020, 0.063, 0.143, 0.264, 0.400), 0.004),
    "pricing_page": ((0.001, 0.005, 0.022, 0.066, 0.132), 0.015),
    "form": ((0.001, 0.002, 0.007, 0.015, 0.026), 0.030),
    "download": ((0.002, 0.008, 0.020, 0.037, 0.050), 0.020),
    "event": ((0.001, 0.002, 0.004, 0.009, 0.012), 0.060),
}
_DEAL_TYPES = {
    "call": ((0.060, 0.070, 0.085, 0.100, 0.120), 0.025),
    "email_sent": ((0.080, 0.090, 0.100, 0.120, 0.130), 0.010),
    "email_open": ((0.030, 0.060, 0.100, 0.160, 0.220), 0.0),
    "email_click": ((0.005, 0.012, 0.025, 0.045, 0.060), 0.015),
    "email_reply": ((0.010, 0.025, 0.050, 0.090, 0.120), 0.040),
    "meeting": ((0.010, 0.018, 0.030, 0.050, 0.070), 0.120),
    "web_visit": ((0.020, 0.035, 0.060, 0.090, 0.120), 0.010),
    "pricing_page": ((0.003, 0.008, 0.018, 0.035, 0.050), 0.020),
    "download": ((0.004, 0.008, 0.012, 0.016, 0.018), 0.030),
    "event": ((0.002, 0.003, 0.004, 0.005, 0.006), 0.080),
}
_CUSTOMER_TYPES = {
    # type: (chance by level, effect up, effect down)
    "call": ((0.012, 0.011, 0.010, 0.010, 0.010), 0.060, 0.0),
    "email_sent": ((0.015, 0.015, 0.015, 0.015, 0.015), 0.010, 0.0),
    "email_open": ((0.004, 0.008, 0.014, 0.020, 0.026), 0.0, 0.0),
    "email_reply": ((0.003, 0.004, 0.006, 0.008, 0.010), 0.030, 0.0),
    "meeting": ((0.003, 0.003, 0.004, 0.004, 0.005), 0.200, 0.0),
    "pricing_page": ((0.004, 0.003, 0.002, 0.003, 0.005), 0.0, 0.0),
    "event": ((0.001, 0.001, 0.002, 0.003, 0.004), 0.120, 0.0),
    "ticket": ((0.040, 0.030, 0.020, 0.014, 0.010), 0.0, 0.120),
}


def _ladder(entity: str, types: dict[str, tuple], **rest: object) -> Ladder:
    names = tuple(types)
    arrays = {name: np.array(value) for name, value in rest.items() if isinstance(value, tuple)}
    texts = {name: value for name, value in rest.items() if isinstance(value, str)}
    return Ladder(
        entity,
        names,
        chance=np.array([row[0] for row in types.values()]),
        effect_up=np.array([row[1] for row in types.values()]),
        effect_down=np.array([row[2] if len(row) > 2 else 0.0 for row in types.values()]),
        by_rep=np.isin(names, BY_REP),
        **arrays,
        **texts,
    )


LEAD = _ladder(
    "lead",
    _LEAD_TYPES,
    up=(0.007, 0.007, 0.006, 0.005, 0.0),
    down=(0.0, 0.013, 0.015, 0.015, 0.013),
    first=(0.0, 0.0008, 0.0040, 0.0110, 0.0260),
    second=(0.0240, 0.0140, 0.0070, 0.0030, 0.0015),
)
DEAL = _ladder(
    "opportunity",
    _DEAL_TYPES,
    up=(0.010, 0.010, 0.010, 0.010, 0.0),
    down=(0.0, 0.018, 0.020, 0.020, 0.018),
    first=(0.0, 0.0005, 0.0030, 0.0130, 0.0400),
    second=(0.0240, 0.0150, 0.0080, 0.0040, 0.0020),
    first_calendar="close",
)
CUSTOMER = _ladder(
    "customer",
    _CUSTOMER_TYPES,
    up=(0.004, 0.004, 0.004, 0.003, 0.0),
    down=(0.0, 0.003, 0.003, 0.004, 0.005),
    first=(0.0012, 0.0003, 0.0, 0.0, 0.0),
    second=(0.0, 0.0, 0.0, 0.0, 0.0),
    term_end=(0.60, 0.33, 0.14, 0.06, 0.03),
    first_calendar="always",
    second_calendar="always",
)
LADDERS = {ladder.entity: ladder for ladder in (LEAD, DEAL, CUSTOMER)}
