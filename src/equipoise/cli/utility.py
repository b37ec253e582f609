"""``equipoise utility``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, File, Force, Model, NumbersOut, Strengths, checked_limit
from .show import progress_line, show_utility


@app.command()
def utility(
    model: Model,
    task: Annotated[str, typer.Option("--task", help="vqa:PATH (VQAv2's files) or mmmu:PATH (parquet).")],
    intervention: File = None,
    strengths: Strengths = "1",
    limit: Annotated[
        int, typer.Option("--limit", callback=checked_limit, help="Questions; 0 takes all.")
    ] = 200,
    out: NumbersOut = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Ask questions about images whose answers are known: what does an intervention cost?"""
    from ..workflows import utility as run
    from ..workflows.inputs import parse_strengths

    with progress_line() as report:
        results = run(
            model,
            task,
            intervention=intervention,
            strengths=parse_strengths(strengths),
            limit=limit or None,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            progress=report,
        )
    show_utility(results)
