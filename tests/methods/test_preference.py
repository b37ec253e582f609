"""Adapters trained on answers: the losses are the equations, training follows them, and leaving leaves nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from methods.planted import planted_model
from methods.samples import TEXT, TinyTask, weights
from safetensors.torch import load_file
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.methods import Adapter, Steering, dpo, load_mitigation, lora, lora_dpo
from equipoise.methods.adapter import attention_layers, injected
from equipoise.methods.dpo import DpoSettings
from equipoise.methods.lora import LoraSettings
from equipoise.methods.lora_dpo import LoraDpoSettings
from equipoise.methods.mitigation import together
from equipoise.methods.preference import _skew, likelihood, preference
from equipoise.models import LoadedModel
from equipoise.scoring import by_outcome, prompt_ids, score_options
from equipoise.tasks import Choices

FAST = {"steps": 6, "batch": 16, "learning_rate": 0.01, "rank": 4}


def share(loaded: LoadedModel) -> float:
    """The mean probability of answers against the stereotype, given an answer, where nobody trained."""
    items = [item for item in TinyTask().split(0).heldout if item.part == "ambiguous"]
    table = by_outcome(score_options(loaded, items).probabilities, items, ("pro", "anti"))
    return float((table[:, 1] / table.sum(1)).mean())


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(input_ids=torch.tensor([prompt_ids(loaded.tokenizer, "The nurse said")])).logits


def random_adapter(loaded: LoadedModel, seed: int = 0) -> Adapter:
    draw = torch.Generator().manual_seed(seed)
    layers = {}
    for name in attention_layers(loaded)[:3]:
        weight = loaded.model.get_submodule(name).weight
        sizes = (
            weight.shape
            if isinstance(loaded.model.get_submodule(name), torch.nn.Linear)
            else weight.shape[::-1]
        )
        layers[name] = (torch.randn(2, sizes[1], generator=draw), torch.randn(sizes[0], 2, generator=draw))
    return Adapter(layers, 4.0)


@pytest.mark.parametrize(
    ("method", "settings"), [(lora, LoraSettings), (dpo, DpoSettings), (lora_dpo, LoraDpoSettings)]
)
def test_training_makes_fair_answers_likelier(method: ModuleType, settings: type) -> None:
    loaded = planted_model()
    before, base = share(loaded), weights(loaded)
    found = method.fit(loaded, TinyTask(), settings=settings(**FAST), text=TEXT)
    assert share(loaded) == before
    assert all(torch.equal(value, base[key]) for key, value in loaded.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    shares = []
    for strength in (0.5, 1.0):
        with found.attach(loaded, strength):
            shares.append(share(loaded))
    assert before < shares[0] < shares[1]
    assert found.provenance.config["steps"] == 6 and found.size > 0


def test_the_losses_are_the_equations() -> None:
    good, bad = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -0.5])
    torch.testing.assert_close(likelihood(good, bad), -good)
    torch.testing.assert_close(preference(0.1)(good, bad), -torch.sigmoid(0.1 * (good - bad)).log())
    task = Choices("first")
    items = list(task.items(0))[:2]
    p = torch.rand(2, 8, generator=torch.Generator().manual_seed(0)) / 8
    table = by_outcome(p.double().numpy(), items, task.outcomes)
    q = torch.tensor(table[:, 1] / table[:, 1:].sum(1))
    torch.testing.assert_close(
        _skew(items, task, p.log()).double(),
        q * (2 * q).log() + (1 - q) * (2 * (1 - q)).log(),
        rtol=1e-4,
        atol=1e-6,
    )
    assert LoraDpoSettings().kl == 0.5 and DpoSettings().kl == 0 and DpoSettings().beta == 0.1
    for key, value in (("beta", "0.2"), ("reference", "base")):
        assert DpoSettings.parse({key: value}) != DpoSettings()
        with pytest.raises(InputError, match=f"lora has no setting '{key}'"):
            LoraSettings.parse({key: value})


@pytest.mark.parametrize("name", ["Llama", "GPT2", "Phi3"])
def test_an_adapter_is_its_product_added_to_the_weights(name: str) -> None:
    loaded = tiny(name)
    base, adapter = logits(loaded), random_adapter(loaded)
    modules = dict(loaded.model.named_modules())
    with adapter.attach(loaded, 0.5):
        found = logits(loaded)
    assert torch.equal(logits(loaded), base) and not hasattr(loaded.model, "peft_config")
    assert all(modules[path] is module for path, module in loaded.model.named_modules())
    with merged(loaded, adapter, 0.5):
        wanted = logits(loaded)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found, base, atol=1e-2)


@contextmanager
def merged(loaded: LoadedModel, adapter: Adapter, strength: float) -> Iterator[None]:
    layers = {name: loaded.model.get_submodule(name) for name in adapter.layers}
    saved = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    with torch.no_grad():
        for name, (a, b) in adapter.layers.items():
            change = strength * adapter.alpha / adapter.rank * (b @ a)
            layers[name].weight += change if isinstance(layers[name], torch.nn.Linear) else change.T
        yield
        for name, layer in layers.items():
            layer.weight.copy_(saved[name])


def test_leaving_after_an_error_and_one_at_a_time() -> None:
    loaded, adapter = tiny("Llama"), random_adapter(tiny("Llama"))
    base = logits(loaded)
    with pytest.raises(RuntimeError, match="stop"), adapter.attach(loaded, 1.0):
        raise RuntimeError("stop")
    assert torch.equal(logits(loaded), base)
    with (
        adapter.attach(loaded, 1.0),
        pytest.raises(InputError, match="one at a time"),
        adapter.attach(loaded, 1.0),
    ):
        pass
    with adapter.attach(loaded, 0.0):
        assert torch.equal(logits(loaded), base)


def test_beside_an_intervention() -> None:
    loaded = tiny("Llama")
    adapter, edit = random_adapter(loaded), Intervention({"block.1.out": AffineEdit(shift=torch.ones(48))})
    both = together([adapter, Steering(edit)])
    with both.attach(loaded, 1.0):
        found = logits(loaded)
    with merged(loaded, adapter, 1.0), attach(loaded, edit):
        torch.testing.assert_close(found, logits(loaded), rtol=1e-3, atol=1e-3)


def test_files_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    loaded, adapter = tiny("Llama"), random_adapter(tiny("Llama"))
    path = adapter.save(tmp_path / "a.safetensors")
    again = load_mitigation(path)
    assert isinstance(again, Adapter) and set(load_file(path)) == {
        f"{n}.{p}" for n in adapter.layers for p in "ab"
    }
    with again.attach(loaded, 1.0):
        found = logits(loaded)
    with adapter.attach(loaded, 1.0):
        assert torch.equal(found, logits(loaded))
    with pytest.raises(InputError, match="no linear layer"):
        adapter.check(tiny("GPT2"))
    name = next(iter(adapter.layers))
    with pytest.raises(InputError, match="not finite"):
        Adapter({name: (torch.full((2, 48), torch.nan), torch.zeros(48, 2))}, 1.0)
    with pytest.raises(InputError, match="at least one layer"):
        Adapter({}, 1.0)
    with pytest.raises(InputError, match="lora setting"):
        LoraSettings(learning_rate=0.0)
    with injected(loaded, [name], 2, 4.0) as parts:
        assert not parts[name].b.any()


def test_other_shares_than_equal_ones_are_refused() -> None:
    task = TinyTask()
    items = list(task.items())
    items[0] = replace(items[0], target={"pro": 0.7, "anti": 0.3})
    assert items[0].part == "ambiguous"
    task.items = lambda: items  # type: ignore[method-assign]
    with pytest.raises(InputError, match="take dso"):
        lora.fit(tiny("Llama"), task, settings=LoraSettings(steps=1, batch=2), text=TEXT)
