"""The control changes every activation by as much as its model does, in another direction."""

import pytest
import torch
from interventions.samples import edit

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods.random import control

D = 40


def samples() -> dict[str, AffineEdit]:
    draw = torch.Generator().manual_seed(3)
    heads = torch.zeros(D)
    heads[8:16] = torch.randn(8, generator=draw)
    projection = torch.randn(D, 2, generator=draw)
    return {
        "shift": AffineEdit(shift=torch.randn(D, generator=draw)),
        "some heads": AffineEdit(shift=heads),
        "eraser": AffineEdit(
            None, torch.randn(D, generator=draw), -projection, torch.randn(D, 2, generator=draw)
        ),
        "scale": edit(D, draw),
        "all": edit(D, draw, rank=3),
    }


@pytest.mark.parametrize("name", list(samples()))
def test_every_change_keeps_its_norm_and_not_its_direction(name: str) -> None:
    original = samples()[name]
    found = control(Intervention({"block.0.out": original}, "answer"), seed=1)
    turned = found.edits["block.0.out"]
    y = 5 * torch.randn(200, D, generator=torch.Generator().manual_seed(9))
    before, after = original.apply(y) - y, turned.apply(y) - y
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1), rtol=1e-3, atol=1e-4)
    assert torch.cosine_similarity(after, before, dim=1).abs().mean() < 0.9
    assert found.scope == "answer" and found.provenance.method == "random"
    touched = before.abs().amax(0) > 1e-5
    assert float(after[:, ~touched].abs().sum()) == 0


def test_directions_are_random_and_seeded() -> None:
    one = Intervention({"block.0.out": AffineEdit(shift=torch.ones(D))})
    drawn = torch.stack([control(one, seed).edits["block.0.out"].shift for seed in range(200)])
    assert torch.equal(control(one, 7).edits["block.0.out"].shift, drawn[7])
    assert float(drawn.mean(0).norm()) < 0.25 * D**0.5
    # No coordinate, and no sign, is preferred.
    assert float(drawn.square().mean(0).max()) < 1.6


def test_what_the_other_did_on_validation_data_is_not_claimed() -> None:
    from equipoise.interventions import Provenance

    origin = Provenance("caa", config={"validation": {"base": {}}, "chosen": {"layer": 3}})
    found = control(Intervention({"block.0.out": AffineEdit(shift=torch.ones(D))}, "all", origin), 0)
    assert "validation" not in found.provenance.config
    assert found.provenance.config["like"] == "caa" and found.provenance.config["chosen"] == {"layer": 3}


def test_nothing_has_no_control() -> None:
    with pytest.raises(InputError, match="at least one site"):
        control(Intervention({}), 0)
    with pytest.raises(InputError, match="seed"):
        control(Intervention({"block.0.out": AffineEdit(shift=torch.ones(D))}), -1)
