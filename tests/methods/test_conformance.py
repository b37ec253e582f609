"""One suite for every method on every architecture; a new method joins it by being in METHODS."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from methods.conformance import ACTS, NAMES, QUICK, as_mitigation, fitted
from methods.samples import TEXT, TinyTask, weights
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.interventions import Intervention, attach, capture
from equipoise.methods import METHODS, Adapter, caa, load_mitigation, random
from equipoise.models import LoadedModel
from equipoise.scoring import prompt_ids
from equipoise.workflows.info import file_rows

PROMPT = "The mechanic said that"


@pytest.fixture(scope="module", params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny(request.param)


@pytest.fixture(autouse=True)
def short_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control fits the method that it is like with that method's defaults: here they are the short ones."""
    quick = SimpleNamespace(fit=partial(caa.fit, settings=caa.CaaSettings.parse(QUICK["caa"])))
    monkeypatch.setattr(random, "LIKE", {**random.LIKE, "caa": quick})


def logits(loaded: LoadedModel, prompt: object = PROMPT) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)])  # type: ignore[arg-type]
        return loaded.model(input_ids=ids).logits


def kind(site: str) -> str:
    return next(part for part in site.split(".")[2:] if not part.isdigit())


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_conforms(loaded: LoadedModel, name: str, tmp_path: Path) -> None:
    task = TinyTask()
    before = weights(loaded)
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules())
    base = logits(loaded)
    found = fitted(loaded, name, task, seed=1, text=TEXT)

    # The model is as it was.
    assert torch.equal(logits(loaded), base)
    assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.model.state_dict().items())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules()) == hooks

    # It says where it came from, and how it does on validation data.
    origin = found.provenance
    assert origin.method == name and origin.seed == 1 and origin.config["task"] == "tiny"
    assert origin.model is not None and origin.model.matches(loaded.fingerprint)
    assert origin.data and origin.versions
    if name != "random":
        assert set(origin.config["validation"]) == {"base", "fitted"}
    json.dumps(origin.to_json(), allow_nan=False)

    # At strength 0 it is the base model bit for bit, at 1 it isn't, and afterwards it is again.
    mitigation = as_mitigation(found)
    mitigation.check(loaded)
    assert mitigation.method == name
    with mitigation.attach(loaded, 0.0):
        assert torch.equal(logits(loaded, mitigation.rewrite(PROMPT, 0.0)), base)
    with mitigation.attach(loaded, 1.0):
        changed = logits(loaded, mitigation.rewrite(PROMPT, 1.0))
    assert bool(changed.isfinite().all())
    if name == "dso" and not origin.config["validation"]["fitted"]["kl"]:
        # One step found nothing better within the budgets on this random model: then it is the model itself.
        assert torch.equal(changed, base)
    elif name == "temperature":
        # Scores change, and the model doesn't: see test_temperature.
        assert torch.equal(changed, base)
    else:
        assert changed.shape != base.shape or not torch.equal(changed, base)
    assert torch.equal(logits(loaded), base)

    # Its file is itself.
    path = found.save(tmp_path / "found.safetensors")
    again = load_mitigation(path)
    with again.attach(loaded, 1.0):
        assert torch.equal(logits(loaded, again.rewrite(PROMPT, 1.0)), changed)
    assert again.method == name
    assert ("method", name) in file_rows(path)

    if isinstance(found, Intervention):
        kinds, scope = ACTS.get(name, ({kind(site) for site in found.edits}, found.scope))
        assert {kind(site) for site in found.edits} <= kinds and found.scope == scope
        # What runs before the first edit is untouched.
        sites = [site for site in loaded.anatomy.sites() if site.startswith("block.0") and name != "dso"]
        first = min(int(site.split(".")[1]) for site in found.edits)
        states = []
        for strength in (0.0, 1.0):
            with attach(loaded, found, strength), capture(loaded, sites) as captured:
                logits(loaded)
            states.append({site: values[-1] for site, values in captured.items()})
        if torch.equal(changed, base):
            return
        same = [torch.equal(states[0][site], states[1][site]) for site in sites]
        assert all(same) if first > 0 else not all(same) or not sites


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_one_result(name: str) -> None:
    loaded = tiny("Llama")
    loaded.model.train()
    found = []
    for seed in (0, 0, 1):
        torch.rand(3)
        found.append(fitted(loaded, name, TinyTask(), seed=seed, text=TEXT))
    assert all(module.training for module in loaded.model.modules())
    if isinstance(found[0], Adapter):
        tensors = [
            [t for pair in one.layers.values() for t in pair] for one in found if isinstance(one, Adapter)
        ]
        assert all(torch.equal(a, b) for a, b in zip(tensors[0], tensors[1], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(tensors[0], tensors[2], strict=True))
        return
    if not isinstance(found[0], Intervention):
        assert found[0] == found[1]
        return
    digests = [one.digest for one in found if isinstance(one, Intervention)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["caa", "leace", "res_fair"])
def test_where_the_task_has_no_stereotype_the_models_lean_is_it(name: str) -> None:
    task = TinyTask((" he", " she", " they"), ("a", "b", "c"), clear=False)
    found = fitted(tiny("Llama"), name, task, text=TEXT)
    assert isinstance(found, Intervention) and found.nonzero and found.provenance.method == name


@pytest.mark.parametrize("name", NAMES)
def test_a_steered_model_is_refused(name: str) -> None:
    loaded = tiny("Llama")
    steering = fitted(loaded, "caa", TinyTask(), text=TEXT)
    assert isinstance(steering, Intervention)
    with attach(loaded, steering), pytest.raises(InputError, match="is steered"):
        fitted(loaded, name, TinyTask(), text=TEXT)


def test_random_is_made_from_the_methods_there_are() -> None:
    assert set(random.LIKE) <= set(METHODS)
