"""The figures as they are kept: one plain list, and a file about the machine, the null tests and what failed."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from crmlab import metrics
from features_bench.records import machine as machine_of
from models_bench.page import page
from models_bench.runner import Run
from models_bench.sets import BenchmarkSet
from models_bench.ways import BASE, OWN, WAYS

__all__ = ["figures", "machine", "merge", "null_test", "oracle", "write_all"]

_FIGURES = ("log_loss", "roc_auc", "ece")


def figures(one: BenchmarkSet, runs: Sequence[Run], *, n_bootstrap: int, seed: int) -> list[dict[str, object]]:
    """Return one line per way, with 95 % intervals over resampled entities and paired differences from the best.

    Returns
    -------
    Lines of: set, protocol, way, log_loss (with _low, _high), roc_auc, ece (10 bins of equal size; with _low, _high),
    fit_cpu_s, predict_cpu_s, n_test, wall_s (of fitting), version, n_train.
    `best`: the way with the lowest log loss; `behind` (with _low, _high): log loss minus that of the best; `tied`: that
    interval holds 0. `ece_ranked`: it tells rows apart; `ece_best`, `ece_tied`: the same of the calibration error among
    ways that do. In our own lines: `other`, the best of the other ways; `from_other` (with _low, _high), the log loss
    minus its; `refused`, see `_refused`.
    """
    y, groups = one.y[one.tested], one.groups[one.tested]
    losses = np.column_stack([_losses(y, run.p) for run in runs])
    sampled = {name: np.empty((n_bootstrap, len(runs))) for name in ("loss", "ece")}
    for k, w in enumerate(metrics.bootstrap_weights(groups, n=n_bootstrap, seed=seed)):
        sampled["loss"][k] = w @ losses / w.sum()
        sampled["ece"][k] = [metrics.calibration_error(y, run.p, w) for run in runs]
    loss, ece = losses.mean(axis=0), np.array([metrics.calibration_error(y, run.p) for run in runs])
    # Shares of the training rows are always calibrated and tell no row from another; beside them nothing would rank.
    ranked = np.array([len(np.unique(run.p)) > len(one.folds) for run in runs])
    best = int(loss.argmin())
    ece_best = int(np.where(ranked, ece, np.inf).argmin())
    lines = []
    for k, run in enumerate(runs):
        behind = _interval(sampled["loss"][:, k] - sampled["loss"][:, best])
        apart = _interval(sampled["ece"][:, k] - sampled["ece"][:, ece_best])
        lines.append(
            {
                "set": one.name,
                "protocol": one.protocol,
                "way": run.way,
                "log_loss": _rounded(loss[k]),
                **_named("log_loss", _interval(sampled["loss"][:, k])),
                "roc_auc": _rounded(metrics.roc_auc(y, run.p)),
                "ece": _rounded(ece[k]),
                **_named("ece", _interval(sampled["ece"][:, k])),
                "fit_cpu_s": _rounded(run.fit_cpu_s),
                "predict_cpu_s": _rounded(run.predict_cpu_s),
                "n_test": len(y),
                "wall_s": _rounded(run.wall_s),
                "version": run.version,
                "n_train": sum(len(train) for train, _ in one.folds) // len(one.folds),
                "best": runs[best].way,
                "behind": _rounded(loss[k] - loss[best]),
                **_named("behind", behind),
                "tied": bool(behind[0] <= 0),
                "ece_ranked": bool(ranked[k]),
                "ece_best": runs[ece_best].way,
                "ece_tied": bool(ranked[k] and apart[0] <= 0),
                **(_own(k, runs, loss, sampled["loss"]) if run.way.startswith(OWN) else {}),
            }
        )
    return lines


def null_test(one: BenchmarkSet, runs: Sequence[Run], *, n_bootstrap: int, seed: int) -> list[dict[str, object]]:
    """Return, for each of our own ways on outcomes dealt out by lot, how it compares with the base rate."""
    lines = figures(one, runs, n_bootstrap=n_bootstrap, seed=seed)
    told = {run.way: run.told for run in runs}
    kept = ("set", "way", "log_loss", "other", "from_other", "from_other_low", "from_other_high", "refused")
    own = [line for line in lines if line["way"].startswith(OWN) and "other" in line]
    return [{name: line[name] for name in kept} | {"told": told[line["way"]]} for line in own]


def oracle(one: BenchmarkSet) -> dict[str, float] | None:
    """Return the figures of the true probability, where it is known: nobody can do better but by luck."""
    if one.truth is None:
        return None
    y, p = one.y[one.tested], one.truth[one.tested]
    values = (metrics.log_loss(y, p), metrics.roc_auc(y, p), metrics.calibration_error(y, p))
    return dict(zip(_FIGURES, map(_rounded, values), strict=True))


def merge(old: Iterable[Mapping[str, object]], new: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the lines of both, the new one where both have the same set and way; sets stay in their order."""
    lines = {(line["set"], line["way"]): dict(line) for line in (*old, *new)}
    sets = list(dict.fromkeys(name for name, _ in lines))
    ways = list(WAYS)
    place = {way: k for k, way in enumerate(ways)}
    return sorted(
        lines.values(), key=lambda line: (sets.index(line["set"]), place.get(line["way"], len(ways)), line["way"])
    )


def machine(*, date: str, budget_s: float, seed: int) -> dict[str, object]:
    """Return what the figures were taken on."""
    about = machine_of(date=date, rounds=1, versions={})
    del about["versions"], about["rounds"]
    return about | {"system": platform.system(), "budget_s": budget_s, "seed": seed}


def write_all(folder: Path, lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> None:
    """Write models.json, models_machine.json and models.md, each in one move."""
    texts = {
        "models.json": "[\n" + ",\n".join(" " + json.dumps(line, ensure_ascii=False) for line in lines) + "\n]\n",
        "models_machine.json": json.dumps(about, indent=1, ensure_ascii=False) + "\n",
        "models.md": page(lines, about),
    }
    for name, text in texts.items():
        draft = folder / f"{name}.new"
        draft.write_text(text, "utf-8")
        draft.replace(folder / name)


def _losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Loss of each row, with probabilities cut where `metrics.log_loss` cuts them."""
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def _own(k: int, runs: Sequence[Run], loss: np.ndarray, sampled: np.ndarray) -> dict[str, object]:
    """Return how one of our own ways compares with the best of the others, and whether it is refused."""
    others = [j for j, run in enumerate(runs) if not run.way.startswith(OWN)]
    if not others:
        return {}
    other = min(others, key=lambda j: loss[j])
    base = next((j for j in others if runs[j].way == BASE), None)
    return {
        "other": runs[other].way,
        "from_other": _rounded(loss[k] - loss[other]),
        **_named("from_other", _interval(sampled[:, k] - sampled[:, other])),
        "refused": None if base is None else _refused(sampled[:, k] - sampled[:, base]),
    }


def _refused(gap: np.ndarray) -> bool:
    """Whether a model would not be published: its log loss is not below the base rate's beyond doubt.

    This is the gate's first check alone. The gate proper (`crmlab.gate`) has more floors and more checks, so it refuses
    whatever is refused here.
    """
    return not _interval(gap)[1] < 0


def _interval(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def _named(name: str, interval: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_low": _rounded(interval[0]), f"{name}_high": _rounded(interval[1])}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
