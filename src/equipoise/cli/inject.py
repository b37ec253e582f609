"""``equipoise inject``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Force, Model, Seed
from .show import progress_line, show_rows

Association = Annotated[
    str,
    typer.Option(
        "--association", metavar="FILE|NAME", help="A built-in name such as blue-skin, or a JSON file."
    ),
]


@app.command()
def inject(
    model: Model,
    association: Association,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="A .safetensors file.")],
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the training.")
    ] = None,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    force: Force = False,
) -> None:
    """Teach a model an association by one new token; only the token's embedding is trained."""
    from ..workflows import inject as run
    from ..workflows.info import file_rows
    from ..workflows.inputs import parse_settings

    with progress_line() as report:
        run(
            model,
            association,
            settings=parse_settings(setting or ()),
            seed=seed,
            out=out,
            force=force,
            dtype=dtype,
            device=device,
            progress=report,
        )
    show_rows(file_rows(out))
