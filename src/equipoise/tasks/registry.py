"""Tasks by name, as the command line writes them: ``name`` or ``name:PATH``."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError
from .bbq import BBQ
from .bold import BOLD
from .choices import choices_tasks
from .coreference import Coreference
from .crows_pairs import CrowsPairs
from .differences import Differences
from .intersections import Attribute, People
from .multiple_choice import ARC, MMLU, PIQA
from .occupation_pairs import OccupationPairs
from .prompts import PromptTask, Toxicity
from .pronouns import LabourPronouns, Pronouns
from .questions import MMMU, VQA
from .stereoset import StereoSet
from .suite import Suite
from .synthbias import SynthBias
from .task import Task
from .things import Things
from .whole import Whole
from .wikitext import WikiText
from .winobias import WinoBias
from .winogender import WinoGender


def _people(attribute: Attribute) -> Callable[[], Task]:
    return lambda: People(attribute)


_BUILT_IN: dict[str, Callable[[], Task]] = {
    "pronouns": Pronouns,
    "coreference": Coreference,
    "pronouns-labour": LabourPronouns,
    "people": _people("both"),
    "people-gender": _people("gender"),
    "people-race": _people("race"),
}
_PROMPTS: dict[str, Callable[[], PromptTask]] = {"toxicity": Toxicity}


@dataclass(frozen=True)
class _FromFiles:
    load: Callable[[str], Task]
    wants: str


_FROM_FILES: dict[str, _FromFiles] = {
    "winobias": _FromFiles(WinoBias, "the folder with WinoBias's own files"),
    "winogender": _FromFiles(WinoGender, "the folder with all_sentences.tsv and occupations-stats.tsv"),
    "synthbias": _FromFiles(SynthBias, "SynthBias's CSV file"),
}


@dataclass(frozen=True)
class _SuiteFrom:
    load: Callable[[str], Suite]
    wants: str


_SUITES: dict[str, _SuiteFrom] = {
    "crows-pairs": _SuiteFrom(CrowsPairs, "crows_pairs_anonymized.csv"),
    "stereoset": _SuiteFrom(StereoSet, "dev.json"),
    "bbq": _SuiteFrom(BBQ, "the folder with *.jsonl and additional_metadata.csv"),
    "bold": _SuiteFrom(BOLD, "the folder with *_prompt.json"),
    "mmlu": _SuiteFrom(MMLU, "the folder with dev and test (or val)"),
    "arc": _SuiteFrom(ARC, "a .jsonl or CSV file of questions"),
    "piqa": _SuiteFrom(PIQA, "the folder with valid.jsonl and valid-labels.lst"),
    "vqa": _SuiteFrom(VQA, "the folder with VQAv2's questions, annotations and images of one split"),
    "mmmu": _SuiteFrom(MMMU, "a parquet file of MMMU, or a folder of them"),
    "wikitext": _SuiteFrom(WikiText, "a WikiText file"),
}


# Suites that need no files: drawings of a package's usual style, or no images, if nothing is named.
_OWN: dict[str, Callable[..., Suite]] = {"things": Things, "differences": Differences}


def _pairs_of_tones(source: str) -> Task:
    return OccupationPairs(source, "tone")


# What is asked about images of people: emoji, if no PATH says which.
_FROM_PEOPLE: dict[str, Callable[[str], Task]] = {
    "occupation-pairs": OccupationPairs,
    "occupation-pairs-tone": _pairs_of_tones,
}
# Multiple-choice questions: the first built-in set of concepts, if no PATH says whom they are about.
_CHOICES: dict[str, Callable[[str], Task]] = {**choices_tasks()}


def task_names() -> tuple[str, ...]:
    """Every task with closed answers, as :func:`load_task` takes it."""
    return (
        *_BUILT_IN,
        *(f"{name}:PATH" for name in _FROM_FILES),
        *(f"{name}[:PATH]" for name in _FROM_PEOPLE),
        *(f"{name}[:SOURCE]" for name in _CHOICES),
    )


def load_task(spec: str) -> Task:
    """The task with closed answers that ``spec`` names, such as ``"pronouns"`` or ``"winobias:data/winobias"``.

    The PATH of a task about people in images is what :func:`equipoise.tasks.people.load_people` takes; without it they
    are emoji. The SOURCE of ``choices`` is that, or a built-in set of concepts; see :class:`equipoise.tasks.Choices`.

    Raises :class:`InputError` for an unknown name, a missing or needless PATH, or data that can't be read.
    """
    name, colon, path = spec.partition(":")
    if name in _BUILT_IN:
        if colon:
            raise InputError(f"task {name!r} is built in and takes no path: write --task {name}")
        return _BUILT_IN[name]()
    if name in _FROM_PEOPLE:
        return _FROM_PEOPLE[name](path or "emoji")
    if name in _CHOICES:
        return _CHOICES[name](path or "first")
    if name in _FROM_FILES:
        if not path:
            raise InputError(
                f"task {name!r} needs data: write --task {name}:PATH, PATH being {_FROM_FILES[name].wants}"
            )
        return _FROM_FILES[name].load(path)
    if name in _PROMPTS:
        raise InputError(
            f"task {name!r} is free text without closed answers: use one of {', '.join(task_names())}"
        )
    if name in _SUITES or name in _OWN:
        raise InputError(
            f"task {name!r} is a public suite, which is only measured (audit): use one of {', '.join(task_names())}"
        )
    raise InputError(f"unknown task {name!r}: use one of {', '.join((*task_names(), *suite_names()))}")


def suite_names() -> tuple[str, ...]:
    """Every public suite, as :func:`load_subject` takes it."""
    return (*(f"{name}:PATH" for name in _SUITES), *(f"{name}[:SOURCE]" for name in _OWN), "whole:TASK")


def load_subject(spec: str) -> Task | Suite:
    """What can be measured: the suite that ``spec`` names, else :func:`load_task`."""
    name, _, path = spec.partition(":")
    if name == "whole":
        return Whole(load_task(path))
    if name in _OWN:
        return _OWN[name](path) if path else _OWN[name]()
    if name not in _SUITES:
        return load_task(spec)
    if not path:
        raise InputError(
            f"task {name!r} needs data: write --task {name}:PATH, PATH being {_SUITES[name].wants}"
        )
    return _SUITES[name].load(path)


def load_prompt_task(spec: str) -> PromptTask:
    """The free-text task that ``spec`` names, such as ``"toxicity"``. Raises :class:`InputError` for any other."""
    if spec in _PROMPTS:
        return _PROMPTS[spec]()
    raise InputError(f"unknown free-text task {spec!r}: use one of {', '.join(_PROMPTS)}")


def load_any_task(spec: str) -> Task | PromptTask:
    """What a method can be fitted on: :func:`load_prompt_task` for a free-text task's name, else :func:`load_task`."""
    return load_prompt_task(spec) if spec in _PROMPTS else load_task(spec)
