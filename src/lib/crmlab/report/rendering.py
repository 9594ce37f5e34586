"""An executed notebook as a whole page."""

from collections.abc import Mapping

from .page import build_page

__all__ = ["render"]


def render(nb: Mapping, *, source_name: str, run: Mapping | None = None, language: str = "en") -> str:
    """Return an executed notebook as a whole HTML page that loads nothing and runs nothing.

    Parameters
    ----------
    nb : the executed notebook, finished or not.
    source_name : name of the notebook, with or without `.ipynb`; the executed notebook is linked under it.
    run : what is known of the run (the keys of run.json); shown at the foot of the page.
    language : language of the fixed words.
    """
    from .exporter import ReportExporter  # nbconvert is heavy, and notebooks never need it

    page = build_page(nb, source_name=source_name, run=run, language=language)
    return ReportExporter().from_page(nb, page)
