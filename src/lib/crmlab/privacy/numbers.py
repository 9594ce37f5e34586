"""Check digits: what tells an account, a card or a tax number from any other number."""

import re

__all__ = ["IBAN_LENGTHS", "is_card", "is_iban", "is_italian_vat", "is_spanish_tax_code"]

_LENGTHS = """AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18
FO18 FR27 GB22 GE22 GI23 GL18 GR27 HR21 HU28 IE22 IL23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 MC27 MD24 ME22
MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27 TN24 TR26 UA29 VG24 XK20"""
IBAN_LENGTHS = {word[:2]: int(word[2:]) for word in _LENGTHS.split()}
"""Country → number of characters of its IBANs (ISO 13616 registry)."""

_MOSTLY_DIGITS = 0.75
_CONTROL = "TRWAGMYFPDXBNJZSQVHLCKE"


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c.isdigit()]


def _luhn(digits: list[int]) -> bool:
    doubled = [d if k % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for k, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_card(text: str) -> bool:
    """Whether the digits of `text` can be a payment card: 13 to 19, a scheme's first digits, Luhn's check digit.

    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
    (True, False)
    """
    digits = _digits(text)
    return 13 <= len(digits) <= 19 and digits[0] in (2, 3, 4, 5, 6) and len(set(digits)) > 1 and _luhn(digits)


def is_iban(text: str) -> bool:
    """Whether `text`, of its country's length, is an account: its check digits are right, or nearly all are digits.

    >>> is_iban("IT60 X054 2811 1010 0000 0123 456"), is_iban("AT20 pallets an hour at ten")
    (True, False)
    """
    compact = re.sub(r"[^0-9A-Z]", "", text.upper())
    number = int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4]))
    return number % 97 == 1 or sum(c.isdigit() for c in compact[4:]) >= _MOSTLY_DIGITS * (len(compact) - 4)


def is_italian_vat(text: str) -> bool:
    """Whether eleven digits are a partita IVA.

    >>> is_italian_vat("00743110157"), is_italian_vat("00743110158")
    (True, False)
    """
    digits = _digits(text)
    return len(digits) == 11 and _luhn(digits)


def is_spanish_tax_code(text: str) -> bool:
    """Whether eight digits (the first of a foreigner's is X, Y or Z) and a letter are a NIF or NIE.

    >>> is_spanish_tax_code("12345678Z"), is_spanish_tax_code("12345678A")
    (True, False)
    """
    compact = re.sub(r"[^0-9A-Z]", "", text.upper())
    number = str("XYZ".index(compact[0])) + compact[1:-1] if compact[0] in "XYZ" else compact[:-1]
    return _CONTROL[int(number) % 23] == compact[-1]
