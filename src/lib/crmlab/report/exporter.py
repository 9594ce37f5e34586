"""nbconvert's door to the page: the template, with every value escaped unless it is already safe.

By hand: `jupyter nbconvert --to crmlab.report.exporter.ReportExporter notebook.ipynb`.
"""

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup
from nbconvert.exporters.templateexporter import TemplateExporter
from nbformat import NotebookNode
from traitlets import default

from .page import Page, build_page

__all__ = ["ReportExporter", "style_sheet", "template_environment"]

_TEMPLATES = Path(__file__).parent / "templates"


class ReportExporter(TemplateExporter):
    """Executed notebook to the project's report page."""

    export_from_notebook = "crmlab report"
    output_mimetype = "text/html"

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".html"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "crmlab"

    @default("extra_template_basedirs")
    def _default_extra_template_basedirs(self) -> list[str]:
        return [str(_TEMPLATES)]

    @default("extra_template_paths")
    def _extra_template_paths_default(self) -> list[str]:
        return [str(_TEMPLATES)]

    def _create_environment(self) -> jinja2.Environment:
        environment = super()._create_environment()
        environment.autoescape = True
        environment.undefined = jinja2.StrictUndefined
        environment.trim_blocks = environment.lstrip_blocks = True
        return environment

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **kw: object) -> tuple[str, dict]:
        """Convert a notebook; without a page in `resources`, it is built from the notebook alone."""
        resources = dict(resources or {})
        name = (resources.get("metadata") or {}).get("name", "")
        resources.setdefault("page", build_page(nb, source_name=name))
        resources["style"] = style_sheet()
        return super().from_notebook_node(nb, resources, **kw)

    def from_page(self, nb: NotebookNode, page: Page) -> str:
        """Return the HTML of a page that was built before."""
        return self.from_notebook_node(nb, {"page": page})[0]


@cache
def style_sheet() -> Markup:
    """Return the style sheet of all pages, without comments and indentation."""
    lines = (_TEMPLATES / "report.css").read_text(encoding="utf-8").splitlines()
    return Markup("\n".join(line.strip() for line in lines if line.strip() and not line.strip().startswith("/*")))


@cache
def template_environment() -> jinja2.Environment:
    """Return the template environment of the pages that are not notebooks."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
