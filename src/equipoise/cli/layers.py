"""``equipoise layers``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, FileOfSeeds, Force, Model, ReportOut, Seed, checked_limit
from .show import progress_line, show_layers


@app.command()
def layers(
    context: typer.Context,
    model: Model,
    task: Annotated[
        str, typer.Option("--task", help="choices[:SOURCE], or any other task with closed answers.")
    ],
    out: ReportOut,
    intervention: FileOfSeeds = None,
    strength: Annotated[float, typer.Option("--strength", help="λ of the intervention.")] = 1.0,
    seed: Seed = 0,
    limit: Annotated[
        int, typer.Option("--limit", callback=checked_limit, help="Held-out items; 0 takes all.")
    ] = 160,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Show what each layer would answer, and how often its residuals disagree, without and with an intervention."""
    from ..workflows import layers as run

    with progress_line() as report:
        results = run(
            model,
            task,
            intervention=intervention,
            strength=strength,
            seed=seed,
            limit=limit or None,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            command=context.obj,
            progress=report,
        )
    show_layers(results, out)
