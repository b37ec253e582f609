"""``equipoise culture``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Force
from .show import progress_line, show_culture


@app.command()
def culture(
    context: typer.Context,
    annotations: Annotated[
        list[str],
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="A JSON file of annotations, or example-objects or example-feasts; may be repeated.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Whom to ask; without it the annotations alone are looked at."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="For results.json and report.html.")
    ] = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Check annotations of cultural dimensions, and ask a model the questions: with whom does it agree?"""
    from ..workflows import culture as run

    with progress_line() as report:
        results = run(
            annotations,
            model,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            command=context.obj,
            progress=report,
        )
    show_culture(results, out)
