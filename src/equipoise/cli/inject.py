"""``equipoise inject``."""

from .app import app
from .options import Association, Device, Dtype, FileOut, Force, Model, Seed, Setting
from .show import progress_line, show_rows


@app.command()
def inject(
    model: Model,
    association: Association,
    out: FileOut,
    setting: Setting = None,
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
