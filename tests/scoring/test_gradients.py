"""Gradients of option log-probabilities: against finite differences, and by row against one item at a time."""

import pytest
import torch
from interventions.samples import intervention
from scoring.samples import many_token_items, model, one, single_token_items
from tiny import ARCHITECTURES
from torch import Tensor

from equipoise.interventions import LiveEdit, attach_live
from equipoise.models import LoadedModel
from equipoise.scoring import answer_batches, batch_logprobs, collate, encode_all

ITEMS = {"single": single_token_items()[:3], "many": many_token_items()[:3]}


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param, double=True)


def tensors(loaded: LoadedModel, rows: int | None = None) -> dict[str, tuple[Tensor, Tensor]]:
    """A scale and a shift for every norm, float64, requiring gradients; [d], or [rows, 1, d] of equal rows."""
    found = {}
    for name, edit in intervention(loaded, seed=3).edits.items():
        assert edit.scale is not None and edit.shift is not None
        pair = (edit.scale.double(), edit.shift.double())
        if rows is not None:
            pair = (pair[0].expand(rows, 1, -1).clone(), pair[1].expand(rows, 1, -1).clone())
        found[name] = (pair[0].requires_grad_(), pair[1].requires_grad_())
    return found


def steered(loaded: LoadedModel, parts: dict[str, tuple[Tensor, Tensor]]):
    return attach_live(loaded, {name: LiveEdit(*pair) for name, pair in parts.items()})


def flat(parts: dict[str, tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [tensor for pair in parts.values() for tensor in pair]


def total(logp: Tensor) -> Tensor:
    """A scalar a row in which every option has a weight of its own."""
    weights = torch.arange(1, logp.shape[1] + 1, dtype=logp.dtype)
    return (logp.masked_fill(logp == float("-inf"), 0) * weights).sum(1)


def refuse_to_compare(loaded: LoadedModel) -> None:
    """Skip models whose output has kinks: experts that switch, and OPT's ReLU."""
    if type(loaded.model).__name__.startswith(("Mixtral", "Qwen3Moe", "OPT")):
        pytest.skip(
            "finite differences and other batches cross the kinks of ReLU or of the choice of experts"
        )


@pytest.mark.parametrize("kind", ITEMS)
def test_gradients_are_finite_differences(loaded: LoadedModel, kind: str) -> None:
    refuse_to_compare(loaded)
    encoded = encode_all(loaded.tokenizer, ITEMS[kind])
    batches = list(answer_batches(encoded))
    parts = tensors(loaded)

    def value() -> Tensor:
        return torch.stack([total(batch_logprobs(loaded, batch)[0]).sum() for batch in batches]).sum()

    with steered(loaded, parts):
        here = value()
        assert here.dtype == torch.float64
        gradients = torch.autograd.grad(here, flat(parts))
        for tensor, gradient in zip(flat(parts)[::3], gradients[::3], strict=True):
            step = 1e-3 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(5)).double()
            with torch.no_grad():
                tensor += step
                ahead = value()
                tensor -= 2 * step
                behind = value()
                tensor += step
            expected = float((gradient * step).sum()) * 2
            assert float(ahead - behind) == pytest.approx(expected, rel=2e-2, abs=1e-5)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("kind", ITEMS)
def test_gradients_by_row_are_those_of_one_item_at_a_time(
    loaded: LoadedModel, kind: str, share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_compare(loaded)
    monkeypatch.setattr("equipoise.scoring.answers._WORTH_SHARING", 1)
    encoded = encode_all(loaded.tokenizer, ITEMS[kind])
    for batch in answer_batches(encoded):
        rows = None if share else len(batch.index)
        parts = tensors(loaded, rows)
        with steered(loaded, parts):
            logp, _ = batch_logprobs(loaded, batch, share_prefix=share)
            found = torch.autograd.grad(total(logp).sum(), flat(parts))
        alone = []
        for index in batch.index.tolist():
            single = tensors(loaded)
            with steered(loaded, single):
                scores = [one(loaded, encoded[index].prompt, o) for o in encoded[index].options]
                alone.append(torch.autograd.grad(total(torch.stack(scores)[None]).sum(), flat(single)))
        for gradient, *expected in zip(found, *alone, strict=True):
            wanted = torch.stack(expected)
            torch.testing.assert_close(
                gradient if share else gradient[:, 0],
                wanted.sum(0) if share else wanted,
                rtol=1e-3,
                atol=1e-5,
            )
            assert gradient.abs().max() > 0


def test_missing_options_leave_gradients_finite() -> None:
    loaded = model("Llama", double=True)
    encoded = encode_all(loaded.tokenizer, single_token_items())
    batch = collate(encoded, range(len(encoded)))
    parts = tensors(loaded, len(encoded))
    with steered(loaded, parts):
        logp, _ = batch_logprobs(loaded, batch)
        assert (logp == float("-inf")).any()
        gradients = torch.autograd.grad(logp.logsumexp(1).sum(), flat(parts))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
