"""The algebra of edits and interventions: identities, for any numbers."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interventions.samples import edit, intervention, model
from torch import Tensor

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, Provenance

SITES = ("block.0.norm.0", "block.2.norm.1", "block.10.norm.0", "final.norm")
WIDTH = 5
seeds = st.integers(0, 10_000)
factors = st.floats(-4, 4)
keeps = st.floats(0, 1)


def draw(seed: int, *, rank: int = 0, coarse: bool = False) -> Intervention:
    """A random intervention at some of the sites; ``coarse`` values have many ties and zeros."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [site for site in SITES if torch.rand((), generator=generator) < 0.7] or [SITES[0]]
    edits = {site: edit(WIDTH, generator, rank=rank) for site in reversed(chosen)}
    if coarse:
        edits = {s: AffineEdit((e.scale * 4).round(), (e.shift * 4).round()) for s, e in edits.items()}  # type: ignore[operator, union-attr]
    return Intervention(edits)


def applied(a: Intervention, strength: float = 1.0) -> Tensor:
    """What it does to one activation at every site, in double precision."""
    y = torch.linspace(-2, 2, WIDTH, dtype=torch.float64)
    return torch.stack([a.edits[s].apply(y, strength) - y if s in a.edits else 0 * y for s in SITES])


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-5)


@given(seeds, seeds, st.integers(0, 2))
def test_addition_commutes_and_adds_the_deltas(first: int, second: int, rank: int) -> None:
    a, b = draw(first, rank=rank), draw(second)
    assert same(applied(a + b), applied(b + a))
    assert same(applied(a + b), applied(a) + applied(b))
    assert list((a + b).edits) == list((b + a).edits)
    assert same(applied(a + Intervention({})), applied(a))


@given(seeds, seeds, factors, factors)
def test_multiplication_distributes(first: int, second: int, s: float, t: float) -> None:
    a, b = draw(first, rank=1), draw(second)
    assert same(applied((s + t) * a), applied(s * a + t * a))
    assert same(applied(s * (a + b)), applied(s * a + s * b))
    assert same(applied(s * (t * a)), applied((s * t) * a))
    assert same(applied(s * a), applied(a, s))


@given(seeds, keeps, keeps)
def test_sparsifying_is_monotone_and_idempotent(seed: int, k: float, m: float) -> None:
    a = draw(seed, coarse=seed % 2 == 0)
    few, many = a.sparsify(min(k, m)), a.sparsify(max(k, m))
    assert few.size == many.size == a.size
    assert few.nonzero <= min(int(min(k, m) * a.size + 0.5), a.nonzero)
    for site in a.edits:
        for (_, x), (_, y), (_, z) in zip(*(c.edits[site].parts() for c in (few, many, a)), strict=True):
            assert bool(((x == 0) | (x == y)).all()) and bool(((y == 0) | (y == z)).all())
    assert few.sparsify(min(k, m)).digest == few.digest
    assert a.sparsify(1.0).digest == a.digest and a.sparsify(0.0).nonzero == 0


@given(seeds, keeps)
@settings(max_examples=30)
def test_what_is_kept_is_stronger_than_what_is_not_at_whatever_site(seed: int, keep: float) -> None:
    a = draw(seed)
    kept = torch.cat([t.flatten() for e in a.sparsify(keep).edits.values() for _, t in e.parts()])
    full = torch.cat([t.flatten() for e in a.edits.values() for _, t in e.parts()])
    if 0 < kept.count_nonzero() < len(full):
        assert kept[kept != 0].abs().min() >= full[kept == 0].abs().max()


def test_ties_keep_the_order_of_sites_scale_before_shift() -> None:
    ones = AffineEdit(torch.ones(2), torch.ones(2))
    a = Intervention({"block.10.norm.0": ones, "block.2.norm.0": ones})
    half = a.sparsify(0.375)
    assert list(half.edits) == ["block.2.norm.0", "block.10.norm.0"]
    first = half.edits["block.2.norm.0"]
    assert first.scale is not None and first.shift is not None
    assert first.scale.tolist() == [1, 1] and first.shift.tolist() == [1, 0]
    assert half.edits["block.10.norm.0"].nonzero == 0


