"""What attaching refuses, each in one line and before anything is touched; and steering under torch.compile."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from interventions.samples import intervention, logits, model, tokens
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import (
    AffineEdit,
    Intervention,
    LiveEdit,
    attach,
    attach_live,
    capture,
)
from equipoise.models import LoadedModel


def hooks(loaded: LoadedModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules())


def _in_place(m: torch.nn.Module) -> torch.nn.Module:
    m.compile(backend="eager")
    return m


def _forward(m: torch.nn.Module) -> torch.nn.Module:
    m.forward = torch.compile(m.forward, backend="eager")  # type: ignore[method-assign]
    return m


@pytest.mark.parametrize("way", [lambda m: torch.compile(m, backend="eager"), _in_place, _forward])
def test_a_compiled_model_is_refused_with_the_remedy(way: Callable[[Any], Any]) -> None:
    plain = tiny("Llama")
    a = intervention(plain)
    anatomy = plain.anatomy
    loaded = LoadedModel(way(plain.model), plain.tokenizer)
    loaded.__dict__["anatomy"] = anatomy
    for attempt in (lambda: attach(loaded, a), lambda: attach_live(loaded, {})):
        with pytest.raises(InputError, match="attach first and compile then"):
            attempt()
    assert hooks(plain) == 0


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_the_remedy_is_true_and_compiling_bakes_no_strength_in(scope: str) -> None:
    loaded = tiny("Llama")
    ids = tokens(2, 6)
    torch._dynamo.reset()
    with attach(loaded, intervention(loaded, ("norm", "out"), scope=scope), 0.5) as handle:  # type: ignore[arg-type]
        compiled = torch.compile(copy_of_call(loaded), backend="eager")
        for strength in (0.5, 1.0, 0.0, [0.2, 0.9], [0.0, -1.0], 0.3):
            handle.strength = strength
            with torch.no_grad():
                torch.testing.assert_close(compiled(ids), logits(loaded, ids))
    torch._dynamo.reset()


def copy_of_call(loaded: LoadedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda ids: loaded.model(input_ids=ids, use_cache=False).logits


def test_attaching_twice_is_refused(tmp_path: Any) -> None:
    loaded = model("Llama")
    a = intervention(loaded)
    path = a.save(tmp_path / "a.safetensors")
    before = hooks(loaded)
    with attach(loaded, a):
        inside = hooks(loaded)
        for again in (a, [a], Intervention.load(path), Intervention(a.edits)):
            with pytest.raises(InputError, match="already attached to tiny-Llama-0"):
                attach(loaded, again)
        with pytest.raises(InputError, match="already attached"):
            attach(LoadedModel(loaded.model, loaded.tokenizer, name=loaded.name), a)
        assert hooks(loaded) == inside
        attach(loaded, 2.0 * a).detach()
    with pytest.raises(InputError, match="already attached"):
        attach(loaded, [a, a])
    assert hooks(loaded) == before
    attach(loaded, a).detach()


def test_strengths_that_are_refused() -> None:
    loaded = model("Llama")
    a, b = intervention(loaded, seed=1), intervention(loaded, seed=2)
    cases: list[tuple[Any, str]] = [
        ("much", "must be a number, a list of rows or a matrix, not 'much'"),
        (None, "must be a number"),
        (float("nan"), "must be finite"),
        ([0.1, float("inf")], "must be finite"),
        ([[0.1, 0.2, 0.3]], r"shape \[1, 3\]: give a number, one per row, or a matrix \[rows, 2\]"),
        ([], "give a number"),
    ]
    before = hooks(loaded)
    for value, message in cases:
        with pytest.raises(InputError, match=message):
            attach(loaded, [a, b], value)
    assert hooks(loaded) == before
    with attach(loaded, [a, b], 0.5) as handle:
        for value, message in cases:
            with pytest.raises(InputError, match=message):
                handle.strength = value
        assert handle.strength.tolist() == [[0.5, 0.5]]
        handle.strength[0, 0] = 3.0
        assert handle.strength.tolist() == [[0.5, 0.5]]
    with pytest.raises(InputError, match="detached: attach the intervention again"):
        handle.strength = 1.0
    with pytest.raises(InputError, match="detached"), handle:
        pass


def test_a_norm_that_shares_its_weight_is_steered_and_not_folded() -> None:
    """As in Zamba's blocks: one tensor, two modules; what is folded into one would act at both."""
    loaded = tiny("Llama")
    first, second = loaded.anatomy.blocks[:2]
    second.norms[0].module.weight = first.norms[0].module.weight
    one = Intervention({"block.1.norm.0": AffineEdit(scale=torch.full((48,), 0.5))})
    base = logits(loaded, tokens())
    with pytest.raises(InputError, match=r"block\.1\.norm\.0: another norm shares its weight"):
        attach(loaded, one, fold=True)
    assert torch.equal(logits(loaded, tokens()), base)
    with attach(loaded, one):
        assert not torch.allclose(logits(loaded, tokens()), base)


