"""``equipoise info``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype
from .show import show_rows


@app.command()
def info(
    source: Annotated[str, typer.Argument(metavar="MODEL|FILE", help="A model, or an intervention's file.")],
    dtype: Dtype = "float32",
    device: Device = None,
) -> None:
    """Print what a model is made of, or what an intervention's file holds."""
    from ..workflows import info as run

    show_rows(run(source, dtype=dtype, device=device))
