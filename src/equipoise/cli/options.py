"""What several commands take."""

from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A hub id, a folder, a .gguf file, or the alias smollm2 or gemma3-270m."
    ),
]
Tasks = Annotated[
    list[str],
    typer.Option(
        "--task",
        help="pronouns, coreference, winobias:PATH, winogender:PATH, synthbias:PATH, occupation-pairs, choices.",
    ),
]
Subjects = Annotated[
    list[str],
    typer.Option(
        "--task",
        help="A task, or a public suite: crows-pairs, stereoset, bbq, bold, mmlu, arc, piqa or wikitext:PATH; "
        "things[:STYLE], differences[:SOURCE]; whole:TASK asks every item of a task.",
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
        help="A .safetensors file, or a sum, a+b. {seed} in it stands for each seed.",
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
