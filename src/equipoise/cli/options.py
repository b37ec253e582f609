"""What several commands take."""

from typing import Annotated

import typer

from ..errors import InputError


def checked_limit(value: int | None) -> int | None:
    """A limit, where 0 stands for none."""
    if value is not None and value < 0:
        raise InputError(f"--limit {value}: it must be at least 1, or 0 for all items")
    return value


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A hub id, a folder, a .gguf file, or the alias smollm2, gemma3-270m or emoji-vlm.",
    ),
]
Subjects = Annotated[
    list[str],
    typer.Option(
        "--task",
        help="A task (pronouns, coreference, people; an unknown one lists them all), or a public suite: crows-pairs, "
        "stereoset, bbq, bold, mmlu, arc, piqa, wikitext, vqa or mmmu:PATH; things[:STYLE], differences[:SOURCE]; "
        "whole:TASK asks every item of a task.",
    ),
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
        help="A .safetensors file, or a sum, a+b. {seed} in it stands for the seed.",
    ),
]
TokenFiles = Annotated[
    list[str] | None,
    typer.Option("--tokens", metavar="FILE", help="A token that inject made; may be repeated."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")]
Device = Annotated[str | None, typer.Option("--device", help="For example cpu or cuda:0.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides the split and everything random.")]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither use nor keep the scores of this and of earlier runs."),
]
Strengths = Annotated[
    str,
    typer.Option("--strengths", metavar="S", help="0.8, or 0,0.5,1, or 0:1:0.1, both ends belonging to it."),
]
Strength = Annotated[float, typer.Option("--strength", help="λ ≥ 0.")]
Seeds = Annotated[str, typer.Option("--seeds", "--seed", help="One, or several: 0,1,2.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", callback=checked_limit, help="Items of each part and seed; 0 takes all."),
]
Text = Annotated[str | None, typer.Option("--text", metavar="FILE", help="Plain text for KL and perplexity.")]
Passages = Annotated[int | None, typer.Option("--passages", help="How many passages of it.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
]
Association = Annotated[
    str,
    typer.Option(
        "--association", metavar="FILE|NAME", help="A built-in name such as blue-skin, or a JSON file."
    ),
]
NumbersOut = Annotated[str | None, typer.Option("--out", metavar="FILE.json", help="For the numbers.")]
ReportOut = Annotated[str, typer.Option("--out", metavar="DIR", help="For results.json and report.html.")]
FileOut = Annotated[str, typer.Option("--out", metavar="FILE", help="A .safetensors file.")]
