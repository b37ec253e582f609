"""``equipoise push`` and ``equipoise pull``."""

from typing import Annotated

import typer

from .app import app
from .options import FileOut, Force
from .show import show_rows

Repository = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="A repository of the Hugging Face hub.")
]


@app.command()
def push(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="An intervention, or a folder that export made.")
    ],
    repository: Repository,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="What others load the model as.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Of the file, such as apache-2.0; must be said.")
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="λ that the card recommends.")] = 1.0,
    results: Annotated[
        str | None, typer.Option("--results", metavar="FILE", help="An audit's results.json, for the card.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload an intervention with a card to the Hugging Face hub, or an exported model."""
    from ..workflows import push as run

    address = run(
        path, repository, base=base, licence=licence, strength=strength, results=results, private=private
    )
    show_rows([("pushed", address)])


@app.command()
def pull(
    repository: Repository,
    out: FileOut,
    revision: Annotated[str | None, typer.Option("--revision", help="A branch, tag or commit.")] = None,
    force: Force = False,
) -> None:
    """Download an intervention from the Hugging Face hub."""
    from ..workflows import pull as run
    from ..workflows.info import file_rows

    run(repository, out=out, revision=revision, force=force)
    show_rows(file_rows(out))
