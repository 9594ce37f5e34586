"""What every entity that people talk with has in common: the features of its interactions."""

from .declare import EVER, Declaration, Feature, Ratio

__all__ = ["interaction_features"]


def interaction_features(*, quality_window: int = 90) -> tuple[Declaration, ...]:
    """Return the declarations of interactions: how many, of which kind, how recent, how good.

    Parameters
    ----------
    quality_window : days over which shares are taken; short ones would rest on one or two calls.
    """
    w = quality_window
    return (
        Feature("interactions", "interactions", "n days recency smoothed trend", noun="interactions", ids="R11 R22 R23 B16"),
        Feature("interactions", "interactions", "per_week first", noun="interactions", ids="R12"),
        Feature("interactions", "interactions", "per_day", windows=(30, 90), noun="interactions", ids="B23"),
        Feature("interactions_{}", "interactions", "n days", each="direction", noun="interactions (direction {})", ids="R22"),
        Feature("{}", "interactions", "n days recency", each="type", noun="{}", ids="R03 R22 L11 L12 L13 L16 C20 C21 C22 C25"),
        Feature("{}", "interactions", "smoothed", each="type", noun="{}", ids="R23"),
        Feature("{}", "interactions", "sum mean", of="duration", each="type", noun="{}", ids="R11 R22"),
        Feature("calls_made", "interactions", where={"type": "call", "outcome": ("reached", "not_reached")}, windows=(w,), hidden=True),
        Feature("calls_reached", "interactions", where={"type": "call", "outcome": "reached"}, windows=(w,), noun="calls that reached somebody", ids="R11"),
        Ratio(f"calls_reached_share_{w}d", f"calls_reached_n_{w}d", f"calls_made_n_{w}d", "calls that reached somebody, of all calls with a result", ids="R11"),
        Feature("meetings_set", "interactions", where={"type": "meeting", "outcome": ("held", "no_show")}, windows=(w,), hidden=True),
        Feature("meetings_held", "interactions", where={"type": "meeting", "outcome": "held"}, windows=(w,), noun="meetings held", ids="R11 C21 L16"),
        Ratio(f"meetings_held_share_{w}d", f"meetings_held_n_{w}d", f"meetings_set_n_{w}d", "meetings held, of those with a result", ids="R11 C21"),
        Feature("replies", "interactions", where={"type": "email_reply"}, windows=(w,), hidden=True),
        Feature("mails", "interactions", where={"type": "email_sent"}, windows=(w,), hidden=True),
        Ratio(f"replies_per_email_{w}d", f"replies_n_{w}d", f"mails_n_{w}d", "replies per e-mail sent", ids="R11 L12 C21"),
        Feature("interactions", "interactions", windows=(EVER,), noun="interactions", ids="B23"),
    )  # fmt: skip
