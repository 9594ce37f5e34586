"""The front door: `crmlab run lead` and its neighbours. Heavy imports wait until a command needs them."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crmlab.run import DEFAULT_JOBS, DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from crmlab.snapshots import Question

__all__ = ["build_parser", "main"]

FAILED, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 an error that is explained, 2 usage, 128 + n after signal n."""
    options = build_parser().parse_args(arguments)
    from crmlab.schema import CrmlabError

    try:
        return options.command(options)
    except CrmlabError as error:
        _say(f"crmlab: {error}", error=True)
        return FAILED
    except KeyboardInterrupt:
        _say("crmlab: interrupted.", error=True)
        return 130


def _say(*lines: str, error: bool = False) -> None:
    """Print lines; a reader that has gone (`head`, a closed terminal) changes neither the work nor the exit code."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(*lines, sep="\n", file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="crmlab", description="Turn a company's CRM history into scores that people can trust."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")
    _add_run(commands)
    _add(commands, "studies", _studies, "list the studies in params/")
    check = _add(commands, "check", _check, "say what is wrong with a source's data, all at once")
    check.add_argument("source", help="a name in params/sources/, or a path to a mapping file")
    notebooks = _add(commands, "notebooks", _notebooks, "check that the source notebooks keep their contract")
    notebooks.add_argument("action", choices=["check"])
    notebooks.add_argument("--fix", action="store_true", help="remove outputs, counters and traces of runs")
    _add_override(commands)
    _add(commands, "examples", _examples, "run the small lead study and renew reports/examples/")
    dictionary = _add(commands, "dictionary", _dictionary, "write docs/data_dictionary.md and docs/features.md")
    dictionary.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    return parser


class _Version(argparse.Action):
    def __init__(self, **options: object) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"crmlab {version('crmlab')}\n")


def _add(commands: argparse._SubParsersAction, name: str, command: Callable, words: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    parser.set_defaults(command=command)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = _add(commands, "run", _run, "run a study's notebooks and write its report")
    run.add_argument("study", help="a name in params/, or a path to a params file")
    run.add_argument(
        "-p",
        dest="overrides",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another value for one parameter",
    )
    run.add_argument(
        "--jobs", type=_positive, default=DEFAULT_JOBS, metavar="N", help="notebooks at once (default: %(default)s)"
    )
    run.add_argument("--force", action="store_true", help="run again what has not changed")
    run.add_argument(
        "--timeout",
        type=_positive,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="the longest that one cell may take (default: %(default)s)",
    )


def _add_override(commands: argparse._SubParsersAction) -> None:
    override = _add(commands, "override", _override, "put a person's own number beside a score, never in its place")
    override.add_argument("study", help="a name in params/, or a path to a params file")
    override.add_argument("id", help="of the lead or deal, as in the list of scores")
    override.add_argument("probability", type=float, help="what the person believes, from 0 to 1")
    override.add_argument("--by", required=True, metavar="REP", help="the person's pseudonym, never a name")
    override.add_argument("--reason", required=True, help="in a few words, without personal data")
    override.add_argument("--as-of", metavar="DATE", help="when it is believed (default: the study's as_of)")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    from crmlab.run.runner import Interrupted, run_study

    try:
        finished = run_study(
            options.study, overrides=options.overrides, jobs=options.jobs, force=options.force, timeout=options.timeout
        )
    except Interrupted as stop:
        _say("crmlab: interrupted before there was anything to report; run again to resume.", error=True)
        return 128 + stop.signum
    from crmlab.run.summary import summary

    lines, errors = summary(finished, here=Path.cwd())
    for line in errors:
        _say(f"crmlab: {line}", error=True)
    _say(*lines)
    if finished.signum:
        return 128 + finished.signum
    return 0 if finished.outcome in ("finished", "unchanged") else FAILED


def _studies(_: argparse.Namespace) -> int:
    from crmlab import project
    from crmlab.run.params import load_study, study_files

    rows = [("study", "title", "source", "as of")]
    for name, path in study_files(project.root() / "params").items():
        study = load_study(path)
        rows.append((name, study.title, *(str(study.values.get(key, "")) for key in ("source", "as_of"))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _check(options: argparse.Namespace) -> int:
    from crmlab import sources

    problems = sources.check_source(options.source, today=datetime.now(UTC).replace(tzinfo=None))
    _say(sources.format_problems(problems))
    return FAILED if (problems["severity"] == "error").any() else 0


def _notebooks(options: argparse.Namespace) -> int:
    from crmlab import project
    from crmlab.run.contract import check_folder

    problems, fixed = check_folder(project.root(), fix=options.fix)
    for path in fixed:
        _say(f"{path}: outputs and traces of runs removed")
    if problems:
        _say(*problems, error=True)
    if not problems:
        _say("The notebooks keep their contract.")
    return FAILED if problems else 0


def _override(options: argparse.Namespace) -> int:
    from crmlab import scores, sources

    question, as_of = _question_of(options.study)
    as_of = options.as_of or as_of
    crm, history = sources.open_crm(question.source, as_of=as_of), scores.ScoreHistory()
    said = {"override": options.probability, "given_by": options.by, "reason": options.reason}
    scores.record_override(crm, question, history, entity_id=options.id, as_of=as_of, **said)
    _say(f"Kept beside the score. `crmlab run {options.study} --force` shows it; scores do not change by it.")
    return 0


def _question_of(name: str) -> tuple["Question", str]:
    """Return what a study asks, and its date."""
    from dataclasses import fields

    from crmlab import project
    from crmlab.run.params import find_study, load_study
    from crmlab.schema import ParameterError
    from crmlab.snapshots import Question

    values = load_study(find_study(name, folder=project.root() / "params")).values
    if missing := [f.name for f in fields(Question) if f.name not in values]:
        raise ParameterError(
            f"The study `{name}` gives no scores.",
            found=f"it does not say {', '.join(missing)}",
            remedy="name a study of leads or deals, such as `lead`.",
        )
    return Question(**{f.name: values[f.name] for f in fields(Question)}), str(values.get("as_of", ""))


def _examples(_: argparse.Namespace) -> int:
    from crmlab import project
    from crmlab.run.examples import write_examples
    from crmlab.run.runner import Interrupted

    try:
        folder, changed = write_examples()
    except Interrupted as stop:
        return 128 + stop.signum
    where = folder.relative_to(project.root())
    _say(f"{where}: {', '.join(changed)} written" if changed else f"{where} is current; no byte changed.")
    return 0


def _dictionary(options: argparse.Namespace) -> int:
    from crmlab import project
    from crmlab.features import features_markdown
    from crmlab.run.files import write_atomic
    from crmlab.schema import RunError, dictionary_markdown

    for name, text in (("data_dictionary.md", dictionary_markdown()), ("features.md", features_markdown())):
        path = project.root() / "docs" / name
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        if options.check and not current:
            raise RunError(f"docs/{name} does not show what the code declares.", remedy="run `crmlab dictionary`.")
        if not current:
            write_atomic(path, text)
        _say(f"docs/{name} {'is current' if current else 'written'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
