"""``equipoise compare``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Force, Limit, Model, NoCache, Passages, Seeds, Strengths, Text
from .show import progress_line, show_comparison


@app.command()
def compare(
    context: typer.Context,
    model: Model,
    task: Annotated[str, typer.Option("--task", help="As for audit.")],
    methods: Annotated[
        str,
        typer.Option(
            "--methods", metavar="A,B,…", help="Methods, .safetensors files and sums, a+b; name=… names one."
        ),
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIR", help="For results.json, report.html, figure.svg and the fits."),
    ],
    strengths: Strengths = "0:2:0.25",
    seeds: Seeds = "0",
    budgets: Annotated[
        str, typer.Option("--kl-budgets", metavar="X,Y,…", help="Nats a token.")
    ] = "0.01,0.03,0.1",
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="METHOD.KEY=VALUE", help="A setting of a method.")
    ] = None,
    limit: Limit = None,
    text: Text = None,
    passages: Passages = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an interrupted comparison fitted in DIR.")
    ] = False,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
    no_cache: NoCache = False,
) -> None:
    """Fit several methods, measure them at equal cost, and say which to take."""
    from ..workflows import compare as run
    from ..workflows.audit import LIMIT, PASSAGES
    from ..workflows.entries import parse_method_settings
    from ..workflows.inputs import parse_budgets, parse_seeds, parse_strengths
    from ..workflows.kept import default_folder

    with progress_line() as report:
        results = run(
            model,
            task,
            methods,
            strengths=parse_strengths(strengths),
            seeds=parse_seeds(seeds),
            budgets=parse_budgets(budgets),
            settings=parse_method_settings(setting or ()),
            limit=LIMIT if limit is None else limit or None,
            text=text,
            passages=PASSAGES if passages is None else passages,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            cache=None if no_cache else default_folder(),
            resume=resume,
            command=context.obj,
            progress=report,
        )
    show_comparison(results, out)
