"""Words: folded so that spellings meet, and the frequent ones that say nothing."""

import re
import unicodedata

__all__ = ["INVISIBLE", "STOP_WORDS", "fold", "tidy"]

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Characters without width: they would hide an address from every pattern."""

_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "’": "'"})
_MARKS = re.compile("[\u0300-\u036f]")

_STOP = """
a ad al allo alla alle agli ai anche ancora ci che chi come con cui da dal dalla dalle dai degli dei del dell della
delle dello di dopo due e ed era fa fino gli ha hanno ho i il in io la le lei lo loro lui ma mi molto ne nei nel nella
nelle noi non nostra nostro o ogni per perche piu poi prima qualche quando quanto quella quello questa questo qui se
sei senza si sia siamo sono sta su sua sue sui sul sulla suo suoi tra tre tutti tutto un una uno vi voi
about after again all also am an and any are as at be been before being but by can could did do does done each few for
from get got had has have he her him his how if into is it its just let me more most my no nor not now of off on once
only or other our out over own she should so some such than that the their them then there these they this those
through to too under until up us very was we were what when which while who why will with would you your
algo ante antes aun bajo bien cada como con cual cuando de desde donde dos el ella ellas ellos en entre era eran es
esa ese eso esta estan estas este esto estos fue ha hace han hasta hay la las les lo los mas me mi mientras muy ni no
nos nosotros o otra otro para pero poco por porque que quien se ser si sin sobre son su sus tambien te tiene todo
todos tu un una unas uno unos usted ya yo
aber alle allem allen aller alles als also am an andere auch auf aus bei beim bin bis bist da damit dann das dass dein
dem den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer
eines er es etwas fur gegen gibt hab habe haben hat hatte hier hin ich ihm ihn ihnen ihr ihre im in ist jede jeder
jetzt kann kein keine mein mit muss nach nicht noch nun nur ob oder ohne schon sehr sein seine seit sich sie sind so
soll sowie uber um und uns unser unter viel vom von vor war was weil wenn werden wie wieder will wir wird wo wurde zu
zum zur
au aux avec ce ces cet cette dans de des donc du elle elles en encore est et etait ete eu il ils je la le les leur
leurs lui ma mais meme mes moi mon ne nos notre nous on ont ou par pas plus pour qu que qui sa sans ses si son sont
sous sur ta tes toi ton tous tout tres tu un une vers vos votre vous y
"""
STOP_WORDS = frozenset(_STOP.split())
"""Frequent words of Italian, English, Spanish, German and French, folded."""


def fold(text: str) -> str:
    """Return `text` in lower case and without diacritics.

    >>> fold("Señor GRÖß, à l’été")
    "senor gross, a l'ete"
    """
    if text.isascii():
        return text.lower()
    return _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()).translate(_PLAIN))


def tidy(text: str) -> str:
    """Return `text` with composed letters and without invisible characters."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", INVISIBLE.sub("", text))
