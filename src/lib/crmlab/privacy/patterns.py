"""What each kind of personal datum looks like in text.

Where a datum and ordinary text look alike, the datum wins: a word too many removed costs less than a person shown.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .numbers import IBAN_LENGTHS, is_card, is_iban, is_italian_vat, is_spanish_tax_code
from .phones import PHONE, phone_or_not

__all__ = ["DATE", "KINDS", "PATTERNS", "Pattern", "token"]

KINDS = ("email", "phone", "web", "iban", "card", "tax_code", "vat", "birth_date", "address", "name")
"""Kinds of personal data, as the tokens that replace them name them."""


def token(kind: str) -> str:
    """Return what stands in the text instead of a datum.

    >>> token("email")
    '«email»'
    """
    return f"«{kind}»"


@dataclass(frozen=True)
class Pattern:
    """One form of a kind. A text with fewer than `digits` digits, or without what `sign` finds, cannot hold it."""

    kind: str
    form: re.Pattern
    digits: int = 0
    sign: re.Pattern | None = None
    check: Callable[[str], bool] | None = None
    replace: Callable[[re.Match], str] | None = None

    def remove(self, text: str) -> str:
        """Return `text` with every match replaced by its token; a group `before` stays."""
        return self.form.sub(self.replace or self._token, text)

    def _token(self, match: re.Match) -> str:
        if self.check and not self.check(match[0]):
            return match[0]
        before = match["before"] if "before" in self.form.groupindex else ""
        return f"{before}{token(self.kind)}"


_SOCIAL = (
    r"linkedin\.com|lnkd\.in|facebook\.com|fb\.(?:com|me)|instagram\.com|twitter\.com|x\.com|t\.me|telegram\.me|wa\.me"
    r"|github\.com|gitlab\.com|xing\.com|tiktok\.com|youtube\.com|threads\.net|medium\.com|calendly\.com"
    r"|api\.whatsapp\.com"
)
_REST = r"[^\s«»<>\"')\]]"
_WEB = rf"""
    (?<![\w@.-])(?:
      [a-z][a-z0-9+.-]{{1,9}}://[^\s«»/@]*@{_REST}+                       # user:password@host
    | (?:https?://)?(?:[\w-]+\.)*(?:{_SOCIAL})/{_REST}+                   # a social network's page of someone
    | (?:https?://|www\.)[^\s«»/]{{1,99}}/{_REST}{{0,300}}?(?:~|@|/?\b(?:in|users?|u|profiles?|people|persone?|members?|team)/){_REST}+
    | (?:https?://|www\.)[^\s«»?]{{1,300}}\?{_REST}{{0,300}}?(?:mail|name|user|phone|tel){_REST}+  # in the query
    | (?:skype|telegram|instagram|linkedin|xing|twitter|facebook|wechat)\s?(?:id|name)?\s?[:=]\s?[^\s«»]+
    )
    | (?<![\w@.«»/])@[a-z_](?:[\w.-]*[\w])?                              # a handle
"""
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
_EMAIL = rf"""
    (?<!{_LOCAL})(?:mailto:)?(?:
      {_LOCAL}+[ ]?[@＠][ ]?(?=[^\s]*[^\W\d_])[\w-]+(?:\.[\w-]+)+
    | {_LOCAL}+[@＠][^\W\d_][\w-]*
    | {_LOCAL}+\s?[\[({{]\s?(?:at|chiocciola|arroba|ät)\s?[\])}}]\s?[\w-]+
      (?:(?:\.|\s?[\[({{]\s?(?:dot|punto|punkt|point)\s?[\])}}]\s?)[\w-]+)+
    )
"""


def _iban_form() -> str:
    lengths: dict[int, list[str]] = {}
    for country, length in IBAN_LENGTHS.items():
        lengths.setdefault(length, []).append(country)
    forms = [rf"(?:{'|'.join(names)})\d\d(?:[ .-]?[A-Z0-9]){{{n - 4}}}" for n, names in lengths.items()]
    return rf"(?<![A-Z0-9])(?:{'|'.join(forms)})(?![A-Z0-9])"


_D = r"[0-9LMNPQRSTUV]"  # a digit, or the letter that replaces it where two people would share a code
_ITALIAN_TAX_CODE = (
    rf"(?<!\w)[A-Z]{{3}}[ ]?[A-Z]{{3}}[ ]?{_D}{{2}}[ ]?[A-EHLMPRST]{_D}{{2}}[ ]?[A-Z]{_D}{{3}}[ ]?[A-Z](?!\w)"
)
_SPANISH_TAX_CODE = r"(?<!\w)(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-Z](?!\w)"
_CARD = r"(?<![\w])(?<!\d[.,])\d(?:[ -]?\d){12,18}(?![ -]?\d)(?!\w)"
_VAT = r"""
    (?<!\w)(?:
      (?:IT|HR|LV)\ ?\d{11}
    | (?:DE|PT|EE|EL)\ ?\d{9} | FR\ ?[A-Z0-9]{2}\ ?\d{3}\ ?\d{3}\ ?\d{3}
    | ES\ ?[A-Z]-?\d{7}[A-Z0-9] | ATU?\ ?U?\d{8} | BE\ ?[01]\d{3}\.?\d{3}\.?\d{3} | NL\ ?\d{9}\ ?B\ ?\d{2}
    | GB\ ?\d{3}\ ?\d{4}\ ?\d{2} | PL\ ?\d{10} | (?:SI|HU|DK|FI|LU|MT)\ ?\d{8} | SE\ ?\d{12} | CZ\ ?\d{8,10}
    | SK\ ?\d{10} | RO\d{6,10} | BG\d{9,10} | CHE-?\ ?\d{3}\.?\d{3}\.?\d{3}
    )(?!\w)
"""
_LABELLED_VAT = r"""
    (?P<before>(?<!\w)(?:p\.?\s?(?:iva|i\.)|partita\ iva|vat|vat\ ?(?:no|nr|number|id)|ust\.?-?id(?:\.?-?nr)?
    |mwst\.?-?nr|n[°o.]?\s?tva|tva|siren|siret|nif|cif|codice\ fiscale|c\.?f|steuer-?(?:nr|nummer|id)|tax\ id)\.?\s?
    (?:n[.°r]?|no|:|-)?[.:]?\s?)
    (?:[A-Z]{2,3}\ ?)?[A-Z0-9]?(?:[ ./-]?\d){7,13}[A-Z0-9]?(?!\w)
"""

_MONTH = r"[^\W\d_]{3,10}\.?"
DATE = rf"""(?:\d{{4}}-\d{{1,2}}-\d{{1,2}} | \d{{1,2}}\ ?[./-]\ ?\d{{1,2}}\ ?[./-]\ ?(?:\d{{4}}|\d{{2}})
    | \d{{1,2}}(?:\.|°|st|nd|rd|th|er)?\ (?:de\ )?{_MONTH}\ (?:de\ |del\ )?(?:19|20)\d{{2}}
    | {_MONTH}\ \d{{1,2}}(?:st|nd|rd|th)?,?\ (?:19|20)\d{{2}} | (?:19|20)\d{{2}})(?!\d)"""
"""A date in figures or words, for patterns in verbose mode."""

_BIRTH = rf"""
    (?P<before>(?<!\w)(?:
      nat[oai](?:/a)?(?:\ a\ [^\d«»,;.\n]{{2,40}}?)?,?\ (?:il|nel|l[’']) | (?:data|anno)\ (?:di\ )?nascita | compleanno
    | born(?:\ (?:on|in))? | d\.?o\.?b\.? | (?:date\ of\ birth|birth\ ?da(?:y|te))
    | geb(?:\.|oren)(?:\ (?:am|in\ [^\d«»,;.\n]{{2,40}}?\ am))? | geburts(?:tag|datum|jahr)
    | née?(?:\(e\))?(?:\ à\ [^\d«»,;.\n]{{2,40}}?)?\ (?:le|en) | date\ de\ naissance | anniversaire
    | nacid[oa](?:/a)?(?:\ en\ [^\d«»,;.\n]{{2,40}}?)?\ (?:el|en) | fecha\ de\ nacimiento | cumpleaños
    )\s?(?:is|am|il|le|el|on|:|=|-)?\s?)
    (?:{DATE}|\d{{1,2}}[./-]\d{{1,2}}(?![./-]?\d))
"""

_CAP = r"(?-i:[^\W\d_a-zß-öø-ÿ])(?:[^\W\d_]|['’.\-])*"  # a word that begins with a capital letter
_TOWN = rf"(?:,?\ ?-?\ ?(?:(?-i:[A-Z]{{1,2}})-)?\d{{4,5}}\ {_CAP}(?:\ {_CAP}){{0,2}}(?:\ \((?-i:[A-Z]{{2}})\))?)?"
_SMALL = r"""(?:d[eiu]|des|del(?:la|le|l[’'])?|dei|degli|dell[’']|la|las|los|le|les|al|da|san|santa|st\.?|von|der|den|of
    |the|l[’']|d[’'])"""
_NUMBER = r"(?:,?\ ?(?:n[.°ºr]{0,2}|no\.?|num\.?|civico)?\ ?)\d{1,4}(?:\ ?/?[a-z](?!\w)|/\d{1,3}|\ ?bis)?(?!\w)"
_MEDIA = r"(?:teams|skype|zoom|whatsapp|e?-?mail|pec|web|fax|linkedin|sms|telefono|portale|call|internet)"
_PLANT = (
    r"(?:verpackungs|fertigungs|produktions|montage|lackier|abfüll|walz|transfer|bearbeitungs|pack|press|etikettier)"
)
_ADDRESS = rf"""
    (?<!\w)(?:
      (?:via|viale|v\.le|piazza|piazzale|p\.?zza|p\.le|corso|c\.so|largo|vicolo|strada|contrada|borgo|località
        |calle|c/|avenida|avda\.?|plaza|paseo|camino|carretera|ronda)
      \ ?(?!{_MEDIA}(?!\w))(?:(?:{_SMALL}\ |{_SMALL}(?=(?-i:[A-Z]))|\d{{1,2}}\ (?=(?:de\ )?(?-i:[A-Z]))))*{_CAP}
      (?:[ ](?:{_SMALL}\ )*{_CAP}){{0,3}}{_NUMBER}{_TOWN}
    | (?!{_PLANT})[^\W\d_][\w-]*(?:straße|strasse|str\.|gasse|allee){_NUMBER}{_TOWN}
    | (?-i:[A-ZÄÖÜ])[\w-]*(?:-|\ )(?:Straße|Strasse|Str\.|Gasse|Allee|Platz){_NUMBER}{_TOWN}
    | \d{{1,4}}(?:\ ?(?:bis|ter))?,?\ (?:rue|avenue|av\.|boulevard|bd\.?|chemin|impasse|allée|quai|cours)
      \ (?:{_SMALL}\ ?)*{_CAP}(?:[ -](?:{_SMALL}\ ?)*{_CAP}){{0,3}}{_TOWN}
    | \d{{1,5}}\ (?:{_CAP}\ ){{1,3}}(?:street|st\.|road|rd\.?|avenue|ave\.?|lane|boulevard|blvd\.?)(?!\w)
    | \d{{5}}\ {_CAP}(?:\ {_CAP}){{0,2}}\ \((?-i:[A-Z]{{2}})\)
    )
"""


def _is_bare_vat(digits: str) -> bool:
    """Whether eleven digits without a label are a VAT number rather than a mobile telephone's."""
    return digits[0] != "3" and is_italian_vat(digits)


def _compiled(form: str) -> re.Pattern:
    return re.compile(form, re.VERBOSE | re.IGNORECASE)


_WEB_SIGN = re.compile(rf"@|://|www\.|(?:{_SOCIAL})/|[a-z]\s?[:=]\s?\w", re.IGNORECASE)
_IBAN_SIGN = re.compile(r"[A-Za-z]{2}\d\d")
_EMAIL_SIGN = re.compile(r"[@＠]|[\[({]\s?(?:at|chiocciola|arroba|ät)\s?[\])}]", re.IGNORECASE)

PATTERNS = (
    Pattern("web", _compiled(_WEB), sign=_WEB_SIGN),
    Pattern("email", _compiled(_EMAIL), sign=_EMAIL_SIGN),
    Pattern("iban", re.compile(_iban_form(), re.IGNORECASE), digits=8, sign=_IBAN_SIGN, check=is_iban),
    Pattern("tax_code", re.compile(_ITALIAN_TAX_CODE, re.IGNORECASE), digits=0, sign=re.compile(r"[A-Za-z]{3}")),
    Pattern("tax_code", re.compile(_SPANISH_TAX_CODE), digits=7, check=is_spanish_tax_code),
    Pattern("card", re.compile(_CARD), digits=13, check=is_card),
    Pattern("vat", re.compile(_VAT, re.VERBOSE), digits=6),
    Pattern("vat", _compiled(_LABELLED_VAT), digits=7),
    Pattern("vat", re.compile(r"(?<![\w.+/-])\d{11}(?![\w/-])"), digits=11, check=_is_bare_vat),
    Pattern("birth_date", _compiled(_BIRTH), digits=2),
    Pattern("address", _compiled(_ADDRESS), digits=1),
    Pattern("phone", PHONE, digits=5, replace=lambda match: phone_or_not(match, token("phone"))),
)
"""Every form, in the order in which they are tried: what holds another one comes first."""
