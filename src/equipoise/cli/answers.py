"""``equipoise answers``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, File, Force, Limit, Model, NumbersOut, Strengths
from .show import progress_line, show_answers


@app.command()
def answers(
    model: Model,
    source: Annotated[str, typer.Option("--source", help="As for choices.")] = "first",
    attribute: Annotated[str, typer.Option("--attribute", help="gender, race or tone.")] = "gender",
    prompts: Annotated[
        str | None, typer.Option("--prompts", metavar="FILE", help="A TOML file of other wordings.")
    ] = None,
    intervention: File = None,
    strengths: Strengths = "1",
    seeds: Annotated[str, typer.Option("--seeds", help="Each draws a wording for each input.")] = "0",
    limit: Limit = 0,
    new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Most tokens of an answer.")] = 32,
    out: NumbersOut = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Let a model answer in its own words: what it says, how fluently, and whether answers collapse."""
    from ..workflows import answers as run
    from ..workflows.choices import read_choices
    from ..workflows.inputs import parse_seeds, parse_strengths

    with progress_line() as report:
        results = run(
            model,
            read_choices(source, attribute, prompts),
            intervention=intervention,
            strengths=parse_strengths(strengths),
            seeds=parse_seeds(seeds),
            limit=limit or None,
            new_tokens=new_tokens,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            named=source,
            progress=report,
        )
    show_answers(results)
