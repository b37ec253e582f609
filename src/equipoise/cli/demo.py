"""``equipoise demo``."""

from typing import Annotated

import typer

from .app import app
from .options import Force, Seed
from .show import progress_line, show_results


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where the files go; equipoise-demo, or with --vlm equipoise-demo-vlm.",
        ),
    ] = None,
    vlm: Annotated[
        bool,
        typer.Option("--vlm", help="A vision-language model with a planted bias, on drawings of people."),
    ] = False,
    style: Annotated[
        str | None,
        typer.Option(
            "--style", help="With --vlm: the drawing style that is measured, and with --rebuild left out."
        ),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="With --vlm: train its weights anew (an hour or so of one core)."),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="FILE", help="With --vlm: weights that --rebuild has made."),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Fit an intervention on a small real model, audit it, and write the report."""
    from ..errors import InputError
    from ..workflows import demo as run

    if not vlm:
        if style is not None or rebuild or weights is not None:
            raise InputError("--style, --rebuild and --weights are for demo --vlm: add --vlm")
        out = out or "equipoise-demo"
        with progress_line() as report:
            _, results = run(out, force=force, seed=seed, command=context.obj, progress=report)
        show_results(results, out)
        return
    from ..workflows.demo_vlm import PLANTED, demo_vlm

    out = out or "equipoise-demo-vlm"
    with progress_line() as report:
        _, results = demo_vlm(
            out,
            force=force,
            seed=seed,
            style=style or "twemoji",
            rebuild=rebuild,
            weights=weights,
            command=context.obj,
            progress=report,
        )
    show_results(results, out)
    typer.echo(PLANTED)
