"""From a verdict to a publication: both models stored, the card beside them, one entry in the log."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from crmlab.registry import Entry, PublishedModel, Registry, save_model
from crmlab.schema import ENTITY_KEYS, NotEnoughEvidence, RunError
from crmlab.snapshots import entity_of

from .card import ModelCard
from .opening import THRESHOLDS, VERDICT
from .verdict import Verdict

__all__ = ["publish", "record_verdict", "require_published", "training_span"]

_PUBLICATION = "publication"
_TOLD = 2


def record_verdict(registry: Registry, verdict: Verdict, *, context: Mapping[str, object]) -> Entry:
    """Write a verdict into the log, passed or not; the same one is written once.

    Raises
    ------
    RunError : the log is broken, or does not hold the thresholds that the verdict was reached with.
    """
    _check_opened(registry, verdict)
    return registry.log.append_once(VERDICT, verdict.record(), context=context)


def publish(
    registry: Registry,
    *,
    verdict: Verdict,
    model_tested: object,
    model_refit: object,
    card: ModelCard,
    meta: Mapping[str, object],
    trained_tested: Mapping[str, object],
    trained_refit: Mapping[str, object],
    context: Mapping[str, object],
    interval: object | None = None,
) -> PublishedModel:
    """Publish a model that passed. The same publication twice is one.

    Parameters
    ----------
    model_tested : as it was measured, fitted on the training rows.
    model_refit : the same recipe fitted on all mature rows; it gives the scores.
    card : of `model_card`; the ids are added here.
    meta : of both models: as_of, columns with dtypes, data fingerprint, code_sha256; the question is added.
    trained_tested, trained_refit : rows each was fitted on, of `training_span`.
    interval : fitted object that turns a probability into an interval.

    Raises
    ------
    RunError : the verdict did not pass, or is not one of this log.
    """
    if not verdict.passed:
        raise RunError(
            "Only a model that passed the gate can be published.",
            found=" ".join(verdict.reasons),
            remedy="; ".join(verdict.missing) or "see the verdict.",
        )
    recorded = record_verdict(registry, verdict, context=context)
    meta = {**meta, "question": registry.question.slug}
    ids = {
        "tested_id": save_model(model_tested, registry.models, meta=meta | {"role": "tested", "train": trained_tested}),
        "model_id": save_model(model_refit, registry.models, meta=meta | {"role": "scores", "train": trained_refit}),
        "interval_id": save_model(interval, registry.models, meta=meta | {"role": "interval"}) if interval else "",
    }
    signed = replace(card, facts={**card.facts, "ids": ids | {"verdict": recorded.number, "log": recorded.sha256}})
    kept = ("as_of", "published_as", "chosen", "log_loss", "log_loss_low", "log_loss_high", "base_log_loss")
    content = {
        **{name: recorded.content[name] for name in kept},
        **ids,
        "verdict": recorded.number,
        "digest": verdict.opened.thresholds.digest,
        "card": signed.save(registry.folder / "cards"),
    }
    entry = registry.log.append_once(_PUBLICATION, content, context=context, only_last=True)
    return next(p for p in registry.publications() if p.number == entry.number)


def require_published(registry: Registry, *, as_of: str | None = None) -> PublishedModel:
    """Return the model that gives the scores; with `as_of`, the one that counted on that day.

    Raises
    ------
    NotEnoughEvidence : none has passed the gate yet; the last verdict's reasons are given.
    """
    published = registry.published(as_of=as_of)
    if published is not None:
        return published
    verdicts = registry.log.entries(VERDICT)
    last = verdicts[-1].content if verdicts else None
    raise NotEnoughEvidence(
        "Scores are asked for before a model has passed the gate.",
        found=_briefly(last["reasons"]) if last else f"no verdict for {registry.question.slug}",
        remedy="; ".join(last["missing"]) if last and last["missing"] else "run 03_model_comparison of this study.",
    )


def training_span(rows: pd.DataFrame) -> dict[str, object]:
    """Return from, to, rows, entities and rows with the outcome of labelled rows, for a model's meta.

    Rows without dates have neither from nor to; put the running numbers there where they have some.
    """
    dates, key = rows["as_of"], ENTITY_KEYS[entity_of(rows)]
    known = bool(dates.notna().any())
    return {
        "from": dates.min().isoformat() if known else None,
        "to": dates.max().isoformat() if known else None,
        "rows": len(rows),
        "entities": int(rows[key].nunique()),
        "outcomes": int(rows["label"].sum()),
    }


def _briefly(reasons: Sequence[str]) -> str:
    """The first reasons in words, the others counted: the verdict itself stands in the comparison."""
    more = len(reasons) - _TOLD
    return " ".join(reasons[:_TOLD]) + (f" {more} more checks failed." if more > 0 else "")


def _check_opened(registry: Registry, verdict: Verdict) -> None:
    known = {e.number: e for e in registry.log.entries(THRESHOLDS)}
    entry = known.get(verdict.opened.number)
    if (
        entry is None
        or entry.sha256 != verdict.opened.sha256
        or entry.content["digest"] != verdict.opened.thresholds.digest
    ):
        raise RunError(
            "The log does not hold the thresholds that this verdict was reached with.",
            found=f"entry {verdict.opened.number} of {registry.question.slug}",
            remedy="open the window with this registry, then judge again.",
        )
