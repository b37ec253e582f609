"""The command line: a thin face over the workflows. Bad input is one line on standard error and exit status 2."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import InputError

if TYPE_CHECKING:
    from .reports import Results
    from .workflows.progress import Report

# The commands import what they need when they run: torch takes seconds, and --help shouldn't.

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure a language model's social bias, fit a small edit that removes it, choose how strongly it acts.",
)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A hub id, a folder, a .gguf file, or the alias smollm2 or gemma3-270m."
    ),
]
Tasks = Annotated[
    list[str],
    typer.Option("--task", help="pronouns, coreference, winobias:PATH, winogender:PATH, synthbias:PATH."),
]
File = Annotated[
    str | None,
    typer.Option("--intervention", metavar="FILE", help="A .safetensors file, or a sum, a+b."),
]
FileOfSeeds = Annotated[
    str | None,
    typer.Option(
        "--intervention",
        metavar="FILE",
        help="A .safetensors file, or a sum, a+b. {seed} in it stands for each seed.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")]
Device = Annotated[str | None, typer.Option("--device", help="For example cpu or cuda:0.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides the split and everything random.")]


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where the three files go.")
    ] = "equipoise-demo",
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Fit an intervention on a small real model, audit it, and write the report."""
    from .workflows import demo as run

    with _progress() as report:
        _, results = run(out, force=force, seed=seed, command=context.obj, progress=report)
    _show(results, out)


@app.command()
def audit(
    context: typer.Context,
    model: Model,
    task: Tasks,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="For results.json and report.html.")],
    intervention: FileOfSeeds = None,
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
) -> None:
    """Measure bias and its price, without and with an intervention, and recommend a strength."""
    from .workflows import audit as run
    from .workflows.audit import LIMIT, PASSAGES
    from .workflows.inputs import parse_seeds, parse_strengths

    if limit is not None and limit < 0:
        raise InputError(f"--limit {limit}: it must be at least 1, or 0 for all items")
    with _progress() as report:
        results = run(
            model,
            task,
            intervention=intervention,
            strengths=parse_strengths(strengths),
            seeds=parse_seeds(seeds),
            target=target,
            kl_budget=kl_budget,
            accuracy_drop=accuracy_drop,
            keep=keep or (),
            limit=LIMIT if limit is None else limit or None,
            text=text,
            passages=PASSAGES if passages is None else passages,
            dtype=dtype,
            device=device,
            out=out,
            force=force,
            command=context.obj,
            progress=report,
        )
    _show(results, out)


@app.command()
def fit(
    model: Model,
    task: Annotated[str, typer.Option("--task", help="As for audit, or toxicity, which is free text.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="A .safetensors file.")],
    method: Annotated[str, typer.Option("--method", help="How to find the edit.")] = "dso",
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method.")
    ] = None,
    seed: Seed = 0,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "--resume", metavar="FILE", help="Resume from here if it exists."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="Plain text on which KL is kept low.")
    ] = None,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Fit an intervention on a task and save it."""
    from .workflows import fit as run
    from .workflows.info import file_rows
    from .workflows.inputs import parse_settings

    with _progress() as report:
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
    _table(file_rows(out))
    if not found.nonzero:
        print(
            "equipoise: no edit within the budgets did better on validation data than the model itself, so this one "
            "changes nothing: allow more with --set kl=…, or --set steps=…",
            file=sys.stderr,
        )


@app.command()
def generate(
    model: Model,
    prompt: Annotated[list[str], typer.Option("--prompt", metavar="TEXT", help="May be repeated.")],
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
    from .workflows import generate as run

    found = run(
        model,
        [({"role": "user", "content": text},) if chat and text else text for text in prompt],
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
    _table(rows)


@app.command()
def info(
    source: Annotated[str, typer.Argument(metavar="MODEL|FILE", help="A model, or an intervention's file.")],
    dtype: Dtype = "float32",
    device: Device = None,
) -> None:
    """Print what a model is made of, or what an intervention's file holds."""
    from .workflows import info as run

    _table(run(source, dtype=dtype, device=device))


@app.command()
def convert(
    path: Annotated[str, typer.Argument(metavar="FILE.pt", help="Interventions of the DSO repository.")],
    model: Annotated[str, typer.Option("--model", help="The model they were fitted on.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="A .safetensors file.")],
    scale: Annotated[
        str | None,
        typer.Option("--scale", help="What its scales are: delta (no effect at 0) or factor (none at 1)."),
    ] = None,
    force: Force = False,
) -> None:
    """Convert a DSO .pt file into a safetensors file."""
    from .workflows import convert as run
    from .workflows.info import file_rows

    run(path, model, scale=scale, out=out, force=force)
    _table(file_rows(out))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default the program's) and return its exit status: 0, 2 for bad input, 130 on Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Reports tell what made them, and a command's context knows only its own, parsed arguments.
        command = shlex.join(["equipoise", *given])
        status = app(args=given, prog_name="equipoise", standalone_mode=False, obj=command)
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        # typer's own errors about usage; which module defines them differs between its releases.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        text = " ".join(message().split())
        if not text:  # no arguments: the help has been shown
            return 2
        return _refuse(f"{text} (equipoise --help shows what there is)")


def main() -> None:
    """The entry point ``equipoise``."""
    sys.exit(run())


def _refuse(message: str) -> int:
    print(f"equipoise: {message}", file=sys.stderr)
    return 2


@contextmanager
def _progress() -> Iterator[Report]:
    """A line on standard error with the time left; nothing with EQUIPOISE_QUIET, or where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    hidden = bool(os.environ.get("EQUIPOISE_QUIET")) or not console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        line = progress.add_task("starting", total=1.0)
        yield lambda fraction, message: progress.update(line, completed=fraction, description=message)


def _show(results: Results, out: str) -> None:
    from rich.console import Console

    from .reports import audit_tables

    console = Console()
    if not console.is_terminal:
        # Nobody's window limits a log, and the table's intervals need the room.
        console = Console(width=120)
    console.print(audit_tables(results))
    console.print(
        f"report: {os.path.join(out, 'report.html')}", highlight=False, markup=False, soft_wrap=True
    )


def _table(rows: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), Text(value))
    Console().print(table)
