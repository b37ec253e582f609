"""Training an adapter on answers: what ``lora``, ``dpo`` and ``lora_dpo`` share, which differ in the loss alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..errors import InputError
from ..interventions import Provenance
from ..models import LoadedModel
from ..scoring import AnswerBatch, answer_batches, batch_logprobs, encode_all
from ..tasks import Item, Task
from ..versions import versions
from .adapter import Adapter, Part, attention_layers, injected
from .dso.contrasts import outcome_logits
from .ground import Ground, ground
from .progress import Progress, Report
from .settings import parse_settings, require, require_word

REFERENCES = ("none", "base")


@dataclass(frozen=True)
class AdapterSettings:
    """What is set in all three methods; the defaults are RES-FAIR's (arXiv 2505.23798, appendix C), but for the rank.

    Attributes:
        epochs: how often every training item is seen.
        steps: how many steps at most; 0 for all that the epochs need.
        batch: items of a step.
        learning_rate: of AdamW.
        rank, alpha: of the adapter; the paper gives none.
        kl: weight of KL to equal shares of the two values; 0 but for ``lora_dpo``.
        items: at most so many training items; 0 for all.
    """

    method: ClassVar[str]

    epochs: int = 10
    steps: int = 0
    batch: int = 32
    learning_rate: float = 5e-5
    rank: int = 8
    alpha: float = 16.0
    kl: float = 0.0
    items: int = 0

    def __post_init__(self) -> None:
        least = {"epochs": 1, "steps": 0, "batch": 1, "rank": 1, "kl": 0.0, "items": 0}
        require(self.method, self, least)
        require(self.method, self, dict.fromkeys(("learning_rate", "alpha"), math.ulp(0.0)))

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, cls.method, given)


@dataclass(frozen=True)
class PreferenceSettings(AdapterSettings):
    """What is set beside :class:`AdapterSettings` where one answer is preferred to another.

    Attributes:
        beta: β of the DPO loss.
        reference: what answers are preferred relative to: ``none``, as the paper prints its loss; or ``base``, DPO as
            it was proposed (arXiv 2305.18290).
    """

    beta: float = 0.1
    reference: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.method, self, {"beta": math.ulp(0.0)})
        require_word(self.method, self, "reference", REFERENCES)


Loss = Callable[[Tensor, Tensor], Tensor]
"""From the log-probabilities [B] of a preferred and of a rejected answer to a loss [B]."""


def likelihood(preferred: Tensor, rejected: Tensor) -> Tensor:
    """Cross-entropy of the preferred answer."""
    return -preferred


def preference(beta: float) -> Loss:
    """−log σ(β (log p(preferred) − log p(rejected))) (eq. 13)."""
    return lambda preferred, rejected: -logsigmoid(beta * (preferred - rejected))


def fit_adapter(
    loss: Loss,
    loaded: LoadedModel,
    task: Task,
    settings: AdapterSettings,
    *,
    seed: int,
    text: Sequence[str] | None,
    progress: Report | None,
    relative: bool = False,
) -> Adapter:
    """Train an adapter of the attention's linear layers; see the methods' ``fit``.

    ``loss`` gets the answers' log-probabilities; ``relative``: less those that the base model gives them.
    """
    method = settings.method
    uneven = task.target is not None and min(task.target) > 0 and len(set(task.target)) > 1
    if uneven or any(item.target is not None for item in task.items()):
        raise InputError(
            f"task {task.name!r} wants other shares than equal ones, and {method} makes them equal: take dso"
        )
    names = attention_layers(loaded)
    with ground(method, loaded, task, seed=seed, text=text, progress=progress) as found:
        validation = found.final()
        base = validation(None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with injected(loaded, names, settings.rank, settings.alpha) as parts:
                count = _train(loss, found, task, settings, parts, relative)
                layers = {
                    name: (part.a.detach().float().cpu().clone(), part.b.detach().float().cpu().clone())
                    for name, part in parts.items()
                }
        adapter = Adapter(layers, settings.alpha)
        figures = validation.within(adapter.attach(loaded, 1.0))
        origin = Provenance(
            method=method,
            config={
                "settings": asdict(settings),
                "task": task.name,
                "steps": count,
                "validation": {"base": asdict(base), "fitted": asdict(figures)},
                "better_than_base": figures.bias < base.bias,
            },
            model=loaded.fingerprint,
            data=found.data,
            versions=versions(),
            seed=seed,
        )
        return replace(adapter, provenance=origin)


def fit_preferring(
    loaded: LoadedModel,
    task: Task,
    settings: PreferenceSettings,
    *,
    seed: int,
    text: Sequence[str] | None,
    progress: Report | None,
) -> Adapter:
    """:func:`fit_adapter` by the loss of DPO, relative to what the settings say."""
    return fit_adapter(
        preference(settings.beta),
        loaded,
        task,
        settings,
        seed=seed,
        text=text,
        progress=progress,
        relative=settings.reference == "base",
    )


def _train(
    loss: Loss,
    found: Ground,
    task: Task,
    settings: AdapterSettings,
    parts: Mapping[str, Part],
    relative: bool,
) -> int:
    """Steps of AdamW, with whatever answers the seed draws; gives their number."""
    order = list(range(len(found.train)))
    random.Random(found.seed).shuffle(order)
    order = order[: settings.items or None]
    each = math.ceil(len(order) / settings.batch)
    steps = min(settings.steps or settings.epochs * each, settings.epochs * each)
    encoded = encode_all(found.loaded, found.asked)
    weights = [weight for part in parts.values() for weight in (part.a, part.b)]
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, eps=1e-8)
    scale = settings.alpha / settings.rank
    for step in range(steps):
        epoch, place = divmod(step, each)
        draw = random.Random(f"{found.seed}/{epoch}")
        shuffled = draw.sample(order, len(order))
        rows = shuffled[place * settings.batch : (place + 1) * settings.batch]
        picked = {row: _draw(found.train[row], draw_of(found.seed, step, row)) for row in rows}
        optimiser.zero_grad()
        total = 0.0
        for batch in answer_batches([encoded[row] for row in rows]):
            alike = [rows[place] for place in batch.index.tolist()]
            answers = torch.tensor([picked[row] for row in alike])
            before = _unadapted(found.loaded, batch, parts, scale) if relative else None
            logp, _ = batch_logprobs(found.loaded, batch)
            gap = logp if before is None else logp - before
            answers = answers.to(logp.device)
            value = loss(*(gap.gather(1, answers[:, side, None])[:, 0] for side in (0, 1))).sum()
            if settings.kl:
                items = [found.asked[row] for row in alike]
                value = value + settings.kl * _skew(items, task, logp).sum()
            (value / len(rows)).backward()  # type: ignore[no-untyped-call]
            total += float(value.detach()) / len(rows)
        optimiser.step()
        found.report(Progress(step + 1, steps + 1, f"loss {total:.4g}"))
    return steps


def draw_of(seed: int, step: int, row: int) -> random.Random:
    """What decides which answers of an item are compared in a step."""
    return random.Random(f"{seed}/{step}/{row}")


def _draw(item: Item, draw: random.Random) -> tuple[int, int]:
    """A fair option (anti), and one of those that aren't (pro), at random."""
    sides = [[k for k, o in enumerate(item.outcomes) if o == name] for name in ("anti", "pro")]
    return draw.choice(sides[0]), draw.choice(sides[1])


def _unadapted(loaded: LoadedModel, batch: AnswerBatch, parts: Mapping[str, Part], scale: float) -> Tensor:
    for part in parts.values():
        part.scale(0.0)
    try:
        with torch.no_grad():
            return batch_logprobs(loaded, batch)[0]
    finally:
        for part in parts.values():
            part.scale(scale)


def _skew(items: Sequence[Item], task: Task, logp: Tensor) -> Tensor:
    """[B] KL to equal shares, of the outcomes that are no right answer, or where all may be of all (eq. 14)."""
    outcomes = list(task.outcomes)
    if task.target is not None and min(task.target) <= 0:
        outcomes = [name for name, share in zip(outcomes, task.target, strict=True) if share <= 0]
    logits = outcome_logits(items, outcomes, logp, torch.arange(len(items)))
    shares = logits.log_softmax(1)
    return (shares.exp() * (shares + math.log(len(outcomes)))).sum(1)
