"""The templates of the pages, and figures as what they show."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from . import canvas
from .plots import Labelled


@cache
def template(name: str) -> Template:
    """A page's template; what is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("equipoise.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def drawn(labelled: Labelled, prefix: str, active: str | None = None) -> dict[str, Any]:
    """What the macro ``figure`` shows; see :func:`equipoise.reports.canvas.svg` for ``prefix`` and ``active``."""
    picture = canvas.svg(labelled.figure, prefix, active)
    named = f'<svg role="img" aria-labelledby="{prefix}-title"'
    return {
        "id": prefix,
        # The only text that is not escaped: matplotlib's own SVG, in which it escaped the labels.
        "svg": Markup(picture.replace("<svg", named, 1)),
        "title": labelled.title,
        "caption": labelled.caption,
    }
