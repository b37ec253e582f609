"""``equipoise audit``."""

from typing import Annotated

import typer

from ..errors import InputError
from .app import app
from .options import Device, Dtype, FileOfSeeds, Force, Model, NoCache, Subjects, TokenFiles
from .show import progress_line, show_results


@app.command()
def audit(
    context: typer.Context,
    model: Model,
    task: Subjects,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="For results.json and report.html.")],
    intervention: FileOfSeeds = None,
    tokens: TokenFiles = None,
    strengths: Annotated[
        str, typer.Option("--strengths", metavar="S", help="0.8, or 0,0.5,1, or 0:1:0.1.")
    ] = "0:1:0.1",
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help="One, or several: 0,1,2.")] = "0",
    target: Annotated[float, typer.Option("--target", metavar="BIAS", help="Highest bias.")] = 0.05,
    kl_budget: Annotated[float, typer.Option("--kl-budget", metavar="X", help="Nats a token.")] = 0.05,
    accuracy_drop: Annotated[float, typer.Option("--accuracy-drop", help="Of unambiguous accuracy.")] = 0.01,
    keep: Annotated[
        list[float] | None, typer.Option("--keep", help="Also with only this share of the strongest entries.")
    ] = None,
    targeted: Annotated[
        list[str] | None,
        typer.Option("--targeted", metavar="AXIS", help="An axis that it is meant to move; default gender."),
    ] = None,
    guarantee: Annotated[
        float | None,
        typer.Option(
            "--guarantee", metavar="P", help="Choose the strength with this confidence, such as 0.9."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Held-out items of each part and seed; 0 takes all.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="Plain text for KL and perplexity.")
    ] = None,
    passages: Annotated[int | None, typer.Option("--passages", help="How many passages of it.")] = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
    no_cache: NoCache = False,
) -> None:
    """Measure bias and its price, without and with an intervention, and recommend a strength."""
    from ..workflows import audit as run
    from ..workflows.audit import LIMIT, PASSAGES
    from ..workflows.inputs import parse_seeds, parse_strengths
    from ..workflows.kept import default_folder

    if limit is not None and limit < 0:
        raise InputError(f"--limit {limit}: it must be at least 1, or 0 for all items")
    with progress_line() as report:
        results = run(
            model,
            task,
            intervention=intervention,
            tokens=tokens or (),
            strengths=parse_strengths(strengths),
            seeds=parse_seeds(seeds),
            target=target,
            kl_budget=kl_budget,
            accuracy_drop=accuracy_drop,
            keep=keep or (),
            targeted=targeted or ("gender",),
            guarantee=guarantee,
            limit=LIMIT if limit is None else limit or None,
            text=text,
            passages=PASSAGES if passages is None else passages,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            cache=None if no_cache else default_folder(),
            command=context.obj,
            progress=report,
        )
    show_results(results, out)
