"""Names of people: those that the CRM knows, and the word after a form of address."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from .patterns import KINDS, token
from .words import STOP_WORDS, fold, tidy

__all__ = ["ALWAYS", "NEVER", "Names", "after_title", "person_names"]

ALWAYS, NEVER = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max
"""Times, in microseconds, of a name that is known from the beginning, and of none."""

_COLUMNS = ("first_name", "last_name")
_PARTICLES = """al bin ben da dal dalla das de degli dei del della den der des di do dos du el la las le lo los mac mc
san santa st ten ter van vom von y zu zum zur"""
_WORD = re.compile(rf"«(?:{'|'.join(KINDS)})»|[^\W\d_]+(?:['’‘\-][^\W\d_]+)*")
_PART = re.compile(r"[^\W\d_]+")
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})

_TITLE = r"""(?:
    (?i:sig(?:\.?\ ?ra|\.?\ ?na|\.ri|nora|norina|nor)?|dott(?:\.?\ ?ssa|oressa|ore|or)?|dr(?:\.?\ ?ssa)?|avv|ing|geom
    |rag|prof(?:\.?\ ?ssa|essor|essoressa)?|mr|mrs|herrn?|frau|hr|dipl\.?-?\ ?ing|mme|mlle|monsieur|madame
    |mademoiselle|se[nñ]or(?:a|ita)?|sr(?:ta|a)?|do[nñ]a|don|d[nñ]a|dhr|mevr|mevrouw)(?:\.\ ?|[ \u00a0]+)
    |(?:Ms|Miss|Sir|Maître)[. ]\ ?|(?:Arch|Cav|M|Me|Comm)\.\ ?
    |(?i:all['’]attenzione(?:\ d(?:i|el|ella|ell['’]))?|att\.?ne|c\.a\.|attn\.?|z\.\ ?hd\.?|zu\ h[aä]nden(?:\ von)?
    |à\ l['’]attention\ de|a\ la\ atenci[oó]n\ de|fao)[:.]?\ +)
"""
_CAPITAL = r"(?:[^\W\d_a-zß-öø-ÿ](?:[^\W\d_]|['’\-])+|[A-Z]\.)"
_BETWEEN = r"(?:(?:d[eai]|del|della|van|von|der|den|zu|la|le|y)\ )*"
_AFTER_TITLE = re.compile(
    rf"(?P<before>(?<!\w){_TITLE}{{1,4}}){_BETWEEN}"
    rf"(?!{_TITLE}){_CAPITAL}(?:[ -]{_BETWEEN}{_CAPITAL}){{0,2}}",
    re.VERBOSE,
)
_TITLES = """sig signor signora signorina dott dottor dottore dottoressa dr avv ing geom rag prof professor
professoressa mr mrs herr herrn frau hr dipl mme mlle monsieur madame mademoiselle senor senora senorita señor señora
señorita sr sra srta dona doña don dna dña dhr mevr mevrouw ms miss sir maître arch cav m me comm attenzione att attne
c attn z zu attention atención atencion fao"""
_TITLE_WORDS = frozenset(_TITLES.split())
_NAME = re.escape(token("name"))
_SEVERAL = re.compile(rf"(?:(?<!\w)[^\W\d_a-zß-öø-ÿ]\.\ ?)?{_NAME}(?:[ \u00a0-]{{1,2}}{_NAME})*")


class Names:
    """The names of people to look for, each with the time from which on it is known.

    Parameters
    ----------
    names : first and last names; as a mapping, with the time at which each became known (a missing time: from the
        beginning). Names of several parts are taken apart. Particles such as `de` and `van` are no names. Names of two
        letters, and those that are frequent words, count only where the text writes them with a capital letter.
    """

    def __init__(self, names: "Names | Iterable[str] | Mapping[str, object]" = ()) -> None:
        self.known: dict[str, int] = {}
        timed = names.items() if isinstance(names, Mapping) else ((name, None) for name in names)
        for name, time in timed:
            self._add(name, _micros(time))
        self._since = _Memory(self._time_of)

    def _add(self, name: str, time: int) -> None:
        for part in _PART.findall(tidy(name)):
            lower = part.lower()
            for form in {fold(part), fold(lower.translate(_GERMAN))} - set(_PARTICLES.split()):
                if len(form) > 1:
                    self.known[form] = min(time, self.known.get(form, NEVER))

    def __len__(self) -> int:
        return len(self.known)

    def remove(self, text: str, *, at: int = NEVER) -> tuple[str, int]:
        """Return `text` without the names known by `at`, and the newest time of those found."""
        since = self._since
        times = [since[word] for word in _PART.findall(text)] if self.known else []
        found = max((time for time in times if time <= at), default=ALWAYS)
        if found > ALWAYS or ALWAYS in times:
            text = _WORD.sub(lambda match: self._replaced(match[0], at), text)
        return (_SEVERAL.sub(token("name"), text) if "«name»" in text else text), found

    def _replaced(self, word: str, at: int) -> str:
        if word[0] == "«":
            return word
        if self._since[word] <= at:
            return token("name")
        return word if _PART.fullmatch(word) else _PART.sub(lambda part: self._replaced(part[0], at), word)

    def _time_of(self, word: str) -> int:
        """Return from when on `word` is known as a name, `_NO_NAME` where it is none."""
        folded = fold(word)
        time = self.known.get(folded)
        if time is None or ((len(folded) < 3 or folded in STOP_WORDS) and not word[0].isupper()):
            return _NO_NAME
        return time


_NO_NAME = NEVER + 1


class _Memory(dict):
    """What a function returned for each word, asked once."""

    def __init__(self, function: Callable[[str], int]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> int:
        self[word] = value = self._function(word)
        return value


def _micros(time: object) -> int:
    stamp = np.datetime64("NaT") if time is None else np.datetime64(time, "us")
    return ALWAYS if np.isnat(stamp) else int(stamp.astype(np.int64))


def after_title(text: str) -> str:
    """Return `text` without the name that follows a form of address.

    >>> after_title("Sentito il sig. Mario Rossi, Herr Dr. von Weber")
    'Sentito il sig. «name», Herr Dr. «name»'
    """
    if _TITLE_WORDS.isdisjoint(map(str.lower, _PART.findall(text))):
        return text
    return _AFTER_TITLE.sub(rf"\g<before>{token('name')}", text)


def person_names(*tables: pd.DataFrame) -> Names:
    """Return the first and last names in these tables (contacts, reps), known from when their row was.

    Pass the tables of the whole source: with the times, a note is cleaned with what was known when it was written,
    so that a person who enters the CRM later changes no feature of an earlier date.

    Examples
    --------
    >>> contacts = pd.DataFrame({"first_name": ["Ada"], "last_name": ["Rossi"], "created_at": ["2024-01-01"]})
    >>> len(person_names(contacts))
    2
    """
    times: dict[str, object] = {}
    for name, time in _named(tables):
        if name not in times or _micros(time) < _micros(times[name]):
            times[name] = time
    return Names(times)


def _named(tables: Iterable[pd.DataFrame]) -> Iterator[tuple[str, object]]:
    for frame in tables:
        since = next((c for c in ("created_at", "hired_at") if c in frame), None)
        for column in _COLUMNS:
            if column not in frame:
                continue
            known = pd.to_datetime(frame[since]) if since else pd.Series(pd.NaT, index=frame.index)
            # A name without a time counts from the beginning: the earliest of its times, and before all others.
            first = known.fillna(pd.Timestamp("1700-01-01")).groupby(frame[column]).min()
            yield from zip(first.index, first.to_numpy("datetime64[us]"), strict=True)
