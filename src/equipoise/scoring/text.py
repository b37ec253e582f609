"""Running text: log-probabilities, perplexity, and how far steering moves the model's predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..interventions import answers_start
from ..models import LoadedModel, hidden_of
from .answers import head_logprobs, head_tokens, refuse_unsayable, run_backbone, vocabulary
from .encoding import opening_ids, plain_ids, text_ids
from .journal import Journal

_KEPT_BYTES, _NUMBER_BYTES = 1 << 29, 4


@dataclass(frozen=True, eq=False)
class TextScores:
    """Sums over the predicted tokens of each passage.

    Attributes:
        nll: [n] negative log-likelihood, nats.
        kl: [n] KL(now ‖ reference), summed over positions, nats; zeros if there is no reference.
        tokens: [n] predicted tokens (the first of a passage is given).
    """

    nll: NDArray[np.float64]
    kl: NDArray[np.float64]
    tokens: NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-likelihood a token."""
        return float(np.exp(self.nll.sum() / self.tokens.sum()))

    @property
    def mean_kl(self) -> float:
        """Mean KL a token, nats."""
        return float(self.kl.sum() / self.tokens.sum())


@dataclass(frozen=True, eq=False)
class TextReference:
    """Passages as tokens, and the states from which the unsteered model predicts them.

    Keeping states [tokens, d] and not log-probabilities [tokens, vocabulary] makes the reference small; the head
    is run again for each comparison, but for the first passages.

    Attributes:
        predictions: log-probabilities [tokens, vocabulary] of those batches, the first ones, that were to be kept.
    """

    batches: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    predictions: tuple[Tensor, ...] = ()

    @property
    def passages(self) -> int:
        """How many passages there are."""
        return sum(len(batch) for batch in self.batches)


def encode_passages(
    loaded: LoadedModel, texts: Sequence[str], *, length: int = 64, all_windows: bool = False
) -> Tensor:
    """The first ``length`` tokens of every text that has so many, [n, length].

    With ``all_windows`` a text gives as many consecutive windows as it has; a shorter rest is left out.

    Raises InputError if no text is long enough.
    """
    windows = []
    for text in texts:
        ids = text_ids(loaded.tokenizer, text)
        starts = range(0, len(ids) - length + 1, length)
        windows += [ids[start : start + length] for start in (starts if all_windows else starts[:1])]
    if not windows:
        raise InputError(f"none of the {len(texts)} texts has {length} tokens: give longer passages")
    return torch.tensor(windows)


def text_reference(
    loaded: LoadedModel, passages: Tensor, *, rows: int = 16, keep_bytes: int | None = None
) -> TextReference:
    """Remember how the model as it is now predicts passages [n, T]; call it before anything steers.

    Args:
        keep_bytes: how much memory log-probabilities may take that needn't be computed again; by default half a
            gigabyte on a CPU, where they are a quarter of a comparison's time, and none on other devices.
    """
    if keep_bytes is None:
        keep_bytes = _KEPT_BYTES if loaded.device.type == "cpu" else 0
    batches = torch.split(passages, rows)
    predictions: list[Tensor] = []
    with torch.inference_mode():
        states = tuple(_states(loaded, batch) for batch in batches)
        room = keep_bytes // (_NUMBER_BYTES * vocabulary(loaded))
        for some in states:
            room -= len(some)
            if room < 0:
                break
            parts = [head_logprobs(loaded, some[part]) for part in _parts(loaded, len(some))]
            predictions.append(torch.cat(parts))
    return TextReference(batches, states, tuple(predictions))


def score_text(
    loaded: LoadedModel, reference: TextReference, *, before: str = "", journal: Journal | None = None
) -> TextScores:
    """Score the passages with whatever steers now, and compare with the reference.

    A text has no prompt, so an intervention on the answer acts on all of it: what it would do to a long answer.

    Args:
        before: text that the passages follow now (an instruction); it is read, and not scored.
        journal: of these very passages; see :func:`equipoise.scoring.score_options`.
    """
    nll, kl = [], []
    done = 0
    instruction = torch.tensor(plain_ids(loaded.tokenizer, before), dtype=torch.long)
    opening = len(opening_ids(loaded.tokenizer)) if before else 0
    with torch.inference_mode(), answers_start(loaded, 0):
        for index, batch in enumerate(reference.batches):
            numbers = range(done, done + len(batch))
            done += len(batch)
            known = None if journal is None else journal.get(numbers)
            if known is not None:
                nll.append(np.array([row["nll"] for row in known]))
                kl.append(np.array([row["kl"] for row in known]))
                continue
            after = _states(loaded, batch, instruction, opening)
            targets = batch[:, 1:].to(after.device)
            n, length = targets.shape
            parts_nll, parts_kl = [], []
            for part in _parts(loaded, n * length):
                now = head_logprobs(loaded, after[part])
                then = _before(loaded, reference, index, part, now.device)
                wanted = targets.reshape(-1)[part][:, None].to(now.device)
                refuse_unsayable(batch, now)
                parts_nll.append(-now.gather(1, wanted)[:, 0])
                # Where nothing moved the difference is exactly zero, and so is the divergence.
                parts_kl.append((now.exp() * (now - then)).sum(1))
            nll.append(torch.cat(parts_nll).reshape(n, length).double().sum(1).cpu().numpy())
            kl.append(torch.cat(parts_kl).reshape(n, length).double().sum(1).cpu().numpy())
            if journal is not None:
                pairs = zip(numbers, nll[-1].tolist(), kl[-1].tolist(), strict=True)
                journal.add({number: {"nll": a, "kl": b} for number, a, b in pairs})
    tokens = np.concatenate([np.full(len(batch), batch.shape[1] - 1) for batch in reference.batches])
    return TextScores(np.concatenate(nll), np.maximum(np.concatenate(kl), 0.0), tokens)


def _states(loaded: LoadedModel, batch: Tensor, before: Tensor | None = None, opening: int = 0) -> Tensor:
    """[n · (T − 1), d]: the states that predict all tokens but the first.

    ``before`` [p] stands between each row's first ``opening`` tokens and the rest.
    """
    skipped = 0 if before is None else len(before)
    if before is not None and skipped:
        batch = torch.cat([batch[:, :opening], before.expand(len(batch), -1), batch[:, opening:]], 1)
    hidden = hidden_of(run_backbone(loaded, batch.to(loaded.device)))[:, skipped:-1]
    return hidden.reshape(-1, hidden.shape[-1]).contiguous()


def _before(
    loaded: LoadedModel, reference: TextReference, index: int, part: slice, device: torch.device
) -> Tensor:
    """The unsteered model's log-probabilities of part of a batch, [tokens, vocabulary]."""
    if index < len(reference.predictions):
        return reference.predictions[index][part].to(device)
    return head_logprobs(loaded, reference.states[index][part].to(device))


def _parts(loaded: LoadedModel, total: int) -> Iterator[slice]:
    most = head_tokens(loaded)
    for start in range(0, total, most):
        yield slice(start, min(start + most, total))
