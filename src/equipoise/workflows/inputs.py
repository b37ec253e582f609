"""What users write, as values: strengths, seeds, settings, tasks, interventions. Everything wrong is one line."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from ..files import refuse_existing
from ..interventions import InjectedToken, Intervention, split_sum
from ..methods import Steering, load_mitigation
from ..methods.mitigation import Mitigation, as_mitigation, together
from ..tasks import Suite, Task, TextPart, axis_of, load_subject, load_task, load_text, plain_text
from .cautions import warn_of_meeting

Source = Intervention | Mitigation | str | os.PathLike[str]
Token = InjectedToken | str | os.PathLike[str]
MOST_SEED = 2**32 - 1
MOST_STRENGTHS = 1000
SEED_FIELD = "{seed}"


def parse_strengths(text: str) -> tuple[float, ...]:
    """Strengths λ ≥ 0, ascending and each once, from ``0.8``, ``0,0.5,1`` or ``0:1:0.1`` (start:stop:step, both ends).

    Raises :class:`InputError` for anything else.
    """
    if ":" not in text:
        return check_strengths([_number(piece, text) for piece in text.split(",")])
    pieces = text.split(":")
    if len(pieces) != 3:
        raise InputError(f"strengths {text!r}: a range is start:stop:step, for example 0:1:0.1")
    start, stop, step = (_number(piece, text) for piece in pieces)
    if step <= 0 or stop < start:
        raise InputError(f"strengths {text!r}: a range goes up, start ≤ stop and step > 0")
    # The stop belongs to the range although 0.1 has no exact binary form.
    count = math.floor((stop - start) / step + 1e-9) + 1
    if count > MOST_STRENGTHS:
        raise InputError(
            f"strengths {text!r}: these are {count}, more than {MOST_STRENGTHS}: take a larger step"
        )
    return check_strengths([start + step * i for i in range(count)])


def check_strengths(values: Sequence[float]) -> tuple[float, ...]:
    """Ascending and each once, rounded to ten decimals. Raises :class:`InputError` for what can't be a strength."""
    if not values:
        raise InputError("there are no strengths: give at least one, for example 0:1:0.1")
    for value in values:
        if not math.isfinite(value) or value < 0:
            raise InputError(f"strength {value} must be a finite number of at least 0")
    return tuple(sorted({round(float(value), 10) for value in values}))


def _number(piece: str, text: str) -> float:
    try:
        return float(piece)
    except ValueError:
        raise InputError(
            f"strengths {text!r}: {piece.strip()!r} is no number; write 0.8, or 0,0.5,1, or 0:1:0.1"
        ) from None


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from ``0`` or ``0,1,2``, each once, in the order given."""
    try:
        seeds = tuple(int(piece) for piece in text.split(","))
    except ValueError:
        raise InputError(f"seeds {text!r} must be whole numbers, for example 0 or 0,1,2") from None
    return check_seeds(seeds)


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds, each once, if there are any and each is one that all random generators take."""
    if not seeds or min(seeds) < 0 or max(seeds) > MOST_SEED:
        raise InputError(f"seeds {list(seeds)} must be one or more whole numbers from 0 to {MOST_SEED}")
    return tuple(dict.fromkeys(seeds))  # one twice would count as two that happen to agree


def parse_budgets(text: str) -> tuple[float, ...]:
    """KL budgets from ``0.03`` or ``0.01,0.03,0.1``."""
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError:
        raise InputError(f"KL budgets {text!r} must be numbers, for example 0.01,0.03,0.1") from None


def parse_settings(entries: Sequence[str]) -> dict[str, str]:
    """``key=value`` entries as a dictionary. Raises :class:`InputError` without ``=`` or for a key given twice."""
    settings: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key.strip():
            raise InputError(f"setting {entry!r} must be key=value")
        if key.strip() in settings:
            raise InputError(f"setting {key.strip()!r} is given twice: keep one")
        settings[key.strip()] = value.strip()
    return settings


