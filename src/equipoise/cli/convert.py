"""``equipoise convert``."""

from typing import Annotated

import typer

from .app import app
from .options import FileOut, Force
from .show import show_rows


@app.command()
def convert(
    path: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Of DSO or steering-vectors (.pt), or a control vector (.gguf)."),
    ],
    model: Annotated[str, typer.Option("--model", help="The model they were fitted on.")],
    out: FileOut,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale", help="What the scales of a DSO file are: delta (no effect at 0) or factor (none at 1)."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Convert another package's file into a safetensors file."""
    from ..workflows import convert as run
    from ..workflows.info import file_rows

    run(path, model, scale=scale, out=out, force=force)
    show_rows(file_rows(out))