def test_the_definition() -> None:
    y = torch.tensor([1.0, 2.0])
    u, v = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [3.0]])
    e = AffineEdit(torch.tensor([0.5, 1.0]), torch.tensor([10.0, 20.0]), u, v)
    assert e.apply(y).tolist() == [1 + 0.5 + 6 + 10, 2 + 2 + 20]
    assert e.apply(y, 0.5).tolist() == [1 + 0.25 + 3 + 5, 2 + 1 + 10]
    assert e.apply(y, 0.0) is y
    assert y.tolist() == [1, 2]
    assert (e.width, e.rank, e.size, e.nonzero) == (2, 1, 8, 6)


def test_values_are_frozen_copies() -> None:
    scale = torch.ones(3, requires_grad=True)
    e = AffineEdit(scale)
    with torch.no_grad():
        scale.zero_()
    assert e.scale is not None and e.scale.tolist() == [1, 1, 1] and not e.scale.requires_grad
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.scale = None  # type: ignore[misc]
    a = Intervention({"final.norm": e})
    with pytest.raises(TypeError):
        a.edits["final.norm"] = e  # type: ignore[index]


def test_the_origin_of_a_sum_is_kept() -> None:
    a = Intervention({}, provenance=Provenance("dso", {"steps": 3}, seed=1))
    b = Intervention({}, provenance=Provenance("caa"))
    total = (0.5 * a + b) + a.sparsify(0.1)
    assert total.provenance.method == "sum"
    assert [term.method for term in total.provenance.terms] == ["dso", "caa", "dso"]
    assert total.provenance.terms[0].steps == ("times 0.5",)
    assert total.provenance.terms[2].steps == ("keep 0.1",)
    assert Provenance.from_json(total.provenance.to_json()).to_json() == total.provenance.to_json()


def test_interventions_that_cannot_be_added() -> None:
    a = Intervention({"final.norm": AffineEdit(torch.ones(3))})
    with pytest.raises(InputError, match="token scopes 'all' and 'answer'"):
        a + Intervention({}, "answer")
    with pytest.raises(InputError, match=r"final.norm: edits of widths 3 and 4"):
        a + Intervention({"final.norm": AffineEdit(torch.ones(4))})
    with pytest.raises(InputError, match="different models can't be added: the architecture is llama"):
        intervention(model("Llama")) + intervention(model("GPT2"))
    assert (a + intervention(model("Llama"), seed=3)).provenance.model is not None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "at least one of scale, shift, or u with v"),
        ({"scale": torch.tensor([1.0, float("nan")])}, "scale has values that are not finite"),
        ({"shift": torch.tensor([1.0, float("inf")])}, "shift has values that are not finite"),
        ({"scale": torch.tensor([1e300], dtype=torch.float64)}, "scale has values that are not finite"),
        ({"scale": torch.ones(2, 3)}, r"scale has shape \[2, 3\]: it must be \[width\]"),
        ({"scale": torch.ones(0)}, "not empty"),
        ({"u": torch.ones(2, 1)}, "needs both u and v"),
        ({"u": torch.ones(2, 1), "v": torch.ones(2, 2)}, "must be .width, rank., alike"),
        ({"scale": torch.ones(2), "shift": torch.ones(3)}, r"different widths \[2, 3\]"),
        ({"scale": torch.ones(2, dtype=torch.complex64)}, "must be real"),
        ({"scale": [1.0]}, "must be a tensor, not list"),
    ],
)
def test_edits_that_are_refused(parts: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AffineEdit(**parts)


def test_other_refusals() -> None:
    a = draw(0)
    for keep in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="a fraction from 0 to 1"):
            a.sparsify(keep)
    with pytest.raises(InputError, match="low-rank edit can't be sparsified"):
        draw(0, rank=1).sparsify(0.5)
    with pytest.raises(InputError, match="finite number"):
        float("inf") * a
    with pytest.raises(InputError, match="unknown token scope 'some'"):
        Intervention({}, "some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="width 5 can't be applied"):
        next(iter(a.edits.values())).apply(torch.ones(4))
