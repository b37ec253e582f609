"""Every method on two vision-language models, fitted on pairs of images: the base model at 0, another at 1, a file."""

from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import pytest
import torch
from methods.conformance import NAMES, QUICK, as_mitigation, fitted
from methods.samples import TEXT, weights
from tasks.test_people import drawn
from vlms import tiny_vlm

from equipoise.interventions import Intervention
from equipoise.methods import caa, load_mitigation, random
from equipoise.methods.mitigation import Mitigation, rewritten
from equipoise.models import LoadedModel
from equipoise.scoring import score_options
from equipoise.tasks import Item, OccupationPairs

ROLES = ("cook", "pilot", "judge", "farmer", "singer", "teacher", "guard", "artist", "student", "clerk")
MODELS = ("LLaVA", "Qwen2-VL")


@cache
def task() -> OccupationPairs:
    return OccupationPairs(str(drawn(Path(mkdtemp()) / "people", ROLES)))


@pytest.fixture(scope="module", params=MODELS)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny_vlm(request.param)


@pytest.fixture(autouse=True)
def short_random(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = SimpleNamespace(fit=partial(caa.fit, settings=caa.CaaSettings.parse(QUICK["caa"])))
    monkeypatch.setattr(random, "LIKE", {**random.LIKE, "caa": quick})


def scores(
    loaded: LoadedModel, items: list[Item], mitigation: Mitigation | None, strength: float
) -> torch.Tensor:
    if mitigation is None:
        return torch.tensor(score_options(loaded, items).logp)
    with mitigation.attach(loaded, strength):
        found = score_options(loaded, rewritten(mitigation, items, strength))
    return torch.tensor(mitigation.adjust(found, items, strength).logp)


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_on_images_conforms(loaded: LoadedModel, name: str, tmp_path: Path) -> None:
    items = [item for item in task().split(0).heldout if item.part == "ambiguous"][:4]
    before, base = weights(loaded), scores(loaded, items, None, 0)
    found = fitted(loaded, name, task(), text=TEXT)
    assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.model.state_dict().items())
    assert found.provenance.method == name and found.provenance.config["task"] == "occupation-pairs"
    mitigation = as_mitigation(found)
    mitigation.check(loaded)
    assert torch.equal(scores(loaded, items, mitigation, 0.0), base)
    changed = scores(loaded, items, mitigation, 1.0)
    assert bool(changed.isfinite().all())
    if not (isinstance(found, Intervention) and not found.nonzero):
        assert not torch.equal(changed, base)
    assert torch.equal(scores(loaded, items, None, 0), base)
    again = load_mitigation(found.save(tmp_path / "found.safetensors"))
    assert torch.equal(scores(loaded, items, again, 1.0), changed)
