"""Data: the repository's datasets and loaders."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..tasks import Item, OccupationPairs, Task, load_task


class TabularDataset(Sequence[Mapping[str, Any]]):
    """Samples, each a mapping with a ``conversation`` (chat messages, ``role`` and ``content``) and any metadata.

    A sample's metadata is what its reward gets to see. Raises :class:`InputError` for a sample without conversation.
    """

    def __init__(self, samples: Iterable[Mapping[str, Any]]) -> None:
        self._samples = tuple(samples)
        for number, sample in enumerate(self._samples):
            turns = sample.get("conversation")
            if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
                raise InputError(
                    f"sample {number} needs a 'conversation': a list of role and content dictionaries"
                )
            for turn in turns:
                if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
                    raise InputError(f"sample {number}: a turn of its conversation lacks 'role' or 'content'")

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        return self._samples[index]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all fields, in order of appearance."""
        return tuple(dict.fromkeys(name for sample in self._samples for name in sample))


class BaseDatasetLoader(ABC):
    """Subclass with :meth:`_build_datasets`; it is called once, on first use of :attr:`train` or :attr:`eval`.

    Attributes:
        task: where the samples come from, if that is a task with closed answers.
        seed: decides what is held out, and the training's random draws.
    """

    task: Task | None = None
    seed: int = 0

    @abstractmethod
    def _build_datasets(self) -> tuple[TabularDataset, TabularDataset]:
        """The training set and the evaluation set."""

    @cached_property
    def _datasets(self) -> tuple[TabularDataset, TabularDataset]:
        return self._build_datasets()

    @property
    def train(self) -> TabularDataset:
        """The training set."""
        return self._datasets[0]

    @property
    def eval(self) -> TabularDataset:
        """The evaluation set."""
        return self._datasets[1]


class _TaskLoader(BaseDatasetLoader):
    """Trains on a task's training set, and evaluates on what it holds out."""

    task: Task
    seed: int

    def _build_datasets(self) -> tuple[TabularDataset, TabularDataset]:
        split = self.task.split(self.seed)
        return TabularDataset(map(_sample, split.train)), TabularDataset(map(_sample, split.heldout))


class CorefResolutionLoader(_TaskLoader):
    """Which of two occupations does the pronoun mean?

    Args:
        path: SynthBias' CSV file. Without it, the built-in task ``coreference`` is used.
        seed: decides which occupations and templates are held out.

    Each sample has, beside its conversation, ``options``, ``outcomes`` (``pro`` or ``anti`` for each option),
    ``groups`` (the occupations), ``part``, ``answer`` and ``id``, as in :class:`equipoise.tasks.Item`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, seed: int = 0) -> None:
        self.task = load_task("coreference" if path is None else f"synthbias:{os.fspath(path)}")
        self.seed = seed


class Act4MeLoader(_TaskLoader):
    """Two people in two images: who is the one with this occupation?

    The repository's loader reads SocialCounterfactuals; this one takes any source of images of people.

    Args:
        source: ``socialcounterfactuals:PATH``, ``pairs:PATH``, ``emoji``, or a folder of labelled images; see
            :func:`equipoise.tasks.load_people`.
        attribute: in what the two differ: ``gender``, or ``tone``.
        seed: decides which occupations and wordings are held out.

    Samples are those of :class:`CorefResolutionLoader`, with outcomes such as ``woman`` and ``man``, and
    ``images``, one for each ``<image>`` in the conversation.
    """

    def __init__(self, source: str = "emoji", attribute: str = "gender", *, seed: int = 0) -> None:
        self.task = OccupationPairs(source, attribute)
        self.seed = seed


def _sample(item: Item) -> dict[str, Any]:
    turns = [{"role": "user", "content": item.prompt}] if isinstance(item.prompt, str) else list(item.prompt)
    return {
        "conversation": turns,
        "options": item.options,
        "outcomes": item.outcomes,
        "groups": item.groups,
        "part": item.part,
        "answer": item.answer,
        "id": item.id,
        **({"images": item.images} if item.images else {}),
    }
