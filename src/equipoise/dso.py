"""The face of the DSO repository: its names, over this package's rooms, so that its examples run here.

Change the import line and a script written for that repository keeps working::

    from equipoise.dso import HookInterventions, get_layernorms

    steered = HookInterventions(model, get_layernorms, intervention_path="interventions_llm.safetensors")
    steered.set_strength(0.8)
    steered.sparsify(0.1)

What differs: files are safetensors whatever their name ends in (a ``.pt`` file of that repository is read through the
explicit converter), closed answers are trained on exactly where that is possible, and leaving is possible
(:meth:`HookInterventions.remove`, or a ``with`` block). New code is better served by ``import equipoise as eq``.

Source: Monteiro Paes et al., arXiv 2512.15926, and the README of its repository.
"""

import os
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .errors import InputError
from .interventions import Attached, Intervention, attach, convert_dso_pt
from .methods import dso
from .models import LoadedModel, find_anatomy, load
from .tasks import Item, Task, load_task
from .tasks.rewards import BaseReward, Reward

__all__ = [
    "BaseDatasetLoader",
    "BaseReward",
    "CorefResolutionLoader",
    "GenderParityRewardForSynthBias",
    "HookInterventions",
    "TabularDataset",
    "TrainInterventions",
    "get_layernorms",
]

Norms = Mapping[str, nn.Module] | Iterable[nn.Module]


def get_layernorms(model: PreTrainedModel | LoadedModel) -> dict[str, nn.Module]:
    """The norms that DSO edits, by site name (``block.i.norm.j``), in the order in which they run.

    Every norm inside the text backbone's blocks; norms of queries and keys and the final norm are left alone.
    Raises :class:`InputError` if the model's blocks can't be found.
    """
    anatomy = model.anatomy if isinstance(model, LoadedModel) else find_anatomy(model)
    return {norm.site: norm.module for norm in anatomy.norms}


class HookInterventions:
    """A model with an intervention attached to its norms, from construction on, at strength 1.

    The model itself is steered, so ``model.generate`` and this object's ``generate`` give the same; any attribute that
    isn't the intervention's is the model's.

    Args:
        model: a Hugging Face model, or what :func:`equipoise.load` returned.
        get_layernorms: picks the norms to steer: gives modules, or a mapping to modules, of ``model``. Edits at other
            sites are left out.
        intervention_path: our file, or a ``.pt`` file of the DSO repository.
        intervention: instead of a path, the intervention itself.

    Raises :class:`InputError` if the intervention belongs to another model, or if a picked module is no such norm.
    """

    def __init__(
        self,
        model: PreTrainedModel | LoadedModel,
        get_layernorms: Callable[[Any], Norms] = get_layernorms,
        intervention_path: str | os.PathLike[str] | None = None,
        *,
        intervention: Intervention | None = None,
    ) -> None:
        if (intervention_path is None) == (intervention is None):
            raise InputError("HookInterventions needs either intervention_path or intervention")
        self.loaded = _bare(model)
        if intervention is None:
            assert intervention_path is not None
            intervention = _read(intervention_path, self.loaded)
        sites = _sites(get_layernorms(model), self.loaded)
        edits = {site: edit for site, edit in intervention.edits.items() if site in sites}
        if not edits:
            raise InputError("the intervention edits none of the norms that get_layernorms picked")
        self.intervention = Intervention(edits, intervention.scope, intervention.provenance)
        self._attached: Attached = attach(self.loaded, self.intervention, 1.0)

    def set_strength(self, strength: float) -> None:
        """Set λ: 0 is the base model, bit for bit; 1 is the intervention as trained. Acts on tokens computed later."""
        self._attached.strength = strength

    def sparsify(self, keep: float) -> None:
        """Keep only the strongest fraction ``keep`` of the entries, of the intervention as it was loaded."""
        strength = self._attached.strength
        sparse = self.intervention.sparsify(keep)
        self._attached.detach()
        self._attached = attach(self.loaded, sparse, strength)

    def remove(self) -> None:
        """Take the intervention off the model, which is then the base model, bit for bit."""
        self._attached.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The steered model's forward pass."""
        return self.loaded.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Asked only for what this class lacks; before __init__ is through there is no model to ask.
        if name == "loaded":
            raise AttributeError(name)
        return getattr(self.loaded.model, name)


