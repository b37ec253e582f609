"""``equipoise serve``."""

from typing import Annotated

import typer

from .app import app
from .options import Device, Dtype, Model


@app.command()
def serve(
    model: Model,
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            "--intervention", metavar="[NAME=]FILE", help="May be repeated; named by the file otherwise."
        ),
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="λ where a request says nothing.")] = 1.0,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port to listen on.")] = 8000,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Answers written at the same time.")] = 16,
    max_waiting: Annotated[int, typer.Option("--max-waiting", help="Requests that may wait.")] = 256,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Prompt and answer together.")] = 4096,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that an answer may take.")] = 300.0,
    dtype: Dtype = "float32",
    device: Device = None,
) -> None:
    """Answer like OpenAI's API; every request chooses its own strength."""
    import importlib.util

    from ..errors import InputError

    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise InputError("serving needs starlette and uvicorn: pip install 'equipoise[serve]'")
    from ..models import load
    from ..serve import Engine, make_app, run_server
    from ..serve.address import check_address
    from ..workflows.inputs import check_strengths, named_interventions

    (default,) = check_strengths([strength])
    for what, value in (
        ("--max-rows", max_rows),
        ("--max-waiting", max_waiting),
        ("--max-tokens", max_tokens),
    ):
        if value < 1:
            raise InputError(f"{what} {value}: it must be at least 1")
    if not timeout > 0:
        raise InputError(f"--timeout {timeout:g}: it must be more than 0 seconds")
    found = named_interventions(intervention or [])
    check_address(host, port)
    loaded = load(model, dtype=dtype, device=device)
    engine = Engine(
        loaded, found, most_rows=max_rows, most_waiting=max_waiting, most_tokens=max_tokens, patience=timeout
    )
    # Here, not in the server: what can't be attached is one line, not a server's log.
    engine.start()
    typer.echo(
        f"{loaded.name} with {', '.join(found) or 'no intervention'} at http://{host}:{port}/ (Ctrl-C ends it)"
    )
    try:
        run_server(make_app(engine, name=loaded.name, strength=default), host=host, port=port)
    finally:
        engine.stop()
