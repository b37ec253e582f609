"""The parameters of DSO, one scale and one shift a norm output, as one flat vector; and their gradients by row."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from ...interventions import AffineEdit, LiveEdit, attach_live
from ...models import LoadedModel, hidden_of
from ...scoring import EncodedItem, answer_batches, batch_logprobs, head_logprobs, head_tokens, run_backbone

Heads = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""From log-probabilities [B, K] and the items' indices [B] to scalars a row, a list of [B]."""


class NormParameters:
    """Where each norm's scale and shift lie in a flat fp32 vector of ``size`` entries: scale, shift, scale, …"""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.sites = loaded.anatomy.sites("norm")
        widths = [loaded.anatomy.site(name).width for name in self.sites]
        self._widths = [width for width in widths for _ in range(2)]
        self.size = sum(self._widths)

    def edits(self, vector: Tensor) -> dict[str, AffineEdit]:
        """The edits of one vector [P]."""
        parts = [part.clone() for part in torch.split(vector.detach().float().cpu(), self._widths)]
        pairs = zip(self.sites, parts[::2], parts[1::2], strict=True)
        return {name: AffineEdit(scale=scale, shift=shift) for name, scale, shift in pairs}

    def attach_rows(self, vector: Tensor, rows: int) -> tuple[list[Tensor], AbstractContextManager[object]]:
        """Steer ``rows`` rows by copies of one vector, so that each row has gradients of its own."""
        device = self.loaded.device
        leaves = [
            part.to(device).expand(rows, 1, -1).clone().requires_grad_(True)
            for part in torch.split(vector, self._widths)
        ]
        pairs = zip(self.sites, leaves[::2], leaves[1::2], strict=True)
        return leaves, attach_live(self.loaded, {name: LiveEdit(a, b) for name, a, b in pairs})


def row_gradients(outputs: Tensor, leaves: Sequence[Tensor], *, keep: bool) -> Tensor:
    """∂ outputs[r] / ∂ row r's parameters, [rows, P] in fp32 on the CPU: one backward pass for all rows."""
    found = torch.autograd.grad(outputs.sum(), leaves, retain_graph=keep)
    return torch.cat(found, -1)[:, 0].float().cpu()


def answer_gradients(
    parameters: NormParameters,
    encoded: Sequence[EncodedItem],
    vector: Tensor,
    heads: Heads,
    *,
    max_rows: int = 64,
    max_tokens: int = 2048,
) -> list[tuple[Tensor, Tensor]]:
    """Values [n] and gradients [n, P] of each scalar that ``heads`` makes of the items' option log-probabilities."""
    found: list[tuple[Tensor, Tensor]] = []
    for batch in answer_batches(encoded, max_rows=max_rows, max_tokens=max_tokens):
        leaves, steering = parameters.attach_rows(vector, len(batch.index))
        with steering:
            logp, _ = batch_logprobs(parameters.loaded, batch)
            scalars = heads(logp, batch.index)
            for number, scalar in enumerate(scalars):
                if len(found) <= number:
                    found.append((torch.zeros(len(encoded)), torch.zeros(len(encoded), parameters.size)))
                values, gradients = found[number]
                values[batch.index] = scalar.detach().float().cpu()
                gradients[batch.index] = row_gradients(scalar, leaves, keep=number < len(scalars) - 1)
    return found


def answer_values(
    parameters: NormParameters, encoded: Sequence[EncodedItem], vector: Tensor, heads: Heads
) -> list[Tensor]:
    """Values [n] of each scalar that ``heads`` makes of the items' option log-probabilities, without gradients."""
    found: list[Tensor] = []
    for batch in answer_batches(encoded):
        _, steering = parameters.attach_rows(vector, len(batch.index))
        with steering, torch.no_grad():
            logp, _ = batch_logprobs(parameters.loaded, batch)
            scalars = heads(logp, batch.index)
        found = found or [torch.zeros(len(encoded)) for _ in scalars]
        for values, scalar in zip(found, scalars, strict=True):
            values[batch.index] = scalar.float().cpu()
    return found


def text_gradients(
    parameters: NormParameters,
    passages: Tensor,
    generator: torch.Generator,
    *,
    observe: int = 128,
) -> tuple[Tensor, Tensor]:
    """What plain text says about the metric of KL, at the base model.

    Args:
        passages: token ids [n, T].
        observe: passages, at least, whose own tokens are read too: one direction needs fewer than a metric.

    Returns:
        sampled [n, P]: gradients of log P of tokens that are drawn from the model's own predictions, summed over
            a passage. Their second moment is the Fisher information, so ½ xᵀ (Σ g gᵀ) x ≈ KL summed over all
            tokens; across tokens the products vanish in expectation, because the draws are independent.
        observed [P]: gradient of the mean log P a token of the text itself, along which perplexity moves.
    """
    sampled, observed, count = [], torch.zeros(parameters.size), 0
    nothing = torch.zeros(parameters.size)
    rows = _rows(parameters.loaded, passages)
    for start in range(0, len(passages), rows):
        batch = passages[start : start + rows]
        leaves, steering = parameters.attach_rows(nothing, len(batch))
        with steering:
            logp = _predictions(parameters.loaded, batch.to(parameters.loaded.device))
            cumulated = logp.detach().exp().cumsum(1)
            draws = (
                torch.rand(len(cumulated), 1, generator=generator).to(cumulated.device) * cumulated[:, -1:]
            )
            tokens = torch.searchsorted(cumulated, draws).clamp(max=cumulated.shape[1] - 1)
            drawn = logp.gather(1, tokens).reshape(len(batch), -1).sum(1)
            read = start < observe
            sampled.append(row_gradients(drawn, leaves, keep=read))
            if read:
                actual = logp.gather(1, batch[:, 1:].reshape(-1, 1).to(logp.device))
                observed += row_gradients(actual.reshape(len(batch), -1).sum(1), leaves, keep=False).sum(0)
                count += actual.numel()
    return torch.cat(sampled), observed / max(count, 1)


def kl_gradient(parameters: NormParameters, passages: Tensor, vector: Tensor) -> tuple[float, Tensor]:
    """KL(steered by ``vector`` ‖ base), mean nats a token of passages [n, T], and its gradient [P]."""
    total, gradient, count = 0.0, torch.zeros(parameters.size), 0
    for batch in torch.split(passages, _rows(parameters.loaded, passages)):
        ids = batch.to(parameters.loaded.device)
        with torch.no_grad():
            before = _predictions(parameters.loaded, ids)
        # One leaf for each row costs little and lets one function serve all gradients.
        leaves, steering = parameters.attach_rows(vector, len(batch))
        with steering:
            now = _predictions(parameters.loaded, ids)
            divergence = (now.exp() * (now - before)).sum(1).reshape(len(batch), -1).sum(1)
            gradient += row_gradients(divergence, leaves, keep=False).sum(0)
        total += float(divergence.detach().sum())
        count += len(now)
    return max(total / count, 0.0), gradient / count


def _rows(loaded: LoadedModel, passages: Tensor) -> int:
    return max(1, head_tokens(loaded) // passages.shape[1])


def _predictions(loaded: LoadedModel, ids: Tensor) -> Tensor:
    """Log-probabilities [B · (T − 1), vocabulary] of every token after the first."""
    hidden = hidden_of(run_backbone(loaded, ids))[:, :-1]
    return head_logprobs(loaded, hidden.reshape(-1, hidden.shape[-1]).contiguous())
