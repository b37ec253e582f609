"""``equipoise generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .app import app
from .options import Device, Dtype, File, Model, Seed, Strength, TokenFiles
from .show import show_rows

if TYPE_CHECKING:
    from ..reports import Detection


@app.command()
def generate(
    model: Model,
    prompt: Annotated[list[str], typer.Option("--prompt", metavar="TEXT", help="May be repeated.")],
    image: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="FILE", help="For vision-language models: shown with every prompt."),
    ] = None,
    intervention: File = None,
    tokens: TokenFiles = None,
    strength: Strength = 1.0,
    detect: Annotated[
        str | None,
        typer.Option(
            "--detect", metavar="FILE", help="A detector: steer only where it fires, and show its scores."
        ),
    ] = None,
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
        tokens=tokens or (),
        strength=strength,
        detect=detect,
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
        if one.detection is not None:
            rows.append((f"P({one.detection.category} bias)", _scores(one.detection)))
    show_rows(rows)


def _scores(found: Detection) -> str:
    parts = [f"prompt {found.prompt:.2f}", f"with base {found.base:.2f}"]
    if found.steered is not None:
        parts.append(f"with steered {found.steered:.2f}")
    if found.share is not None:
        parts.append(f"steered {100 * found.share:.0f} % of the tokens")
    return ", ".join(parts)
