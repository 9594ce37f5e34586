"""What is kept of one question: the log, every model that was ever published, and which one counts now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from crmlab.project import data_dir
from crmlab.schema import RunError
from crmlab.snapshots import Question

from .log import Entry, Log
from .modelfiles import load_meta, load_model

__all__ = ["PublishedModel", "Registry"]

PUBLICATION = "publication"


@dataclass(frozen=True)
class PublishedModel:
    """One publication: the model that scores, and its twin that was tested.

    Attributes
    ----------
    model_id : the model refitted on all mature rows; scores are given by it.
    tested_id : the same recipe fitted on the training rows alone; every figure of the verdict is this one's.
    interval_id : what turns a probability into an interval; empty where there is none.
    as_of : last day that the data reached, ISO.
    published_as : "probability", or what weaker thing it may be taken for (see `gate.Verdict`).
    number : entry of the log.
    content : all of the log's entry, the verdict's figures among it.
    """

    model_id: str
    tested_id: str
    interval_id: str
    as_of: str
    published_as: str
    number: int
    content: Mapping[str, object] = field(repr=False)
    models: Path = field(repr=False)

    @property
    def meta(self) -> dict[str, object]:
        """What the published model's `meta.json` says."""
        return load_meta(self.models / self.model_id)

    @property
    def tested_meta(self) -> dict[str, object]:
        """What the tested twin's `meta.json` says."""
        return load_meta(self.models / self.tested_id)

    def load(self) -> object:
        """Return the model that scores."""
        return load_model(self.models / self.model_id)

    def load_tested(self) -> object:
        """Return the tested twin."""
        return load_model(self.models / self.tested_id)

    def load_interval(self) -> object | None:
        """Return what turns a probability into an interval, or None where nothing was published for it."""
        return load_model(self.models / self.interval_id) if self.interval_id else None

    @property
    def card(self) -> Path:
        """Path of the model card (Markdown); the same facts stand beside it as JSON."""
        return self.models.parent / "cards" / f"{self.content['card']}.md"


class Registry:
    """Models and log of one question, in a folder; nothing in it is ever deleted or changed.

    Parameters
    ----------
    question : what the models answer.
    home : folder above the questions' folders; `registry` of the project's data folder unless told.
    """

    def __init__(self, question: Question, home: Path | None = None) -> None:
        self.question = question
        self.folder = Path(home if home is not None else data_dir() / "registry") / question.slug
        self.models = self.folder / "models"
        self.log = Log(self.folder / "log.jsonl")

    def published(self, *, as_of: str | None = None) -> PublishedModel | None:
        """Return the publication that counts: of the newest data, and of these the last one; None before the first.

        Parameters
        ----------
        as_of : ISO date; models of newer data do not count, for nobody had them on that day.

        Raises
        ------
        RunError : the log is broken.
        """
        known = [p for p in self.publications() if as_of is None or p.as_of <= as_of]
        return max(known, key=lambda p: (p.as_of, p.number)) if known else None

    def publications(self) -> list[PublishedModel]:
        """Return every publication, oldest first."""
        return [self._published(e) for e in self.log.entries(PUBLICATION)]

    def tested(self, model_id: str) -> object:
        """Return the tested twin of a published model.

        Raises
        ------
        RunError : no model of this id was published.
        """
        found = [p for p in self.publications() if model_id in (p.model_id, p.tested_id)]
        if not found:
            raise RunError("No such model was published for this question.", found=f"{model_id}, {self.question.slug}")
        return found[-1].load_tested()

    def history(self) -> pd.DataFrame:
        """Return the log, one row per entry, oldest first.

        Returns
        -------
        Frame: number, kind, as_of, outcome (passed, refused, published or opened), chosen, log_loss, model_id,
        published_as, reasons, code_version.
        """
        rows = [_history_row(e) for e in self.log.entries()]
        names = ["number", "kind", "as_of", "outcome", "chosen", "log_loss", "model_id", "published_as", "reasons"]
        return pd.DataFrame(rows, columns=[*names, "code_version"])

    def _published(self, entry: Entry) -> PublishedModel:
        own = ("model_id", "tested_id", "interval_id", "as_of", "published_as")
        return PublishedModel(*(entry.content[k] for k in own), entry.number, entry.content, self.models)


def _history_row(entry: Entry) -> dict[str, object]:
    content = entry.content
    outcomes = {"thresholds": "opened", PUBLICATION: "published"}
    verdict = "passed" if content.get("passed") else "refused"
    return {
        "number": entry.number,
        "kind": entry.kind,
        "as_of": content.get("as_of") or content.get("window", {}).get("as_of"),
        "outcome": outcomes.get(entry.kind, verdict),
        "chosen": content.get("chosen", ""),
        "log_loss": content.get("log_loss"),
        "model_id": content.get("model_id", ""),
        "published_as": content.get("published_as", ""),
        "reasons": " ".join(content.get("reasons", [])),
        "code_version": entry.context.get("code_version", ""),
    }
