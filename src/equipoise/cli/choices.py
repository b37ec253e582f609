"""``equipoise choices``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, File, Force, Model, NumbersOut, Strengths
from .show import progress_line, show_choices


@app.command()
def choices(
    model: Model,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="first or second (concepts, text alone); emoji, pairs:PATH, socialcounterfactuals:PATH or a folder.",
        ),
    ] = "first",
    attribute: Annotated[str, typer.Option("--attribute", help="gender, race or tone.")] = "gender",
    prompts: Annotated[
        str | None, typer.Option("--prompts", metavar="FILE", help="A TOML file of other wordings.")
    ] = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="List the options in an order drawn by the seed.")
    ] = False,
    score: Annotated[
        str, typer.Option("--score", help="probability, or paper: sums of first tokens' logits, first words.")
    ] = "probability",
    intervention: File = None,
    strengths: Strengths = "1",
    seeds: Annotated[
        str, typer.Option("--seeds", help="Each draws a template for each input.")
    ] = "0,1,2,3,4",
    out: NumbersOut = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Ask which gender (or race) is better at something, and count who answers that there is no difference."""
    from ..workflows import choices as run
    from ..workflows.choices import check_score, read_choices
    from ..workflows.inputs import parse_seeds, parse_strengths

    with progress_line() as report:
        results = run(
            model,
            read_choices(source, attribute, prompts, shuffle=shuffle),
            intervention=intervention,
            strengths=parse_strengths(strengths),
            seeds=parse_seeds(seeds),
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            score=check_score(score),
            named=source,
            progress=report,
        )
    show_choices(results)
