"""The model card: what a published model is for, how it was tested, and what it must not be used for.

After Mitchell et al. (2019), Model Cards for Model Reporting.
"""

import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crmlab.leakage import LeakVerdict
from crmlab.privacy import scrub
from crmlab.registry import plain
from crmlab.snapshots import Question

from .verdict import AS_FINAL, Verdict

__all__ = ["LIMITS", "NOT_FOR", "ModelCard", "model_card"]

NOT_FOR = (
    "Rating, paying or dismissing salespeople: a score speaks of cases, and who works them is one of its inputs.",
    "Refusing anybody an offer, a price or a service, or any other decision about a person without a person.",
    "The effect of a call or an offer: the model says what tends to happen, not what would happen if you acted.",
    "Other sources, entities, horizons or markets than the one named here.",
)
FOR_WHOM = "Sales teams that decide whom to call and which deals to work on next, and whoever plans with them."
LIMITS = (
    "The figures hold for the dates tested; when the market, the process or the data entry changes, they may not.",
    "Cases that are alike in what the CRM records get the same score, however different they are otherwise.",
    "Slices with few cases have wide intervals; no statement about a small group follows from the total.",
)
_PERSONAL = ("owner", "owner_id", "rep", "rep_id", "salesperson", "user", "contact")
_MOST_SLICES = 60


