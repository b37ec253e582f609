"""``equipoise demo``."""

from typing import Annotated

import typer

from .app import app
from .options import Force, Seed
from .show import progress_line, show_results


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the files go.")] = "equipoise-demo",
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Fit an intervention on a small real model, audit it, and write the report."""
    from ..workflows import demo as run

    with progress_line() as report:
        _, results = run(out, force=force, seed=seed, command=context.obj, progress=report)
    show_results(results, out)
