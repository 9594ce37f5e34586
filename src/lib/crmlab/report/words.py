"""The fixed words of the report pages, in one place, so that a second language is one more dictionary."""

from crmlab.schema import ParameterError, did_you_mean

__all__ = ["WORDS", "words"]

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "lang": "en",
        "answer": "Answer",
        "answer_at_top": "The answer and its table stand at the top of this page.",
        "all_reports": "All reports",
        "as_of": "as of {}",
        "change": "Change",
        "code": "Code",
        "code_version": "Code version",
        "contents": "Contents",
        "data": "Data",
        "data_fingerprint": "Data fingerprint",
        "executed_notebook": "Executed notebook",
        "failed": "failed",
        "figure_without_text": "Figure without a description",
        "finished": "finished",
        "horizon_days": "{} days ahead",
        "headline_good": "Answer",
        "headline_caution": "Answer, with caution",
        "headline_bad": "Warning",
        "headline_plain": "Answer",
        "interrupted": "interrupted",
        "interval": "Interval",
        "cases": "n",
        "key_number": "Key number",
        "latest_failed": "The newest run of this study did not finish",
        "messages": "Messages",
        "name": "Name",
        "no_rows": "There are no such rows.",
        "no_runs": "There is no run yet. Start one with: crmlab run <study>",
        "no_finished_run": "No run of this study has finished yet.",
        "not_run_cells": "code cells after it were not run.",
        "not_shown": "This output needs a script and is not shown here; it is in the executed notebook.",
        "notebooks": "Notebooks",
        "outcome": "Outcome",
        "partial": "Open the notebook where it stopped",
        "recorded": "Recorded numbers",
        "reports": "Reports",
        "rows": "Rows",
        "rows_not_shown": "Showing {shown} of {total} rows; {hidden} are not shown.",
        "run": "Run",
        "run_history": "All runs, newest first",
        "seconds": "Seconds",
        "setup": "Parameters, data, versions",
        "skip": "Skip to the content",
        "started": "Started (UTC)",
        "stopped": "This notebook did not finish",
        "stopped_at": "Go to the cell where it stopped",
        "studies": "Studies",
        "table": "Table",
        "table_behind": "The table behind this figure",
        "traceback": "Traceback",
        "unreadable": "Folders that could not be read",
        "value": "Value",
        "versions": "Versions",
    },
}


def words(language: str = "en") -> dict[str, str]:
    """Return the fixed words of `language`.

    Raises
    ------
    ParameterError : the pages do not speak this language.
    """
    if language not in WORDS:
        raise ParameterError(
            "Unknown report language.", found=repr(language), remedy=did_you_mean(str(language), sorted(WORDS))
        )
    return WORDS[language]
