"""``equipoise probe``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Force, Model, Seed
from .show import progress_line


@app.command()
def probe(
    context: typer.Context,
    model: Model,
    statements: Annotated[
        str,
        typer.Option(
            "--statements",
            metavar="FILE",
            help="builtin, crows_pairs:PATH, or JSON or CSV with statement, category, label, group.",
        ),
    ] = "builtin",
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="For results, page, detectors and steering vectors."),
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this one; may be repeated.")
    ] = None,
    reading: Annotated[
        str, typer.Option("--reading", help="last: the last token; mean: all but the first.")
    ] = "last",
    steering: Annotated[
        float,
        typer.Option("--steering", help="Length of a steering vector at λ = 1, in median residual norms."),
    ] = 0.1,
    threshold: Annotated[
        float, typer.Option("--threshold", help="P(biased) above which a detector fires.")
    ] = 0.5,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="components, penalty, folds or shuffles."),
    ] = None,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Find the layers whose activations tell biased from neutral statements; train detectors and steering vectors."""
    import os

    from ..workflows import probe as run
    from ..workflows.inputs import parse_settings
    from .show import show_probes

    with progress_line() as report:
        found = run(
            model,
            statements,
            categories=category or (),
            reading=reading,  # type: ignore[arg-type]  # checked there
            settings=parse_settings(setting or ()),
            steering=steering,
            threshold=threshold,
            seed=seed,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            command=context.obj,
            progress=report,
        )
    show_probes(found.results, None if out is None else os.path.join(out, "report.html"))
