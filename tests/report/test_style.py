"""The style sheet: contrast in light, dark and print; nothing loaded; every language complete."""

import re

import pytest

from crmlab.report.exporter import style_sheet
from crmlab.report.words import WORDS, words
from crmlab.schema import ParameterError

TEXTS = [
    ("ink", "paper"), ("muted", "paper"), ("link", "paper"), ("bad", "paper"), ("good", "paper"), ("caution", "paper"),
    ("ink", "soft"), ("muted", "soft"), ("link", "soft"), ("keyword", "soft"), ("string", "soft"), ("number", "soft"),
    *((text, f"{tone}-soft") for tone in ("good", "caution", "bad", "plain") for text in ("ink", tone)),
    ("link", "bad-soft"),
]  # fmt: skip


def palettes():
    """Return the colours of light, dark and print; what a theme leaves out it takes from light."""
    blocks = re.findall(r":root \{(.*?)\}", str(style_sheet()), re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block)) for block in blocks]
    return {"light": found[0], "dark": found[0] | found[1], "print": found[0] | found[2]}


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """WCAG 2.2, section 1.4.3."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_itself():
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_every_text_has_the_contrast_of_wcag_aa(theme, text, ground):
    colours = palettes()[theme]
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_the_style_loads_nothing():
    assert not re.search(r"url\(|@import|@font-face", str(style_sheet()))


def test_dark_mode_and_print_are_there():
    for rule in ("prefers-color-scheme: dark", "@media print", "tabular-nums"):
        assert rule in str(style_sheet())


def test_every_language_has_every_word():
    assert all(set(language) == set(WORDS["en"]) and all(language.values()) for language in WORDS.values())
    with pytest.raises(ParameterError, match="known are: en"):
        words("xx")
