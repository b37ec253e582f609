"""RES-FAIR and DSO on a planted bias in ``choices``: fitted on one set of concepts, measured on another.

What RES-FAIR takes off and what it puts on do different things here. The paper's factors raise fairness on one of the
two models and do nothing on the other; putting the fair vector on, measured from plain text, makes answers fair and
what is left of men and women more even on both. A random vector of that length does neither.
"""

import functools

import pytest
import torch
from methods.planted import chooser, planted_choices
from methods.samples import TEXT, quick

from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods import dso, res_fair
from equipoise.methods.res_fair import ResFairSettings
from equipoise.workflows import choices

MODELS = (0, 2)
AMPLIFY = ResFairSettings(lambda1=0.0, lambda2=0.5, centre="text")


def asked(seed: int, edit: Intervention | None) -> tuple[float, float]:
    """Fairness and KL of the second set's answers, at λ = 1."""
    found = choices(chooser(seed), planted_choices("second"), intervention=edit, seeds=(0, 1))
    row = found.row(0.0 if edit is None else 1.0, None, "text")
    assert row.mass.mean > 0.85
    return row.fairness.mean, row.kl.mean


@functools.cache
def base(seed: int) -> tuple[float, float]:
    return asked(seed, None)


def fitted(seed: int, settings: ResFairSettings) -> Intervention:
    return res_fair.fit(chooser(seed), planted_choices("first"), settings=settings, text=TEXT)


def elsewhere(found: Intervention) -> Intervention:
    """The same edits along random directions of the same lengths, measured from zero."""
    draw = torch.Generator().manual_seed(0)
    edits = {}
    for site, edit in found.edits.items():
        assert edit.u is not None and edit.v is not None
        v = torch.nn.functional.normalize(torch.randn(edit.v.shape, generator=draw), dim=0)
        edits[site] = AffineEdit(u=v * (edit.u * edit.v).sum(0), v=v)
    return Intervention(edits, found.scope, found.provenance)


@pytest.mark.parametrize("seed", MODELS)
def test_the_planted_bias_is_there(seed: int) -> None:
    fairness, kl = base(seed)
    # Three concepts of ten lean to neither; the others' men and women stand 65 to 10: 0.23 nats over all.
    assert fairness == pytest.approx(0.3) and kl == pytest.approx(0.23, abs=0.05)


@pytest.mark.parametrize("seed", MODELS)
def test_res_fair_carries_over_to_other_concepts_and_random_vectors_do_not(seed: int) -> None:
    assert not set(planted_choices("first").concepts) & set(planted_choices("second").concepts)
    fairness, kl = base(seed)
    found = fitted(seed, AMPLIFY)
    after, even = asked(seed, found)
    assert after > fairness + 0.3 and even < 0.6 * kl
    after, even = asked(seed, elsewhere(found))
    assert after < fairness + 0.1 and even > 0.9 * kl
    assert asked(seed, fitted(seed, ResFairSettings(lambda1=0.0, lambda2=0.0))) == base(seed)


def test_the_papers_factors_are_worth_a_part_of_that_or_nothing() -> None:
    for seed, gain in zip(MODELS, (0.1, 0.0), strict=True):
        after, even = asked(seed, fitted(seed, ResFairSettings()))
        assert base(seed)[0] + gain <= after < 0.7 and even == pytest.approx(base(seed)[1], abs=0.05)


@pytest.mark.parametrize("seed", MODELS)
def test_dso_carries_over_to_other_concepts(seed: int) -> None:
    fairness, kl = base(seed)
    found = dso.fit(chooser(seed), planted_choices("first"), settings=quick(items=40, kl=0.6), text=TEXT)
    after, even = asked(seed, found)
    assert after > fairness + 0.5 and even < 0.4 * kl
