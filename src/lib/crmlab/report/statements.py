"""The answer and other sentences, rendered from values and escaped."""

from crmlab.schema import ParameterError, did_you_mean

from .escape import clean, escape
from .outputs import show
from .words import words

__all__ = ["TONES", "headline", "sentence"]

TONES = ("good", "caution", "bad", "plain")
_EDGE = {"good": "#00795a", "caution": "#b36b00", "bad": "#b3261e", "plain": "#0b5cad"}


def headline(sentence: str, tone: str = "plain") -> None:
    """Show the answer to the notebook's question; the page moves it to the first screen.

    Parameters
    ----------
    sentence : the answer, with its numbers formatted by this package.
    tone : `good`, `caution`, `bad` or `plain`; said in a word as well as in colour.

    Raises
    ------
    ParameterError : an empty sentence or an unknown tone.
    """
    if tone not in TONES:
        raise ParameterError("Unknown tone of a headline.", found=repr(tone), remedy=did_you_mean(str(tone), TONES))
    text = _checked(sentence)
    word = words()[f"headline_{tone}"]
    style = f"border-left:4px solid {_EDGE[tone]};padding:8px 14px;margin:8px 0;font-size:115%"
    html = f'<div style="{style}"><strong>{word}.</strong> {escape(text)}</div>'
    show("headline", {"sentence": text, "tone": tone}, html=html, text=f"{word}: {text}")


def sentence(text: str) -> None:
    """Show one paragraph whose numbers come from code."""
    text = _checked(text)
    show("sentence", {"sentence": text}, html=f"<p>{escape(text)}</p>", text=text)


def _checked(text: str) -> str:
    if not str(text).strip():
        raise ParameterError("A sentence without words.", remedy="pass the text to show.")
    return clean(text).strip()
