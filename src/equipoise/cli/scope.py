"""``equipoise scope``."""

import os
from typing import Annotated

import typer

from .app import app
from .options import Association, Device, Dtype, Force, Model, Setting
from .show import progress_line


@app.command()
def scope(
    context: typer.Context,
    model: Model,
    tokens: Annotated[
        list[str],
        typer.Option("--tokens", metavar="FILE", help="What inject wrote; several runs if repeated."),
    ],
    association: Association,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="A .safetensors file; .json and .html go beside it.")
    ],
    heads: Annotated[
        int | None,
        typer.Option("--heads", metavar="K", help="How many; by default chosen on validation prompts."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", help="What their outputs are multiplied by; 0 by default.")
    ] = None,
    setting: Setting = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random heads that are compared.")] = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Find the attention heads that carry an injected association, and an intervention that scales them."""
    from rich.console import Console

    from ..reports import head_tables
    from ..workflows import scope as run
    from ..workflows.inputs import parse_settings
    from ..workflows.scope import written

    with progress_line() as report:
        run(
            model,
            tokens,
            association,
            settings=parse_settings(setting or ()),
            heads=heads,
            scale=scale,
            seed=seed,
            out=out,
            force=force,
            dtype=dtype,
            device=device,
            command=context.obj,
            progress=report,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(head_tables(written(out)))
    page = os.path.splitext(out)[0] + ".html"
    console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
