"""The program that commands register with. They import what they need when they run: torch takes seconds."""

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure a language model's social bias, fit a small edit that removes it, choose how strongly it acts.",
)