def the_tasks(tasks: str | Task | Sequence[str | Task]) -> tuple[Task, ...]:
    """Tasks given by name or as they are; each name once."""
    given = [tasks] if isinstance(tasks, (str, Task)) else list(tasks)
    if not given:
        raise InputError("there is no task: give at least one, for example pronouns")
    found = tuple(task if isinstance(task, Task) else load_task(task) for task in given)
    names = [task.name for task in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the task {name!r} is given more than once: name each task once")
    return found


def the_subjects(
    given: str | Task | Suite | Sequence[str | Task | Suite],
) -> tuple[tuple[Task, ...], tuple[Suite, ...]]:
    """Tasks and public suites, by name or as they are; each name once."""
    listed = [given] if isinstance(given, (str, Task, Suite)) else list(given)
    if not listed:
        raise InputError("there is no task: give at least one, for example pronouns")
    found = [load_subject(one) if isinstance(one, str) else one for one in listed]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the task {name!r} is given more than once: name each task once")
    return (
        tuple(one for one in found if isinstance(one, Task)),
        tuple(one for one in found if isinstance(one, Suite)),
    )


def check_level(level: float) -> None:
    """Raise :class:`InputError` unless the coverage of intervals lies between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"the level of intervals is {level:g}, but must be between 0 and 1")


def check_count(value: int | None, what: str) -> None:
    """Raise :class:`InputError` unless ``value`` is at least 1, or None: all."""
    if value is not None and value < 1:
        raise InputError(f"{what} is {value}, but must be at least 1")


def check_axes(names: Sequence[str]) -> tuple[str, ...]:
    """Names of axes of bias as suites have them. Raises :class:`InputError` for an empty one."""
    found = tuple(axis_of(name) for name in names)
    if not all(found):
        raise InputError("a targeted axis has no name: write for example gender or race")
    return found


def the_text(
    text: str | os.PathLike[str] | Sequence[str] | None, part: TextPart
) -> tuple[Sequence[str], str]:
    """Plain passages and what to call them: a file's, as given, or by default one half of our own."""
    if text is None:
        return plain_text(part), "equipoise's own"
    if isinstance(text, (str, os.PathLike)):
        return load_text(text), os.fspath(text)
    return tuple(text), "given"


def the_mitigations(
    given: Source | Mapping[int, Source], seeds: Sequence[int]
) -> tuple[dict[int, Mitigation], str | None]:
    """A mitigation for each seed, and the file's name as given (None for a value that came from no file).

    ``given`` is one mitigation for all seeds (a value, a file, or a sum of files), a mapping from seed to
    mitigation, or a file name with ``{seed}`` in it.
    """
    if isinstance(given, Mapping):
        lacking = [seed for seed in seeds if seed not in given]
        if lacking:
            raise InputError(f"there is no intervention for seed {lacking[0]}: give one for each seed")
        loaded = {seed: the_mitigations(given[seed], [seed]) for seed in seeds}
        names = [name for _, name in loaded.values() if name is not None]
        return {seed: found[seed] for seed, (found, _) in loaded.items()}, ", ".join(names) or None
    if not isinstance(given, (str, os.PathLike)):
        return dict.fromkeys(seeds, as_mitigation(given)), None
    name = os.fspath(given)
    if SEED_FIELD in name and not Path(name).exists():
        files = [name.replace(SEED_FIELD, str(seed)) for seed in seeds]
        # What meets for one seed meets for the others: it is said once.
        first, *others = [load_sum(file, warn=number == 0) for number, file in enumerate(files)]
        return dict(zip(seeds, [first, *others], strict=True)), name
    return dict.fromkeys(seeds, load_sum(name)), name


def load_sum(path: str, *, warn: bool = True) -> Mitigation:
    """A file, or a sum of files, whose token scopes may differ; terms that meet at a site are warned of."""
    terms = [(name, load_file(name)) for name in split_sum(path)]
    if warn:
        warn_of_meeting(terms)
    try:
        return together([term for _, term in terms])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_file(path: str) -> Mitigation:
    """What one file holds. Raises InputError, naming the file, for everything that is wrong with it."""
    return load_mitigation(path)


def the_tokens(given: Token | Sequence[Token]) -> tuple[InjectedToken, ...]:
    """Tokens as values, those that are files read. Raises :class:`InputError` for one that can't be."""
    listed = [given] if isinstance(given, (InjectedToken, str, os.PathLike)) else given
    return tuple(one if isinstance(one, InjectedToken) else InjectedToken.load(one) for one in listed)


def the_intervention(given: Source) -> Intervention:
    """One intervention, where nothing else will do. Raises :class:`InputError` for any other mitigation."""
    found = the_mitigations(given, [0])[0][0]
    if not isinstance(found, Steering):
        raise InputError(
            f"{'it' if not isinstance(given, (str, os.PathLike)) else os.fspath(given)}: an edit of activations of one "
            "token scope is needed here, not an instruction or a sum of several scopes"
        )
    return found.intervention


def named_interventions(entries: Sequence[str]) -> dict[str, Intervention]:
    """Interventions by name from ``FILE`` or ``NAME=FILE``; without a name the file's own, without its ending.

    Raises :class:`InputError` for two of one name, or a name of other than letters, digits, ``.``, ``_``, ``-``.
    """
    found: dict[str, Intervention] = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not equals or Path(entry).is_file():
            name, path = Path(entry.partition("+")[0]).stem, entry
        if not name or not all(letter.isalnum() or letter in "._-" for letter in name):
            raise InputError(
                f"--intervention {entry}: {name!r} is no name: write NAME=FILE, with letters and digits"
            )
        if name in found:
            raise InputError(f"two interventions are called {name!r}: write NAME=FILE for one of them")
        found[name] = Intervention.load(path)
    return found


def within(value: float, what: str, most: float = 1.0) -> float:
    """``value`` if it lies in [0, most]. Raises :class:`InputError` otherwise."""
    if not 0 <= value <= most:
        raise InputError(f"{what} is {value:g}, but must be from 0 to {most:g}")
    return value


def limited(value: float | None, what: str, most: float = 1.0) -> float | None:
    """As :func:`within`, but None is allowed: no limit."""
    return None if value is None else within(value, what, most)


def free_outputs(folder: str | os.PathLike[str], names: Sequence[str], *, force: bool) -> Path:
    """The folder, if ``names`` can be written into it. Nothing is made yet.

    Raises :class:`InputError` if one of them exists and ``force`` is not set, or the folder can't be one.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(f"--out {target} is a file, but must be a folder: choose another")
    writable(target)
    for name in names:
        refuse_existing(target / name, force=force)
    return target


def writable(target: Path) -> None:
    """Raise :class:`InputError` unless ``target``, or the first of its parents that exists, is a folder to write in."""
    parent = target
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        # Permissions don't say it all: /proc allows root everything and takes nothing.
        with tempfile.TemporaryDirectory(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"can't write into {parent} ({error.strerror}): choose another --out") from None


def free_output(path: str | os.PathLike[str], *, force: bool, suffix: str | None = None) -> Path:
    """The path of one file, if it can be written. Raises :class:`InputError` otherwise, before any work is done."""
    target = Path(path)
    if suffix is not None and target.suffix != suffix:
        raise InputError(f"--out {target} must end in {suffix}")
    if target.is_dir():
        raise InputError(f"--out {target} is a folder, but must be a file: name a file in it")
    writable(target.parent)
    return refuse_existing(target, force=force)
