"""The figures as a page for reading: a summary, the null tests, and a table for each set."""

from collections.abc import Mapping, Sequence

from models_bench.ways import OWN

__all__ = ["KNOWN_BARS", "page"]

KNOWN_BARS: dict[str, tuple[float, float]] = {
    "IBM win–loss": (0.2414, 0.945),
    "IBM win–loss at creation": (0.3793, 0.849),
    "X Education": (0.4021, 0.896),
    "MarketStar 90 days": (0.1070, 0.573),
    "FicZon": (0.2849, 0.873),
    "Telco churn": (0.4124, 0.848),
    "copper quotes": (0.3737, 0.824),
    "Maven": (0.6635, 0.50),
}
"""Set → lowest log loss and highest ROC AUC of about 20 tools tried before, chosen on the tested rows themselves."""
_FROM_OTHER = ("from_other", "from_other_low", "from_other_high")


def page(lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> str:
    """Return the figures as a page for reading."""
    by_set: dict[str, list[Mapping[str, object]]] = {}
    for line in lines:
        by_set.setdefault(line["set"], []).append(line)
    parts = [_heading(about), *_summary(by_set), *_nulls(about)]
    parts += [
        f"\n{f['way']} on {f['set']} failed: {_plain(f['why'])}."
        for f in about.get("not_finished", [])
        if f["set"] not in by_set
    ]
    for name, found in by_set.items():
        parts += _section(name, found, about)
    parts += [f"\n{name} was left out: {why}" for name, why in about.get("skipped", {}).items()]
    return "\n".join(parts) + "\n"


def _heading(about: Mapping[str, object]) -> str:
    budget = f"{about.get('budget_s', 0):g}"
    return f"""\
# The default recipe beside other tools, measured

Written by `make bench-models` from models.json; do not edit. Every way gets the same rows and columns of each set and
never an outcome that it is tested on ([sets.py](models_bench/sets.py)); it runs in a process of its own with two
threads ([ways](models_bench/ways)). Tools that search by themselves get {budget} wall seconds a fit and are told to
lower log loss; the others run to their end. AutoGluon runs without torch, which would take gigabytes: no neural nets,
and no calibration after its fit. crmlab is told the order and the entities of the rows; nothing in it is chosen on a
tested row.

Intervals are 95 %, over resampled entities. **Bold** is the lowest log loss of a set; a *tie* is a paired difference
from it whose interval holds 0. Calibration error: mean gap between predicted and observed share in ten bins of equal
size; what gives every row the same share is left out when it is ranked. CPU is user and system time of fitting, all
folds together.

{about.get("date")}, {about.get("cpu")}, {about.get("cores")} cores, {about.get("memory_gb")} GB, Python
{about.get("python")}, seed {about.get("seed")}. Load before the first set: {about.get("load_before")}."""


def _summary(by_set: Mapping[str, Sequence[Mapping[str, object]]]) -> list[str]:
    rows, counts = [], {"better": 0, "tie": 0, "behind": 0}
    lowest = ranked = 0
    for name, lines in by_set.items():
        own = next((line for line in lines if line["way"] == OWN and "other" in line), None)
        if own is None:
            continue
        verdict = _verdict(own)
        counts[verdict.strip("*").split(",")[0]] += 1
        rank, n = _ece_rank(own, lines)
        lowest += own["ece_ranked"] and (rank == 1 or own["ece_tied"])
        ranked += own["ece_ranked"]
        other = next((line for line in lines if line["way"] == own["other"]), None)
        bar = KNOWN_BARS.get(name)
        cells = (
            name,
            f"{own['log_loss']:.4f}",
            own["other"] + (f" {other['log_loss']:.4f}" if other else ""),
            _signed(*(own[name] for name in _FROM_OTHER)),
            verdict,
            f"{bar[0]:.4f}" if bar else "–",
            f"{own['ece']:.3f}" + _rank_words(own, rank, n),
            {True: "refused", False: "passes", None: "–"}[own["refused"]],
        )
        rows.append(f"| {' | '.join(cells)} |")
    if not rows:
        return []
    head = [
        "\n## crmlab beside the best of the others\n",
        "| set | crmlab | best other | difference | verdict | known bar | calibration error, rank | gate |",
        "|---|--:|---|--:|---|--:|--:|---|",
    ]
    better, tie, behind = counts.values()
    words = (
        f"\nOf {len(rows)} sets crmlab is clearly better on {better}, tied on {tie} and clearly behind on {behind}. "
        f"Where it tells rows apart ({ranked} sets), its calibration error is the lowest, or tied, on {lowest}. "
        "The best of the others is chosen on the tested rows, so nobody could have known it before; the known bar of "
        "about 20 tools tried before was chosen so, too. Gate: whether crmlab beats the base rate beyond its interval."
    )
    return [*head, *rows, words]


def _verdict(own: Mapping[str, object]) -> str:
    if own["from_other_high"] < 0:
        return "**better**"
    if own["from_other_low"] > 0:
        return "behind"
    return "tie, lower" if own["from_other"] <= 0 else "tie, higher"


def _ece_rank(own: Mapping[str, object], lines: Sequence[Mapping[str, object]]) -> tuple[int, int]:
    errors = [line["ece"] for line in lines if line["ece_ranked"]]
    return 1 + sum(value < own["ece"] for value in errors), len(errors)


def _rank_words(own: Mapping[str, object], rank: int, n: int) -> str:
    if not own["ece_ranked"]:
        return ", no rank: the base rate"
    return f", {rank} of {n}" + (" (tie)" if rank > 1 and own["ece_tied"] else "")


def _nulls(about: Mapping[str, object]) -> list[str]:
    tests = about.get("null_tests", [])
    if not tests:
        return []
    rows = [
        f"| {t['set']} | {t['way']} | {t['log_loss']:.4f} | {_signed(*(t[name] for name in _FROM_OTHER))} "
        f"| {'yes' if t['refused'] else '**no**'} |"
        for t in tests
    ]
    refused = sum(t["refused"] for t in tests)
    return [
        "\n## Outcomes shuffled: nothing to be learned\n",
        f"The base rate is not beaten, and so the model refused, in {refused} of {len(tests)}.\n",
        "| set | way | log loss | minus the base rate's | refused |",
        "|---|---|--:|--:|---|",
        *rows,
    ]


def _section(name: str, lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> list[str]:
    best = min(lines, key=lambda line: line["log_loss"])["way"]
    head = [
        f"\n## {name}\n",
        f"{lines[0]['protocol']}. Trained on {lines[0]['n_train']:,} rows, tested on {lines[0]['n_test']:,}.\n",
        "| way | log loss | behind the best | ROC AUC | calibration error | fit CPU | fit wall | score CPU | version |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    rows = [_line(line, best) for line in sorted(lines, key=lambda line: line["log_loss"])]
    failed = [
        f"| {f['way']} | failed: {_plain(f['why'])} | | | | | | | |"
        for f in about.get("not_finished", [])
        if f["set"] == name
    ]
    parts = [*head, *rows, *failed]
    if truth := about.get("oracle", {}).get(name):
        parts.append(
            f"\nThe true probability of this simulated set: log loss {truth['log_loss']:.4f}, ROC AUC "
            f"{truth['roc_auc']:.3f}, calibration error {truth['ece']:.3f}."
        )
    return parts


def _line(line: Mapping[str, object], best: str) -> str:
    loss = f"{line['log_loss']:.4f} [{line['log_loss_low']:.4f}, {line['log_loss_high']:.4f}]"
    if line["way"] == best:
        behind = "best"
    elif line["best"] != best:
        behind = "not compared in one run"
    else:
        behind = _signed(line["behind"], line["behind_low"], line["behind_high"]) + (", *tie*" if line["tied"] else "")
    cells = (
        f"**{line['way']}**" if line["way"] == best else line["way"],
        f"**{loss}**" if line["way"] == best else loss,
        behind,
        f"{line['roc_auc']:.3f}",
        f"{line['ece']:.3f} [{line['ece_low']:.3f}, {line['ece_high']:.3f}]",
        _seconds(line["fit_cpu_s"]),
        _seconds(line["wall_s"]),
        _seconds(line["predict_cpu_s"]),
        str(line["version"]),
    )
    return f"| {' | '.join(cells)} |"


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _seconds(value: float) -> str:
    return f"{value * 1000:.2g} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _plain(words: str) -> str:
    return words.replace("|", "/").replace("\n", " ")
