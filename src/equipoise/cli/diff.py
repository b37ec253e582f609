"""``equipoise diff``."""

from typing import Annotated

import typer

from .app import app
from .options import Force
from .show import show_diff


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A folder with a results.json, or such a file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, of the same items.")],
    everything: Annotated[bool, typer.Option("--all", help="Show every strength that both have.")] = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Also write a .json or .html file.")
    ] = None,
    force: Force = False,
) -> None:
    """Compare two results of the same items, setting by setting, with paired tests."""
    from ..workflows import diff as run

    show_diff(run(a, b, out=out, force=force), everything=everything, page=out)
