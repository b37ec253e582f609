"""Activations at the last prompt token are those of the model's own pass, with images or without."""

import pytest
import torch
from scoring.samples import many_token_items, model
from scoring.test_vlms import longer, own_inputs, questions, vlm

from equipoise.analysis import activations, prompt_activations
from equipoise.models import hidden_of
from equipoise.scoring import encode_all

SITES = ("block.1.norm.0", "block.0.heads", "block.2.out")


def test_of_text_they_are_those_of_its_tokens() -> None:
    loaded = model("Llama")
    encoded = encode_all(loaded, many_token_items())
    found = prompt_activations(loaded, encoded, SITES)
    wanted = activations(loaded, [one.prompt for one in encoded], SITES)
    for name in SITES:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Qwen2-VL", "Gemma-3", "BLIP-2"])
def test_with_images_they_are_those_of_the_whole_model(name: str) -> None:
    loaded = vlm(name)
    asked = questions(loaded)
    found = prompt_activations(loaded, encode_all(loaded, asked), ["block.2.out"])["block.2.out"]
    for row, item in zip(found, asked, strict=True):
        seen: list[torch.Tensor] = []
        block = loaded.anatomy.blocks[2].module
        handle = block.register_forward_hook(lambda m, a, o: seen.append(hidden_of(o)))  # noqa: B023
        with torch.no_grad():
            loaded.model(**own_inputs(loaded, item))
        handle.remove()
        torch.testing.assert_close(row, seen[-1][0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["LLaVA", "Qwen2.5-VL", "Gemma-3"])
def test_a_statement_is_the_prompt_and_its_answer_read_together(name: str) -> None:
    """What an answer's last token sees of the images is what the model's own pass over prompt and answer gives."""
    loaded = vlm(name)
    asked = questions(loaded)
    encoded = encode_all(loaded, asked)
    site = loaded.anatomy.site("block.2.out")
    found = prompt_activations(loaded, [one.said(1) for one in encoded], [site.name])[site.name]
    without = prompt_activations(loaded, encoded, [site.name])[site.name]
    assert not torch.allclose(found, without, atol=1e-2)
    for row, item, one in zip(found, asked, encoded, strict=True):
        inputs = own_inputs(loaded, item)
        assert tuple(inputs["input_ids"][0].tolist()) == one.prompt
        seen: list[torch.Tensor] = []
        handle = site.module.register_forward_hook(lambda m, a, o, seen=seen: seen.append(hidden_of(o)))
        with torch.no_grad():
            loaded.model(**longer(loaded, inputs, list(one.options[1])))
        handle.remove()
        torch.testing.assert_close(row, seen[-1].reshape(-1, row.shape[-1])[-1], rtol=1e-3, atol=1e-3)