class TrainInterventions:
    """Trains DSO's interventions on a loader's samples; nothing of the model is changed.

    With a loader that knows its closed answers (``task``) and the parity reward, the reward's expectation is computed
    exactly. Every other reward is learned from sampled completions of the samples' conversations.

    Args:
        model: a Hugging Face model, or what :func:`equipoise.load` returned.
        processor: its tokenizer, or its processor; not needed with the latter.
        reward_fn: a :class:`BaseReward` or another callable from completions and samples to [B] rewards.
        settings: of the training.
        progress: called after each step.

    Attributes:
        intervention: the result of :meth:`train`; None before.
    """

    def __init__(
        self,
        model: PreTrainedModel | LoadedModel,
        processor: Any = None,
        reward_fn: Reward | None = None,
        *,
        settings: dso.DsoSettings | None = None,
        progress: dso.Report | None = None,
    ) -> None:
        tokenizer = getattr(processor, "tokenizer", processor)
        self.loaded = load(
            model, tokenizer=tokenizer, processor=None if processor is tokenizer else processor
        )
        self.reward_fn: Reward = reward_fn or GenderParityRewardForSynthBias()
        self.progress = progress
        self.settings = settings
        self.intervention: Intervention | None = None

    def train(self, loader: "BaseDatasetLoader | None" = None) -> Intervention:
        """Train on the loader's training set; :class:`CorefResolutionLoader`'s built-in sentences by default."""
        loader = loader or CorefResolutionLoader()
        if loader.task is not None and isinstance(self.reward_fn, GenderParityRewardForSynthBias):
            self.intervention = dso.fit(
                self.loaded, loader.task, seed=loader.seed, settings=self.settings, progress=self.progress
            )
        else:
            raise InputError("a reward on sampled completions can't be trained on yet: use the parity reward")
        return self.intervention

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write what was trained, as safetensors whatever the name; refuses an existing file unless ``force``."""
        if self.intervention is None:
            raise InputError("there is nothing to save yet: call train() first")
        if Path(path).suffix == ".pt":
            warnings.warn(
                f"{path} will be a safetensors file: read it with HookInterventions or Intervention.load, "
                "not with torch.load",
                stacklevel=2,
            )
        return self.intervention.save(path, force=force)


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


class CorefResolutionLoader(BaseDatasetLoader):
    """Which of two occupations does the pronoun mean?

    Args:
        path: SynthBias' CSV file. Without it, the built-in task ``coreference`` is used.
        seed: decides which occupations and templates are held out.

    Each sample has, beside its conversation, ``options``, ``outcomes`` (``pro`` or ``anti`` for each option),
    ``groups`` (the occupations), ``part``, ``answer`` and ``id``, as in :class:`equipoise.tasks.Item`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, seed: int = 0) -> None:
        self.task: Task = load_task("coreference" if path is None else f"synthbias:{os.fspath(path)}")
        self.seed = seed

    def _build_datasets(self) -> tuple[TabularDataset, TabularDataset]:
        split = self.task.split(self.seed)
        return TabularDataset(map(_sample, split.train)), TabularDataset(map(_sample, split.heldout))


class GenderParityRewardForSynthBias(BaseReward):
    """The paper's reward for completions of :class:`CorefResolutionLoader`'s samples.

    On an ambiguous sample, -1 if the answer goes the way that the answers of this batch favour for its occupations,
    +1 if it goes against it, 0 where neither is favoured. On an unambiguous one, +1 for the right answer and -1 for
    a wrong one. A completion that begins with none of the options gets -1: silence must not pay.
    """

    def __call__(
        self, completions: Sequence[str], input_metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """Rewards [B] of the completions; the metadata are the samples. Raises InputError without metadata."""
        if input_metadata is None or len(input_metadata) != len(completions):
            raise InputError("the parity reward needs each completion's sample as metadata")
        chosen = [
            _answer(text, row["options"]) for text, row in zip(completions, input_metadata, strict=True)
        ]
        leaning: dict[str, int] = defaultdict(int)
        directions = []
        for option, row in zip(chosen, input_metadata, strict=True):
            way = 0 if option is None else 1 if row["outcomes"][option] == "pro" else -1
            directions.append(way)
            if row["answer"] is None:
                for group in row["groups"]:
                    leaning[group] += way
        rewards = []
        for option, way, row in zip(chosen, directions, input_metadata, strict=True):
            if option is None:
                reward = -1.0
            elif row["answer"] is not None:
                reward = 1.0 if option == row["answer"] else -1.0
            else:
                favoured = sum(leaning[group] for group in row["groups"])
                reward = 0.0 if favoured == 0 else -1.0 if way * favoured > 0 else 1.0
            rewards.append(reward)
        return torch.tensor(rewards)


def _bare(model: PreTrainedModel | LoadedModel) -> LoadedModel:
    """``model`` with its anatomy. Steering needs no tokenizer, and the repository's hooks take none."""
    if isinstance(model, LoadedModel):
        return model
    return LoadedModel(
        model, cast(PreTrainedTokenizerBase, None), name=model.name_or_path or type(model).__name__
    )


def _sites(picked: Norms, loaded: LoadedModel) -> tuple[str, ...]:
    """The sites of the modules that the user's ``get_layernorms`` picked."""
    final = loaded.anatomy.final_norm
    known = {norm.module: norm.site for norm in (*loaded.anatomy.norms, *([final] if final else []))}
    modules = list(picked.values() if isinstance(picked, Mapping) else picked)
    for module in modules:
        if module not in known:
            raise InputError(
                f"get_layernorms gave a {type(module).__name__} that is no norm of {loaded.name}'s text blocks:"
                " pick from those that equipoise.dso.get_layernorms gives"
            )
    return tuple(known[module] for module in modules)


def _read(path: str | os.PathLike[str], loaded: LoadedModel) -> Intervention:
    """Our file, or a file of the DSO repository: told apart by what is in it, since either may end in ``.pt``."""
    if Path(path).is_file():
        with open(path, "rb") as stream:
            start = stream.read(2)
        if start == b"PK" or start[:1] == b"\x80":
            # The paper's edit is y + λ (a ⊙ y + b), so a scale of 0 is the one without effect.
            return convert_dso_pt(path, loaded, scale="delta")
    return Intervention.load(path)


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
    }


def _answer(completion: str, options: Sequence[str]) -> int | None:
    """Index of the longest option that the completion begins with, whitespace and case aside."""
    text = completion.strip().casefold()
    matches = [index for index, option in enumerate(options) if text.startswith(option.strip().casefold())]
    return max(matches, key=lambda index: len(options[index]), default=None)
