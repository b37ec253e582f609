"""The training: projector, norms and low-rank changes of the text model, seeded and resumable.

Every step draws its scenes from the seed and its own number, so that an interrupted training goes on to the same
result. The text model's matrices and the encoder stay as they are.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, distributed, nn

from ...errors import InputError
from ...files import write_atomic
from ...models.quiet import quiet
from ...models.small_vlm import SIZE, norms, parts, projections, refuse_missing
from ...tasks.emoji import STYLES, missing, the_styles
from ..progress import Report, part, silent
from .alignment import align, words_of
from .bank import make_bank
from .packing import Batch, pack
from .questions import Scenes
from .settings import TrainSettings

TOKENS = (SIZE // 14) ** 2
# Of the learning rate: words are short, and norms' weights small, beside the changes to matrices.
_SHARES = {"projector": 0.25, "norm": 0.12, "lora": 1.0}


def train(
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    every: int = 25,
    force: bool = False,
    report: Report = silent,
    log: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train, and write the weights to ``out`` (safetensors, bfloat16, about 7 MB).

    Every ``every`` steps the state goes to ``OUT.state``, from which the same call goes on; it and the features beside
    it are removed at the end. Where ``torch.distributed`` is initialised, as by torchrun, each process takes its share
    of a step's scenes; start alone first, so that features and first lesson are there.

    Raises :class:`InputError`, before anything long is done, with the commands that install what is missing.
    """
    target = Path(out)
    if target.exists() and not force:
        raise InputError(f"{target} exists already: choose another file, or add --force")
    refuse_missing()
    commands = missing(the_styles(",".join(settings.styles)))
    if commands:
        raise InputError(
            f"the training draws on emoji packages that are not installed: {' && '.join(commands)}"
        )
    with quiet():
        vision, text, processor = parts()
    state, kept = (target.with_name(f"{target.name}.{part}") for part in ("state", "features"))
    bank = make_bank(vision, processor, settings, kept, part(report, 0.0, 0.1))
    learner = Learner(text.model, bank.features, settings)
    scenes = Scenes(bank.drawn)
    tokenizer: Any = processor.tokenizer
    if state.is_file():
        first = learner.resume(state)
    else:
        first = 0
        cosine = learner.align(words_of(tokenizer, bank.drawn, TOKENS))
        if log is not None:
            log({"aligned": cosine})
        learner.keep(state, 0)
    rank, world = 0, 1
    if distributed.is_initialized():
        rank, world = distributed.get_rank(), distributed.get_world_size()
    for step in range(first, settings.steps):
        chance = random.Random(f"{settings.seed}/{step}")
        whole = [scenes.scene(chance) for _ in range(settings.scenes)]
        losses = learner.step(step, pack(tokenizer, whole[rank::world], TOKENS))
        if rank:
            continue
        if log is not None:
            log({"step": step, **losses})
        report(0.1 + 0.9 * (step + 1) / settings.steps, f"training, step {step + 1} of {settings.steps}")
        if (step + 1) % every == 0 and step + 1 < settings.steps:
            learner.keep(state, step + 1)
    if rank:
        return target
    recipe = {"recipe": json.dumps(asdict(settings)), "processes": str(world)}
    write_atomic(target, save(learner.result(), metadata=recipe), force=True)
    for path in (state, kept):
        path.unlink(missing_ok=True)
    return target