def test_what_cannot_be_folded_is_refused() -> None:
    loaded = model("Llama")
    a = intervention(loaded)
    before = hooks(loaded)
    for one, message in (
        (intervention(loaded, ("out",)), "block.0.out is no norm's output"),
        (intervention(loaded, rank=1), "low-rank edit can't be folded"),
        (intervention(loaded, scope="answer"), "only the token scope 'all' can be folded"),
    ):
        with pytest.raises(InputError, match=message):
            attach(loaded, one, fold=True)
    with pytest.raises(InputError, match="one strength for all rows"):
        attach(loaded, a, [0.1, 0.2], fold=True)
    b = intervention(loaded, seed=5)
    with attach(loaded, a), pytest.raises(InputError, match="edited by another attachment"):
        attach(loaded, b, fold=True)
    live = {"block.0.norm.0": LiveEdit(torch.zeros(48))}
    with attach(loaded, a, fold=True) as handle:
        with pytest.raises(InputError, match="one strength for all rows"):
            handle.strength = [0.1, 0.2]
        for attempt in (
            lambda: attach(loaded, b),
            lambda: attach(loaded, b, fold=True),
            lambda: attach_live(loaded, live),
        ):
            with pytest.raises(InputError, match="fold"):
                attempt()
    assert hooks(loaded) == before
    attach(loaded, b, fold=True).detach()


def test_other_refusals_touch_nothing() -> None:
    loaded = model("Llama")
    before = hooks(loaded)
    with pytest.raises(InputError, match="at least one intervention"):
        attach(loaded, [])
    with pytest.raises(InputError, match="another model"):
        attach(loaded, intervention(model("Qwen2")))
    with pytest.raises(InputError, match="there is no site"):
        attach(loaded, Intervention({"block.7.out": AffineEdit(torch.ones(48))}))
    with (
        pytest.raises(InputError, match="there is no site"),
        capture(loaded, ["block.0.out", "block.7.out"]),
    ):
        pass
    assert hooks(loaded) == before


def test_two_sites_that_are_one_module_are_refused() -> None:
    loaded = tiny("Llama")
    first, second = loaded.anatomy.blocks[0].module, loaded.anatomy.blocks[1].module
    second.input_layernorm = first.input_layernorm
    shared = LoadedModel(loaded.model, loaded.tokenizer, name="shared")
    norm = AffineEdit(torch.ones(48))
    with pytest.raises(InputError, match="are the same module"):
        attach(shared, Intervention({"block.0.norm.0": norm, "block.1.norm.0": norm}))


def test_a_failure_while_attaching_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = model("GPT2")
    base, before = logits(loaded, tokens()), hooks(loaded)
    a = intervention(loaded)
    from equipoise.interventions import steering
    from equipoise.interventions.fold import FoldedNorm

    def fail(*args: Any) -> None:
        raise RuntimeError("planted")

    calls = iter(range(3))
    prepare, put = steering.SteeredSite.prepare, FoldedNorm.set
    monkeypatch.setattr(
        steering.SteeredSite, "prepare", lambda *x: prepare(*x) if next(calls, None) is not None else fail()
    )
    with pytest.raises(RuntimeError, match="planted"):
        attach(loaded, a)
    monkeypatch.setattr(steering.SteeredSite, "prepare", prepare)
    folds = iter(range(3))
    monkeypatch.setattr(FoldedNorm, "set", lambda *x: put(*x) if next(folds, None) is not None else fail())
    with pytest.raises(RuntimeError, match="planted"):
        attach(loaded, a, fold=True)
    monkeypatch.setattr(FoldedNorm, "set", put)
    assert hooks(loaded) == before
    assert torch.equal(logits(loaded, tokens()), base)
    attach(loaded, a).detach()


def test_a_copy_of_a_steered_model_is_steered_by_itself() -> None:
    for fold in (False, True):
        loaded = model("Llama")
        with attach(loaded, intervention(loaded), fold=fold):
            steered = logits(loaded, tokens())
            other = copy.deepcopy(loaded.model)
        with torch.no_grad():
            assert torch.equal(other(input_ids=tokens()).logits, steered)
        assert not torch.equal(logits(loaded, tokens()), steered)
