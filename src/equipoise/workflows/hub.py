"""Push to and pull from the Hugging Face hub: interventions with a card, and exported folders."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..export import intervention_card
from ..files import write_atomic
from ..interventions import Intervention
from ..reports import Results
from .export import MARKS, measured
from .inputs import check_strengths, free_output

FILE, RESULTS, CARD = "intervention.safetensors", "results.json", "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def push(
    path: str | os.PathLike[str],
    repository: str,
    *,
    base: str | None = None,
    licence: str | None = None,
    strength: float = 1.0,
    results: str | os.PathLike[str] | Results | None = None,
    private: bool = False,
) -> str:
    """Upload an intervention's file with a card, or a folder that ``export`` made; returns the commit's address.

    The repository is made if it isn't there; what is uploaded is one commit. The account is the one of
    ``hf auth login``, or of the token in ``HF_TOKEN``.

    Args:
        path: a file of one intervention; or an exported folder, which has its card already and takes no more than
            ``private``.
        repository: ``OWNER/NAME``.
        base: what others load the model as; by default what an audit's results say.
        licence: of the file, as the hub names it (``apache-2.0``). It must be said.
        strength: λ that the card recommends, and whose figures it shows.
        results: an audit's results.json, whose figures at this strength go into the card; uploaded beside the file.
        private: make a new repository private.

    Raises :class:`InputError` for bad input, before anything is uploaded, and for what the hub refuses.
    """
    _check(repository)
    if Path(path).is_dir():
        return _push_folder(Path(path), repository, private, (base, licence, results))
    if licence is None:
        raise InputError("say under which licence others may use the file: --licence apache-2.0, for example")
    if not re.fullmatch(r"[\w.-]+", licence):
        raise InputError(f"--licence {licence}: it must be a name as the hub has them, such as apache-2.0")
    (lam,) = check_strengths([strength])
    intervention = Intervention.load(path)
    found = results if results is None or isinstance(results, Results) else Results.read(results)
    effects = [] if found is None else measured(found, lam)
    name = base or (None if found is None else str(found.model.get("name") or "") or None)
    with tempfile.TemporaryDirectory(prefix="equipoise-push-") as place:
        folder = Path(place)
        intervention.save(folder / FILE)
        if found is not None:
            found.write(folder / RESULTS)
        card = intervention_card(
            repository, name, intervention, lam, file=FILE, licence=licence, effects=effects
        )
        (folder / CARD).write_text(card, encoding="utf-8")
        return _upload(folder, repository, private)


def pull(
    repository: str,
    *,
    out: str | os.PathLike[str],
    revision: str | None = None,
    force: bool = False,
) -> Intervention:
    """Download the intervention that :func:`push` put into ``repository``, check it, and save it as ``out``.

    Args:
        repository: ``OWNER/NAME``.
        out: a new .safetensors file.
        revision: a branch, tag or commit; by default the newest.
        force: overwrite ``out``.

    Raises :class:`InputError`, with nothing written, for what isn't there, and for a file that isn't whole.
    """
    _check(repository)
    target = free_output(out, force=force, suffix=".safetensors")
    hub = _hub()
    with _refusals(repository):
        place = hub.hf_hub_download(repository, FILE, revision=revision)
    intervention = Intervention.load(place)
    write_atomic(target, Path(place).read_bytes(), force=force)
    return intervention


def _push_folder(folder: Path, repository: str, private: bool, others: tuple[Any, ...]) -> str:
    if any(one is not None for one in others):
        raise InputError(f"{folder} has its card already: leave out --base, --licence and --results")
    if not (folder / CARD).is_file() or not any((folder / mark).is_file() for mark in MARKS.values()):
        raise InputError(
            f"{folder} is no folder that `equipoise export` made: give one, or an intervention's file"
        )
    return _upload(folder, repository, private)


def _upload(folder: Path, repository: str, private: bool) -> str:
    hub = _hub()
    with _refusals(repository):
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="Upload by Equipoise"
        )
    return str(getattr(done, "commit_url", done))


def _check(repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository}: a repository of the hub is called OWNER/NAME")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise InputError("the hub needs the package huggingface_hub: pip install 'equipoise[hub]'") from None
    return huggingface_hub


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    """What the hub or the way to it refuses, as one line."""
    try:
        yield
    except Exception as error:  # the hub's client has many of its own, and hands on those of the network
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines)[:300] or type(error).__name__
        raise InputError(
            f"{repository}: the hub refused ({reason}): check the name, the network, and `hf auth login`"
        ) from None
