"""``equipoise export``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Force, Model, Strength
from .show import progress_line, show_rows


@app.command()
def export(
    model: Model,
    intervention: Annotated[
        str, typer.Option("--intervention", metavar="FILE", help="A .safetensors file, or a sum, a+b.")
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    strength: Strength = 1.0,
    format: Annotated[str, typer.Option("--format", help="hf, gguf, control-vector or peft.")] = "hf",
    gguf_type: Annotated[
        str, typer.Option("--gguf-type", help="Of a GGUF's matrices: f32, f16 or q8_0.")
    ] = "f16",
    task: Annotated[str, typer.Option("--task", help="Whose prompts parity is tested on.")] = "pronouns",
    new_tokens: Annotated[
        int, typer.Option("--new-tokens", help="Greedy tokens of each prompt that must agree.")
    ] = 200,
    results: Annotated[
        str | None,
        typer.Option("--results", metavar="FILE", help="An audit's results.json, for the model card."),
    ] = None,
    force: Force = False,
    dtype: Dtype = "float32",
    device: Device = None,
) -> None:
    """Write a model that any stock engine serves, with the intervention in its weights."""
    from ..workflows import export as run

    with progress_line() as progress:
        done = run(
            model,
            intervention,
            out=out,
            strength=strength,
            format=format,  # type: ignore[arg-type]
            gguf_type=gguf_type,  # type: ignore[arg-type]
            task=task,
            new_tokens=new_tokens,
            results=results,
            force=force,
            dtype=dtype,
            device=device,
            progress=progress,
        )
    show_rows(done.rows())
