"""Live tensors: gradients reach them, by row too, and they act like the fixed edit of the same numbers."""

import pytest
import torch
from interventions.samples import edit, intervention, logits, model, tokens
from tiny import ARCHITECTURES, tiny
from torch import Tensor

from equipoise.errors import InputError
from equipoise.interventions import LiveEdit, attach, attach_live, capture
from equipoise.models import LoadedModel


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


def live_copy(loaded: LoadedModel, rows: int | None = None, seed: int = 0) -> dict[str, LiveEdit]:
    edits = {}
    for name, fixed in intervention(loaded, seed=seed).edits.items():
        assert fixed.scale is not None and fixed.shift is not None
        parts = (fixed.scale, fixed.shift)
        if rows is not None:
            parts = tuple(part.expand(rows, 1, -1).clone() for part in parts)  # type: ignore[assignment]
        edits[name] = LiveEdit(*(part.clone().requires_grad_() for part in parts))
    return edits


def test_live_tensors_act_like_fixed_ones(loaded: LoadedModel) -> None:
    ids = tokens()
    base = logits(loaded, ids)
    with attach(loaded, intervention(loaded)):
        expected = logits(loaded, ids)
    for rows in (None, 3):
        with attach_live(loaded, live_copy(loaded, rows)):
            torch.testing.assert_close(logits(loaded, ids), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(loaded, ids), base)


def test_live_and_fixed_are_parallel(loaded: LoadedModel) -> None:
    ids = tokens()
    a, b = intervention(loaded, seed=0), intervention(loaded, seed=1)
    with attach(loaded, a + b):
        expected = logits(loaded, ids)
    for strength in (1.0, [1.0] * 3):
        with attach(loaded, b, strength), attach_live(loaded, live_copy(loaded, seed=0)):
            torch.testing.assert_close(logits(loaded, ids), expected, rtol=1e-4, atol=1e-4)


def test_gradients_by_row_are_per_sample_gradients(loaded: LoadedModel) -> None:
    if loaded.name.startswith(("tiny-Mixtral", "tiny-Qwen3Moe")):
        pytest.skip("routing is not differentiable; rounding moves tokens between experts")
    ids = tokens()
    by_row = live_copy(loaded, rows=3)
    with attach_live(loaded, by_row):
        score(loaded, ids).sum().backward()
    for row in range(3):
        single = live_copy(loaded)
        with attach_live(loaded, single):
            score(loaded, ids[row : row + 1]).sum().backward()
        for name, live in single.items():
            for part, rows in ((live.scale, by_row[name].scale), (live.shift, by_row[name].shift)):
                assert (
                    part is not None and rows is not None and part.grad is not None and rows.grad is not None
                )
                assert part.grad.abs().max() > 0
                torch.testing.assert_close(rows.grad[row, 0], part.grad, rtol=1e-3, atol=1e-4)


# RMSNorms compute in fp32 even in a double model, so their differences need a larger step.
@pytest.mark.parametrize(
    ("name", "step", "precision"),
    [
        ("Llama", 1e-3, 1e-3),
        ("Gemma2", 1e-3, 1e-3),
        ("GPT2", 1e-5, 1e-6),
        ("OPT", 1e-5, 1e-6),
        ("Falcon", 1e-5, 1e-6),
    ],
)
def test_gradients_equal_finite_differences(name: str, step: float, precision: float) -> None:
    loaded = tiny(name)
    loaded.model.double()
    ids = tokens(2, 5)
    generator = torch.Generator().manual_seed(3)
    edits, directions = {}, {}
    for site in loaded.anatomy.sites("norm"):
        width = loaded.anatomy.site(site).width
        fixed = edit(width, generator, size=0.1)
        assert fixed.scale is not None and fixed.shift is not None
        edits[site] = LiveEdit(fixed.scale.double().requires_grad_(), fixed.shift.double().requires_grad_())
        directions[site] = torch.randn(2, width, generator=generator).double()

    def at(step: float) -> Tensor:
        moved = {
            site: LiveEdit(live.scale + step * directions[site][0], live.shift + step * directions[site][1])
            for site, live in edits.items()
            if live.scale is not None and live.shift is not None
        }
        with torch.no_grad(), attach_live(loaded, moved):
            return score(loaded, ids).sum()

    with attach_live(loaded, edits):
        score(loaded, ids).sum().backward()
    slope = sum(
        float((part.grad * direction).sum())
        for site, live in edits.items()
        for part, direction in zip((live.scale, live.shift), directions[site], strict=True)
        if part is not None and part.grad is not None
    )
    assert slope == pytest.approx(float(at(step) - at(-step)) / (2 * step), rel=precision)
    assert abs(slope) > 1e-3


def test_an_optimiser_may_change_live_tensors_in_place() -> None:
    loaded = model("Llama")
    edits = live_copy(loaded)
    with attach_live(loaded, edits):
        before = logits(loaded, tokens())
        with torch.no_grad():
            for live in edits.values():
                assert live.scale is not None and live.shift is not None
                live.scale.zero_()
                live.shift.zero_()
        after = logits(loaded, tokens())
    assert not torch.equal(before, after)
    assert torch.equal(after, logits(loaded, tokens()))


def test_gradient_flows_through_a_fixed_intervention_and_a_capture() -> None:
    loaded = model("Llama")
    embedded = loaded.model.get_input_embeddings()(tokens()).detach().requires_grad_()
    with attach(loaded, intervention(loaded)), capture(loaded, ["block.1.out"], detach=False) as seen:
        loaded.model(inputs_embeds=embedded)
    seen["block.1.out"][0].square().sum().backward()
    assert embedded.grad is not None and embedded.grad.abs().max() > 0


def test_live_tensors_of_a_wrong_shape_or_batch_are_refused() -> None:
    loaded = model("Llama")
    for shape in ([47], [3, 48], [3, 2, 48]):
        with pytest.raises(InputError, match=r"block.0.norm.0: the live scale has shape"):
            attach_live(loaded, {"block.0.norm.0": LiveEdit(torch.zeros(shape))})
    with (
        attach_live(loaded, {"block.0.norm.0": LiveEdit(torch.zeros(2, 1, 48))}),
        pytest.raises(
            InputError, match=r"2 rows of live tensors at block.* were given and the batch has 3 rows"
        ),
    ):
        logits(loaded, tokens())


def score(loaded: LoadedModel, ids: Tensor) -> Tensor:
    """Something smooth of every row's last logits, [B]."""
    return loaded.model(input_ids=ids).logits[:, -1].log_softmax(-1)[:, 7:12].sum(-1)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_was_attached_in_inference_mode_lets_gradients_through_later(rank: int) -> None:
    loaded = model("Llama")
    ids = tokens()

    def gradient() -> Tensor:
        embedded = loaded.model.get_input_embeddings()(ids).detach().requires_grad_()
        loaded.model(inputs_embeds=embedded).logits.square().sum().backward()
        assert embedded.grad is not None
        return embedded.grad

    one = intervention(loaded, ("norm", "out"), rank=rank)
    with attach(loaded, one, 0.3):
        expected = gradient()
    with torch.inference_mode():
        handle = attach(loaded, one, 1.0)
        handle.strength = 0.3
        logits(loaded, ids)
    with handle:
        assert torch.equal(gradient(), expected)
    base = gradient()
    assert not torch.allclose(base, expected, rtol=0.1)  # the twin: it steered
