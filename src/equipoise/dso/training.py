"""Training: the repository's ``TrainInterventions``."""

import os
import warnings
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..errors import InputError
from ..interventions import Intervention
from ..methods import dso
from ..models import LoadedModel, load
from ..tasks.rewards import Reward
from .data import BaseDatasetLoader, CorefResolutionLoader
from .parity import GenderParityRewardForSynthBias, GenderParityRewardForVisionTasks


class TrainInterventions:
    """Trains DSO's interventions on a loader's samples; nothing of the model is changed.

    With a loader that knows its closed answers (``task``) and the parity reward, the reward's expectation is computed
    exactly. Every other reward is learned from sampled completions of the samples' conversations.

    Args:
        model: a Hugging Face model, or what :func:`equipoise.load` returned.
        processor: its tokenizer, or its processor; not needed with the latter.
        reward_fn: a :class:`BaseReward` or another callable from completions and samples to [B] rewards.
        settings: ``DsoSettings`` for exact training, ``SampledSettings`` for sampled; defaults otherwise.
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
        settings: dso.DsoSettings | dso.SampledSettings | None = None,
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

    def train(self, loader: BaseDatasetLoader | None = None) -> Intervention:
        """Train on the loader's training set; :class:`CorefResolutionLoader`'s built-in sentences by default."""
        loader = loader or CorefResolutionLoader()
        # A subclass may reward something else, whose expectation isn't known.
        parity = type(self.reward_fn) in (GenderParityRewardForSynthBias, GenderParityRewardForVisionTasks)
        exact = loader.task is not None and parity
        if not exact and "images" in loader.train.columns:
            raise InputError(
                "samples with images are trained on exactly, with a parity reward and a loader with "
                "a task: other rewards are learned from sampled text"
            )
        wanted = dso.DsoSettings if exact else dso.SampledSettings
        settings = self.settings or wanted()
        if not isinstance(settings, wanted):
            raise InputError(
                f"this training needs {wanted.__name__}, not {type(settings).__name__}: the parity reward on a loader"
                " with a task is trained on exactly, everything else on samples"
            )
        if isinstance(settings, dso.SampledSettings):
            self.intervention = dso.fit_sampled(
                self.loaded,
                loader.train,
                self.reward_fn,
                seed=loader.seed,
                settings=settings,
                progress=self.progress,
            )
        else:
            assert loader.task is not None
            self.intervention = dso.fit(
                self.loaded, loader.task, seed=loader.seed, settings=settings, progress=self.progress
            )
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
