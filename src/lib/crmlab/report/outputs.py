"""One notebook output: a payload that the page renders again, HTML for JupyterLab, and plain text for all else.

The page never trusts the HTML in a notebook: it reads the payload (a media type of our own) and escapes it anew.
"""

import json
import math
import sys
from collections.abc import Mapping

from .escape import clean

__all__ = ["media_type", "payload_of", "plain_json", "show"]


def media_type(role: str) -> str:
    """Return the media type of a role: table, figure, headline, sentence, start, metric."""
    return f"application/vnd.crmlab.{role}+json"


def show(
    role: str, payload: Mapping, *, text: str, html: str = "", image: bytes = b"", metadata: Mapping | None = None
) -> None:
    """Show one output in the running notebook; outside of a notebook nothing happens."""
    bundle = {media_type(role): plain_json(payload), "text/plain": clean(text)}
    if html:
        bundle["text/html"] = html
    if image:
        bundle["image/png"] = image
    _publish(bundle, {"crmlab": {"role": role}, **(metadata or {})})


def _publish(bundle: dict, metadata: dict) -> None:
    ipython = sys.modules.get("IPython")  # a notebook has imported it; anything else need not
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.display_pub.publish(data=bundle, metadata=metadata)


def payload_of(output: Mapping, role: str) -> dict | None:
    """Return the payload of an executed output, or None when it has not that role or is not readable."""
    payload = output.get("data", {}).get(media_type(role))
    if isinstance(payload, str):  # some tools store JSON as text
        try:
            payload = json.loads(payload)
        except ValueError:
            return None
    return dict(payload) if isinstance(payload, Mapping) else None


def plain_json(value: object) -> object:
    """Return `value` as JSON can hold it: numpy scalars as numbers, NaN and infinities as null, the rest as text.

    >>> plain_json({"a": float("nan"), "b": (1, "x")})
    {'a': None, 'b': [1, 'x']}
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy scalar
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_json(item) for item in value]
    return None if _not_a_value(value) else clean(value)


def _not_a_value(value: object) -> bool:
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA
        return True
    except ValueError:  # an array: show it as text
        return False
