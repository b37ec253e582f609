"""``equipoise audit``."""

from typing import Annotated

import typer

from .app import app
from .options import (
    Device,
    Dtype,
    FileOfSeeds,
    Force,
    Limit,
    Model,
    NoCache,
    Passages,
    ReportOut,
    Seeds,
    Strengths,
    Subjects,
    Text,
    TokenFiles,
)
from .show import progress_line, show_results


@app.command()
def audit(
    context: typer.Context,
    model: Model,
    task: Subjects,
    out: ReportOut,
    intervention: FileOfSeeds = None,
    tokens: TokenFiles = None,
    strengths: Strengths = "0:1:0.1",
    seeds: Seeds = "0",
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
    limit: Limit = None,
    text: Text = None,
    passages: Passages = None,
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
