"""``equipoise fit``."""

import sys
from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, FileOut, Force, Model, Seed, Setting
from .show import progress_line, show_rows


@app.command()
def fit(
    model: Model,
    task: Annotated[str, typer.Option("--task", help="As for audit, or toxicity, which is free text.")],
    out: FileOut,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="dso, iti, caa, mean_difference, leace, mean_projection, res_fair, random, prompting, temperature, "
            "lora, dpo, lora_dpo.",
        ),
    ] = "dso",
    setting: Setting = None,
    seed: Seed = 0,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", "--resume", metavar="FILE", help="Of dso: resume from here if it exists."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="Plain text on which KL is kept low.")
    ] = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Fit an intervention on a task and save it; the choice and its validation figures are shown."""
    from ..interventions import Intervention
    from ..workflows import fit as run
    from ..workflows.info import file_rows
    from ..workflows.inputs import parse_settings

    with progress_line() as report:
        found = run(
            model,
            task,
            method=method,
            settings=parse_settings(setting or ()),
            seed=seed,
            out=out,
            force=force,
            checkpoint=checkpoint,
            text=text,
            dtype=dtype,
            device=device,
            progress=report,
        )
    show_rows(file_rows(out))
    figures = found.provenance.config
    if method == "dso" and isinstance(found, Intervention) and not found.nonzero:
        _say(
            "no edit within the budgets did better on validation data than the model itself, so this one changes "
            "nothing: allow more with --set kl=…, or --set steps=…"
        )
    if not figures.get("within_budget", True):
        _say("on validation data this exceeds the budgets; use a lower strength, or fix less with --set")
    if not figures.get("better_than_base", True):
        _say(
            "on validation data this has no less bias than the model itself: measure it with audit before you use it"
        )


def _say(message: str) -> None:
    print(f"equipoise: {message}", file=sys.stderr)
