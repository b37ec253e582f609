"""``equipoise generate``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, File, Model, Seed
from .show import show_rows


@app.command()
def generate(
    model: Model,
    prompt: Annotated[list[str], typer.Option("--prompt", metavar="TEXT", help="May be repeated.")],
    image: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="FILE", help="For vision-language models: shown with every prompt."),
    ] = None,
    intervention: File = None,
    strength: Annotated[float, typer.Option("--strength", help="λ ≥ 0.")] = 1.0,
    chat: Annotated[bool, typer.Option("--chat", help="Put the prompt as a user's turn of a chat.")] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens")] = 40,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    device: Device = None,
) -> None:
    """Continue a prompt; with an intervention, without and with it."""
    from ..workflows import generate as run

    found = run(
        model,
        [({"role": "user", "content": text},) if chat and text else text for text in prompt],
        images=image or (),
        intervention=intervention,
        strength=strength,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    rows = []
    for one in found:
        rows += [("prompt", one.prompt), ("base", one.base.strip())]
        if one.steered is not None:
            rows.append((f"λ = {strength:g}", one.steered.strip()))
    show_rows(rows)