class Learner:
    """What is trained, around the text model as it is."""

    def __init__(
        self, text: Any, features: Tensor, settings: TrainSettings, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        torch.manual_seed(settings.seed)
        self._settings, self._features = settings, features
        text = text.requires_grad_(False).to(dtype)
        text.config._attn_implementation = "eager"  # the quickest in bfloat16, and it takes any mask
        self._text = text
        flat = features[:, 0].float().flatten(0, -2)
        width, hidden = flat.shape[-1], text.config.hidden_size
        self._fixed = {"features.mean": flat.mean(0), "features.scale": flat.std(0) + 1e-6}
        into, out = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        projector = nn.Sequential(into, nn.GELU(), out)
        with torch.no_grad():  # images begin as large as words
            words = text.embed_tokens.weight.float().std()
            out.weight.normal_(0, float(words) / math.sqrt(hidden) * 2)
            out.bias.zero_()
        self._projector = projector
        self._own: dict[str, nn.Parameter] = {f"projector.{k}": v for k, v in projector.named_parameters()}
        for name, module in norms(text):
            self._own[f"norm.{name}"] = module.weight = nn.Parameter(module.weight.float())
            module.forward = _norm(module)
        for name, module in projections(text):
            a = nn.Parameter(torch.randn(settings.rank, module.in_features) / math.sqrt(module.in_features))
            b = nn.Parameter(torch.zeros(module.out_features, settings.rank))
            self._own[f"lora.{name}.a"], self._own[f"lora.{name}.b"] = a, b
            module.forward = _low_rank(module, a, b)
        groups: dict[str, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self._own.items():
            groups[name.split(".")[0]].append(parameter)
        self._optimizer = torch.optim.AdamW(
            [{"params": found, "share": _SHARES[kind]} for kind, found in groups.items()],
            lr=settings.rate,
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )

    def align(self, words: Tensor) -> float:
        """The projector's first lesson; the mean cosine in the end."""
        return align(
            self._projector,
            self._features,
            self._fixed["features.mean"],
            self._fixed["features.scale"],
            words,
            self._text.embed_tokens.weight,
            steps=self._settings.aligning,
            noise=self._settings.noise,
            seed=self._settings.seed,
        )

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """One step; mean losses by kind of question, in nats above the least that can be."""
        made = torch.Generator().manual_seed(self._settings.seed * 1_000_003 + step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate * group["share"] * self._schedule(step)
        log_probabilities = self.log_probabilities(batch, made)
        terms = -batch.weights * log_probabilities
        questions = _over_processes(batch.weights.sum())
        loss = terms.sum() / questions
        loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        nn.utils.clip_grad_norm_(list(self._own.values()), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        least = torch.where(
            (batch.weights > 0) & (batch.weights < 1), -batch.weights.log() * batch.weights, 0.0
        )
        found: dict[str, float] = {"loss": float(loss.detach())}
        for kind in sorted(set(batch.kinds)):
            own = torch.tensor([one == kind for one in batch.kinds])
            floor = least[own].sum() if kind == "planted" else 0.0
            found[kind] = float((terms[own].detach().sum() - floor) / batch.weights[own].sum())
        return found

    def _share_gradients(self) -> None:
        if not distributed.is_initialized():
            return
        gradients = [value.grad for value in self._own.values() if value.grad is not None]
        flat = _over_processes(torch.cat([one.flatten() for one in gradients]))
        for one, summed in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            one.copy_(summed.view_as(one))

    def log_probabilities(self, batch: Batch, made: torch.Generator) -> Tensor:
        """Log-probability of every target of the batch [N], in float32, with variants and noise drawn by ``made``."""
        rows = torch.tensor(batch.drawn)
        variant = torch.randint(self._features.shape[1], (len(rows),), generator=made)
        seen = (self._features[rows, variant].float() - self._fixed["features.mean"]) / self._fixed[
            "features.scale"
        ]
        seen = seen + self._settings.noise * torch.randn(seen.shape, generator=made)
        text = self._text
        inputs = text.embed_tokens(batch.ids.masked_fill(batch.images, 0)).clone()
        inputs[batch.images] = self._projector(seen).flatten(0, 1).to(inputs.dtype)
        mask = torch.zeros(batch.mask.shape, dtype=inputs.dtype).masked_fill(~batch.mask, -1e9)
        states = text(
            inputs_embeds=inputs, attention_mask=mask, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        # A token that may go on in two ways stands here twice, so its logits are computed once.
        places, which = torch.unique(batch.at, dim=0, return_inverse=True)
        states = states[places[:, 0], places[:, 1]]
        logits = nn.functional.linear(
            states.to(text.embed_tokens.weight.dtype), text.embed_tokens.weight
        ).float()
        return logits.log_softmax(-1)[which, batch.targets]

    def _schedule(self, step: int) -> float:
        settings = self._settings
        if step < settings.warmup:
            return (step + 1) / settings.warmup
        left = (settings.steps - step) / (settings.steps - settings.falls)
        return min(1.0, left)

    def keep(self, path: Path, step: int) -> None:
        """Write all that the next step depends on."""
        tensors = dict(self._own.items())
        for name, parameter in self._own.items():
            for key in ("exp_avg", "exp_avg_sq"):
                tensors[f"{key}.{name}"] = self._optimizer.state[parameter].get(
                    key, torch.zeros_like(parameter)
                )
        data = {name: value.detach().contiguous() for name, value in tensors.items()}
        about = {"step": str(step), "recipe": json.dumps(asdict(self._settings))}
        write_atomic(path, save(data, metadata=about), force=True)

    def resume(self, path: Path) -> int:
        """Go on from a kept state: the number of the next step. Raises InputError for another training's."""
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            step = int(about["step"])
            if not self._settings.goes_on(about.get("recipe", ""), step):
                raise InputError(
                    f"{path} is of a training with other settings: remove it, or choose another file"
                )
            with torch.no_grad():
                for name, parameter in self._own.items():
                    parameter.copy_(file.get_tensor(name))
                    self._optimizer.state[parameter] = {
                        "step": torch.tensor(float(step)),
                        "exp_avg": file.get_tensor(f"exp_avg.{name}"),
                        "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}"),
                    }
        return step

    def result(self) -> dict[str, Tensor]:
        """The weights as they are shipped: norms and the features' scale in float32, the rest in bfloat16."""
        found = {name: value.detach() for name, value in self._own.items()}
        small = {name: value for name, value in found.items() if name.startswith("norm.")}
        large = {name: value.to(torch.bfloat16) for name, value in found.items() if name not in small}
        return {name: value.contiguous() for name, value in (large | small | self._fixed).items()}


def _over_processes(value: Tensor) -> Tensor:
    """The sum over the processes of a distributed training; the value itself where there is one."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
    return value


def _norm(module: Any) -> Callable[[Tensor], Tensor]:
    """An RMS norm whose weight is float32 while what it norms is not."""

    def forward(states: Tensor) -> Tensor:
        wide = states.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        found: Tensor = module.weight * wide
        return found.to(states.dtype)

    return forward


def _low_rank(module: Any, a: nn.Parameter, b: nn.Parameter) -> Callable[[Tensor], Tensor]:
    def forward(inputs: Tensor) -> Tensor:
        change = nn.functional.linear(nn.functional.linear(inputs, a.to(inputs.dtype)), b.to(inputs.dtype))
        return nn.functional.linear(inputs, module.weight) + change

    return forward


def other_styles(left_out: str) -> tuple[str, ...]:
    """All styles but those of the family of one. Raises :class:`InputError` for an unknown style."""
    (style,) = the_styles(left_out)
    return tuple(name for name, one in STYLES.items() if one.family != style.family)