@dataclass(frozen=True)
class ModelCard:
    """Facts of a model card, and the card as Markdown.

    Attributes
    ----------
    facts : plain values in the order of the card: heading → text, list of texts, mapping, or list of mappings (table).
    """

    facts: Mapping[str, object]

    @property
    def digest(self) -> str:
        """Hash of the facts, 16 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()[:16]

    def json(self) -> str:
        """Return the facts as JSON."""
        return json.dumps(plain(self.facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def markdown(self) -> str:
        """Return the card as Markdown; texts of the CRM can neither format nor run as anything."""
        facts = plain(self.facts)
        parts = [f"# {_safe(facts.get('model', 'Model card'))}"]
        parts += [f"## {_heading(key)}\n\n{_block(value)}" for key, value in facts.items() if key != "model" and value]
        return "\n\n".join(parts) + "\n"

    def save(self, folder: Path) -> str:
        """Write `<digest>.md` and `<digest>.json` below a folder, each in one step; return the digest."""
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in ((".md", self.markdown()), (".json", self.json())):
            temporary = folder / f".tmp-{self.digest}{suffix}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / f"{self.digest}{suffix}")
        return self.digest


def model_card(
    *,
    question: Question,
    verdict: Verdict,
    model: object,
    trained: Mapping[str, object],
    data: Mapping[str, object],
    versions: Mapping[str, object],
    leaks: LeakVerdict | None = None,
    slices: pd.DataFrame | None = None,
    limits: Sequence[str] = (),
) -> ModelCard:
    """Build the card of a judged model, passed or not.

    Parameters
    ----------
    model : as measured; class, parameters, weights of its members are told.
    trained : of `training_span`.
    data : where the rows come from, such as source, fingerprint, and counts per table. No personal data.
    versions : code version, libraries.
    slices : reliability per group: column and level first, then counts and figures. Slices by people are left out.
    limits : limits of this study, put before the general ones.
    """
    window = verdict.opened.window
    facts = {
        "model": f"{question.outcome[0].upper()}{question.outcome[1:]}: a score per {question.entity}",
        "what_it_predicts": f"The probability of {question.outcome}, for each {question.entity} of "
        f"`{question.source}`, looked at: {question.snapshots.replace('_', ' ')}.",
        "may_be_taken_for": verdict.published_as if verdict.passed else "nothing: it has not passed the gate",
        "verdict": verdict.outcome,
        "reservations": list(verdict.reservations),
        "for_whom": FOR_WHOM,
        "must_not_be_used_for": list(NOT_FOR),
        "data": {"as of": window.as_of, **data},
        "trained_on": dict(trained),
        "tested_on": {**window.record(), **_looked(verdict)},
        "figures": _figures(verdict),
        "checks": verdict.checks.drop(columns="missing").to_dict("records"),
        "not_passed": list(verdict.reasons),
        "needed": list(verdict.missing),
        "leak_checks": leaks.table().to_dict("records") if leaks is not None else [],
        "slices": _slices(slices),
        "limits": [*limits, *([AS_FINAL] if verdict.published_as == AS_FINAL else []), *LIMITS],
        "thresholds": verdict.opened.thresholds.record() | {"digest": verdict.opened.thresholds.digest},
        "recipe": _recipe(model),
        "versions": dict(versions),
    }
    return ModelCard(_scrubbed(plain(facts)))


def _looked(verdict: Verdict) -> dict[str, object]:
    return {"sets of predictions judged on this window before": verdict.looks}


def _figures(verdict: Verdict) -> list[dict[str, object]]:
    names = ["model", "metric", "value", "low", "high", "difference", "difference_low", "difference_high", "n"]
    return verdict.metrics[names].to_dict("records")


def _slices(slices: pd.DataFrame | None) -> list[dict[str, object]]:
    if slices is None or slices.empty:
        return []
    named = slices[slices.columns[0]].astype("str").str.lower()
    shown = slices[~named.isin(_PERSONAL)].drop(columns=[c for c in _PERSONAL if c in slices])
    return shown.head(_MOST_SLICES).to_dict("records")


def _recipe(model: object) -> dict[str, object]:
    plain_kinds = (bool, int, float, str, type(None))
    parameters = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    return {
        "class": type(model).__name__,
        "parameters": {k: v for k, v in parameters.items() if isinstance(v, plain_kinds)},
        "weights": dict(getattr(model, "weights_", None) or {}),
        "calibration": "none" if getattr(model, "calibrator_", None) is None else repr(model.calibrator_),
        "features": len(getattr(model, "columns_", ())),
    }


def _scrubbed(value: object) -> object:
    """Take e-mail addresses, telephone numbers and the like out of every text."""
    texts: list[str] = []
    _collect(value, texts)
    clean = dict(zip(texts, scrub(pd.Series(texts, dtype="str")), strict=True))
    return _replaced(value, clean)


_EXACT = (
    "digest",
    "rows_digest",
    "fingerprint",
    "code_sha256",
    "as of",
    "as_of",
    "from",
    "to",
    "test_start",
    "test_end",
)
"""Hashes and dates, whose digits would look like telephone numbers."""


def _collect(value: object, texts: list[str]) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in _EXACT:
                _collect(part, texts)
    elif isinstance(value, list):
        for part in value:
            _collect(part, texts)
    elif isinstance(value, str):
        texts.append(value)


def _replaced(value: object, clean: Mapping[str, str]) -> object:
    if isinstance(value, dict):
        return {k: v if k in _EXACT else _replaced(v, clean) for k, v in value.items()}
    if isinstance(value, list):
        return [_replaced(v, clean) for v in value]
    return clean.get(value, value) if isinstance(value, str) else value


def _heading(key: str) -> str:
    return key.replace("_", " ")[0].upper() + key.replace("_", " ")[1:]


def _block(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"- {_named(k)}: {_safe(v)}" for k, v in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _rows(value)
    return "\n".join(f"- {_safe(v)}" for v in value) if isinstance(value, list) else _safe(value)


def _rows(rows: list[dict]) -> str:
    names = list(rows[0])
    cells = [[_named(n) for n in names], ["---"] * len(names), *([_safe(row.get(n)) for n in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _named(key: str) -> str:
    return _safe(key.replace("_", " "))


def _safe(value: object) -> str:
    """One line of text in which nothing is markup, neither for Markdown nor for HTML."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        value = ", ".join(f"{k} {_number(v)}" for k, v in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    text = html.escape(" ".join(str(value).split()), quote=False)
    return "".join(f"&#{ord(c)};" if c in "|[]*#!\\`~" else c for c in text)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
