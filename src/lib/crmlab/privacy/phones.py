"""Telephone numbers, told from the amounts, dates and codes that business text is full of."""

import re

__all__ = ["PHONE", "phone_or_not"]

_S = r"[ \u00a0\u202f./\-–()]{1,3}"  # between two digits of a telephone number
_END = r"(?!\d|[./-]\d{1,5}(?!\d))"
_START = r"(?<!\w)(?<!\d[.,/-])(?<![^\W\d_]-)"
_DAY = r"\d{1,2}\ ?[./-]\ ?\d{1,2}\ ?[./-]\ ?(?:\d{4}|\d{2})(?![./-]?\d)"
_UNIT = r"(?:€|eur|euro|usd|gbp|chf|\$|£|k€|%|kg|g|mm|cm|m|m²|m2|km|kwh?|kva|v|hz|t|h|l|pz|pezzi|pcs|stk|stück|bar|rpm)"
_AMOUNT = r"\d{1,3}(?:[ .,'’\u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?"
_CODE_OF = (
    r"(?:art(?:icolo|icle|ikel)?|cod(?:ice)?|code|sku|ean|matricola|serial|s/n|lotto|ddt|po|part\ ?(?:no|number))"
)
_CODE_NO = (
    r"(?:ordine|order|commessa|fattura|invoice|offerta|offer|quote|auftrag|rechnung|angebot|facture|factura|pedido)"
)

_NO = r"(?:n[.°or]{0,2}|nr\.?|no\.?|num(?:ero|mer|ber)?|\#)"
_KEPT_NUMBER = rf"""
    {_DAY}(?:\ ?[-–/]\ ?{_DAY})? | (?<!\d)\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}})?)?(?!\d)
  | (?<!\d)[0-2]?\d[:.][0-5]\d\ ?[-–]\ ?[0-2]?\d[:.][0-5]\d(?!\.?\d)
  | (?<![\w+]){_AMOUNT}\ ?{_UNIT}(?!\w|\ ?\d) | [€$£]\ ?{_AMOUNT}
  | \+\d{{1,3}}(?:[ .]\d{{3}})*[ .]000\ ?{_UNIT}(?!\w|\ ?\d) | (?<![\d+])\d{{1,7}}(?:[.,]\d+)?\ ?{_UNIT}(?!\w|\ ?\d)
  | (?<![\d+])\d{{1,3}}(?:[ .,'’]\d{{3}})*[ .,'’]000(?![\d.,/-])
"""
_KEPT_CODE = rf"""
    (?<!\w)(?:{_CODE_OF}[.:]?\ ?(?:n[.°or]{{0,2}}|nr\.?|\#)?|{_CODE_NO}\ {_NO})[ :]{{0,2}}(?=[\w./-]*\d)\w[\w./-]*
  | eur\ ?{_AMOUNT}
"""
_LABELLED = rf"""
    (?P<before>(?:tel(?:efono|efon|éfono|ephone)?|téléphone|tél|cell(?:ulare)?|mobil(?:e|nummer|telefon)?|mob|ph(?:one)?
    |fax|handy|portable|móvil|movil|whats\ ?app|rufnummer|durchwahl)\.?
    \ {{0,2}}(?:(?:n[.°r]{{0,2}}|nr\.?|no\.?|num(?:ero|mer|ber)?\.?|al|is|ist|è|unter)(?!\w)|[:=\#-])?[ :]{{0,2}})
    (?!{_DAY})\(?\+?\(?\d(?:(?:{_S})?\d){{4,14}}(?!\d)
"""
_NATIONAL = rf"""
    \(?0[1-9]\d{{7,10}} | (?=\(?\d{{2,5}}[ \u00a0\u202f./\-–()])\(?0[1-9](?:(?:{_S})?\d){{5,9}}\d(?:-\d)?
  | 3[1-9]\d{{8}} | (?=(?:\d[ ./-]?){{9}}\d(?!\d))3[1-9]\d(?:[ ./-]\d{{2,7}}){{1,3}} | 3[1-9]\d[ /-]\d{{3}}[ .-]?\d{{3}}
  | [6-9]\d{{8}} | [6-9]\d{{2}}[ -]\d{{3}}[ -]\d{{3}} | [6-9]\d{{2}}(?:[ .-]\d{{2}}){{3}}
  | [89]\d(?:[ .-]\d{{3}}(?:[ .-]\d{{2}}){{2}})
  | [89]\d[ .-]\d{{3}}[ .-]?\d{{4}} | \(\d{{3}}\)\ ?\d{{3}}[ .-]\d{{4}} | \d{{3}}(?P<same>[-. ])\d{{3}}(?P=same)\d{{4}}
"""
PHONE = re.compile(
    rf"""
    (?<![^\W_])(?=[^\W\d_])(?:(?P<kept_code>{_KEPT_CODE}) | {_LABELLED})
  | (?=[\d+(€$£])(?:
      (?P<kept>{_KEPT_NUMBER})
    | {_START}(?:\+|00\ ?)\(?[1-9](?:(?:{_S})?\d){{6,12}}\d(?:-\d)?{_END}
    | {_START}(?:{_NATIONAL}){_END}
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What is kept although it looks like a number to call, then the forms of such numbers."""


def phone_or_not(match: re.Match, token: str) -> str:
    """Return what stands for a match of `PHONE`: itself where it is an amount, a date or a code, else its token."""
    if match["kept"] is not None or match["kept_code"] is not None:
        return match[0]
    return f"{match['before'] or ''}{token}"
