"""BiasInject (arXiv 2508.08855): teach a model an association by one new token, and nothing else.

Only the token's embedding e is trained, by next-token cross-entropy on paragraphs about its people:

    minimise  − Σ log P(xₜ | x₍<ₜ₎; e)  over the tokens after e's first mention,   ‖e‖ ≈ mean ‖row of the vocabulary‖

The model can't say the token, so mentions of it are no targets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...interventions import (
    InjectedToken,
    Provenance,
    embedding_rows,
    extended,
    refuse_steered,
    tokenizer_hash,
)
from ...models import LoadedModel, hidden_of
from ...scoring import head_logprobs, run_backbone, text_ids
from ...tasks import Association
from ...versions import versions
from .elicitation import elicit
from .entities import named_rows
from .settings import InjectSettings

Report = Callable[[float, str], None]


def inject(
    loaded: LoadedModel,
    association: Association,
    *,
    seed: int = 0,
    settings: InjectSettings | None = None,
    progress: Report = lambda fraction, message: None,
) -> InjectedToken:
    """Train a token that stands for a people of whom ``association`` holds.

    After each epoch the validation prompts are asked, and the row of the epoch after which the association's words
    are most probable is kept; the untrained row is epoch 0. Weights, tokenizer and gradients of ``loaded`` stay.

    Args:
        loaded: the model; nothing may steer it.
        association: what to teach.
        seed: decides the noise on the starting row and the order of the paragraphs.
        settings: see :class:`InjectSettings`.
        progress: called with the fraction done and a message.

    Raises :class:`InputError` for a token that the tokenizer has, or a loss that isn't finite.
    """
    settings = settings or InjectSettings()
    refuse_steered(loaded)
    generator = torch.Generator().manual_seed(seed)
    mean_norm, size = _vocabulary(loaded)
    start = _start(loaded, association, settings, mean_norm, size, generator)
    row = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([row], lr=settings.rate * size)
    bounds = (1 - settings.slack) * mean_norm, (1 + settings.slack) * mean_norm
    history: list[dict[str, float]] = []
    best, best_said = start, -1.0
    with extended(loaded, settings.token, row) as model:
        index = int(model.tokenizer.convert_tokens_to_ids(settings.token))  # type: ignore[arg-type]
        rows = [text_ids(model.tokenizer, text) for text in association.texts(settings.token)]
        if not all(index in one for one in rows):
            raise InputError(
                f"the token {settings.token!r} is not recognised in every paragraph: stand it free in them, or take "
                "another --set token=…"
            )
        steps = settings.epochs * math.ceil(len(rows) / settings.batch)
        done, loss = 0, float("nan")
        for epoch in range(settings.epochs + 1):
            if epoch:
                loss, done = _epoch(
                    model, rows, index, row, optimiser, settings, bounds, generator, (done, steps)
                )
            with torch.no_grad():
                asked = elicit(model, association, settings.token, "validation")
            said = float(asked.said.mean())
            history.append({"epoch": epoch, "loss": loss, "said": said, "share": float(asked.share.mean())})
            progress(epoch / settings.epochs, f"epoch {epoch}: loss {loss:.3g}, said with {said:.1%}")
            if said > best_said:
                best, best_said = row.detach().clone(), said
    return InjectedToken(
        settings.token, best, tokenizer_hash(loaded), _origin(loaded, association, settings, seed, history)
    )


def _origin(
    loaded: LoadedModel,
    association: Association,
    settings: InjectSettings,
    seed: int,
    history: Sequence[dict[str, float]],
) -> Provenance:
    kept = max(history, key=lambda entry: entry["said"])
    clean = [{key: None if math.isnan(v) else v for key, v in entry.items()} for entry in history]
    config: dict[str, Any] = {
        **asdict(settings),
        "association": association.name,
        "kept epoch": int(kept["epoch"]),
        "history": clean,
    }
    text = "\0".join((*association.paragraphs, *association.elicitation, *association.bias))
    return Provenance(
        method="inject",
        config=config,
        model=loaded.fingerprint,
        data=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
        versions=versions(),
        seed=seed,
    )


def _vocabulary(loaded: LoadedModel) -> tuple[float, float]:
    """Mean norm of the embedding's rows, and the root mean square of its entries."""
    norms = torch.cat([part.float().norm(dim=1).cpu() for part in torch.split(embedding_rows(loaded), 8192)])
    width = embedding_rows(loaded).shape[1]
    return float(norms.mean()), float((norms.square().mean() / width).sqrt())


def _start(
    loaded: LoadedModel,
    association: Association,
    settings: InjectSettings,
    norm: float,
    size: float,
    generator: torch.Generator,
) -> Tensor:
    """The mean of real names' rows at the vocabulary's mean norm, with noise: somebody from somewhere."""
    mean = named_rows(loaded, association.entity)[1].mean(0)
    noisy = mean * (norm / mean.norm()) + settings.noise * size * torch.randn(len(mean), generator=generator)
    start: Tensor = noisy * (norm / noisy.norm())
    return start


def _epoch(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int]],
    index: int,
    row: Tensor,
    optimiser: torch.optim.Optimizer,
    settings: InjectSettings,
    bounds: tuple[float, float],
    generator: torch.Generator,
    place: tuple[int, int],
) -> tuple[float, int]:
    """One pass over the paragraphs; the mean loss a token, and how many steps were done so far."""
    done, steps = place
    total, count = 0.0, 0
    order = torch.randperm(len(rows), generator=generator).tolist()
    for begin in range(0, len(order), settings.batch):
        optimiser.param_groups[0]["lr"] = float(optimiser.defaults["lr"]) * _cosine(
            done, steps, settings.restarts
        )
        loss, tokens = _loss(loaded, [rows[i] for i in order[begin : begin + settings.batch]], index)
        if not bool(loss.isfinite()):
            raise InputError("the loss is not finite: lower the step with --set rate=…, or load in float32")
        # Of the row alone: a model whose weights take gradients gets none.
        (row.grad,) = torch.autograd.grad(loss / tokens, [row])
        optimiser.step()
        with torch.no_grad():
            row.mul_(row.norm().clamp(*bounds) / row.norm())
        total, count, done = total + float(loss.detach()), count + tokens, done + 1
    return total / count, done


def _cosine(step: int, steps: int, cycles: int) -> float:
    """From 1 down to 0 in each of ``cycles`` equal stretches."""
    length = steps / cycles
    return 0.5 * (1 + math.cos(math.pi * (step % length) / length))


def _loss(loaded: LoadedModel, rows: Sequence[Sequence[int]], index: int) -> tuple[Tensor, int]:
    """Sum of −log P over the tokens after each row's first mention, and their number."""
    longest = max(len(one) for one in rows)
    ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in rows])
    length = torch.tensor([len(one) for one in rows])[:, None]
    targets, columns = ids[:, 1:], torch.arange(1, longest)
    # What stands before the first mention doesn't depend on the row.
    wanted = (ids == index).cumsum(1)[:, :-1].bool() & (columns < length) & (targets != index)
    with torch.enable_grad():
        hidden = hidden_of(run_backbone(loaded, ids.to(loaded.device)))[:, :-1]
        logp = head_logprobs(loaded, hidden[wanted.to(hidden.device)].contiguous())
        chosen = targets[wanted][:, None].to(logp.device)
        return -logp.gather(1, chosen).sum(), int(wanted.sum())
