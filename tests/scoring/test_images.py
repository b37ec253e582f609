"""Prompts with images: what is refused, and in which words; how chats are laid out; which features are kept."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scoring.samples import item, model
from scoring.test_vlms import assert_equal, naive, questions, seen, vlm
from vlms import picture, tiny_vlm

from equipoise.errors import InputError
from equipoise.models import LoadedModel
from equipoise.scoring import (
    answer_batches,
    encode,
    encode_all,
    generate,
    image_features,
    prompt_text,
    score_options,
)
from equipoise.scoring import features as features_module
from equipoise.scoring.layout import marked_text
from equipoise.tasks import Item

CHAT = ({"role": "user", "content": "Left: <image> Right: <image> Who?"},)
OPTIONS = (" he", " she")


def fresh(name: str = "LLaVA") -> LoadedModel:
    return tiny_vlm(name)


def refusal(loaded: Any, asked: Item) -> str:
    with pytest.raises(InputError) as error:
        encode(loaded, asked)
    assert "\n" not in str(error.value)
    return str(error.value)


def with_images(prompt: Any = CHAT, count: int = 2) -> Item:
    return item(prompt, OPTIONS, 7, images=tuple(picture(k) for k in range(count)))


def test_a_text_model_given_images_is_refused() -> None:
    message = refusal(model("Llama"), with_images())
    assert "item 'item 7'" in message and "takes no images" in message
    assert "for a loaded model" in refusal(model("Llama").tokenizer, with_images())


def test_a_model_of_one_image_a_prompt_is_given_no_more() -> None:
    assert "takes one image a prompt, and this one has 2" in refusal(fresh("BLIP-2"), with_images())
    assert encode(fresh("BLIP-2"), with_images("<image> Who?", 1)).sight is not None


def test_a_processor_without_a_chat_template_is_refused_for_chats_alone() -> None:
    loaded = fresh()
    loaded.processor.chat_template = loaded.tokenizer.chat_template = None
    assert "no chat template" in refusal(loaded, with_images())
    assert encode(loaded, with_images("<image><image> Who?")).sight is not None


def test_an_image_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(picture(0, (400, 400))[:500])
    message = refusal(fresh(), item("<image> Who?", OPTIONS, 7, images=(path,)))
    assert "item 'item 7'" in message and "cut.png" in message


def test_an_image_that_the_processor_refuses_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    path.write_bytes(picture(0, (900, 1)))
    message = refusal(vlm("Qwen2-VL"), item("<image> Who?", OPTIONS, 7, images=(path,)))
    assert "strip.png" in message and "aspect ratio" in message


def test_a_template_that_drops_text_is_refused_and_one_of_plain_strings_understood() -> None:
    loaded = fresh()
    loaded.processor.chat_template = "{{ messages[0]['role'] }}<image><image>"
    assert "leaves out some of the text" in refusal(loaded, with_images())
    loaded.processor.chat_template = "USER: {{ messages[0]['content'] + ' ASSISTANT:' }}"
    assert marked_text(loaded, CHAT) == "USER: Left: <image> Right: <image> Who? ASSISTANT:"


def test_a_chat_without_images_is_laid_out_as_parts_where_the_template_wants_them() -> None:
    loaded = fresh()
    template = "{% for part in messages[0]['content'] %}[{{ part['text'] }}]{% endfor %}"
    loaded.processor.chat_template = template
    assert prompt_text(loaded, ({"role": "user", "content": "Who is <image>?"},)) == "[Who is <image>?]"


def test_an_option_that_begins_another_is_closed_also_after_images() -> None:
    loaded = vlm("LLaVA")
    asked = item(CHAT, (" the nurse", " the nurse was"), images=seen(loaded, 0))
    encoded = encode(loaded, asked)
    assert [option[-1] for option in encoded.options] == [loaded.tokenizer.eos_token_id] * 2


def test_a_token_across_the_border_belongs_to_the_option() -> None:
    loaded = vlm("LLaVA")
    asked = item("<image> The nu", ("rse said", "t"), images=(picture(0),))
    encoded = encode(loaded, asked)
    whole = loaded.tokenizer("<image> The nurse said")["input_ids"]
    assert [*encoded.prompt[3:], *encoded.options[0]] == whole
    assert encoded.sight is not None
    assert all(value.shape[1] == len(encoded.prompt) for value in encoded.sight.tokenwise.values())


def test_a_prompt_that_the_processor_ends_itself_is_continued_after_that_end() -> None:
    loaded = vlm("PaliGemma")
    encoded = encode(loaded, item("<image> The nurse said", OPTIONS, images=(picture(0),)))
    assert loaded.tokenizer.decode(encoded.prompt[-1:]) == "\n"
    assert [loaded.tokenizer.decode(option) for option in encoded.options] == list(OPTIONS)


def test_plain_prompts_with_images_are_scored_as_by_the_whole_model() -> None:
    for name in ("LLaVA", "Qwen2-VL", "Gemma-3", "BLIP-2"):
        loaded = vlm(name)
        asked = [item("<image> The nurse said that", OPTIONS, images=(picture(k),)) for k in range(2)]
        assert_equal(score_options(loaded, asked).logp, naive(loaded, loaded.model, asked))


def test_items_with_and_without_images_are_scored_together() -> None:
    loaded = vlm("LLaVA")
    text = [item("The nurse said that", OPTIONS, 1), item("It was she and", (*OPTIONS, " the nurse"), 2)]
    one = [item("<image> The nurse said that", OPTIONS, 3, images=(picture(1),))]
    mixed = [text[0], *questions(loaded), *one, text[1]]
    together = score_options(loaded, mixed).logp
    for place, asked in enumerate(mixed):
        alone = score_options(loaded, [asked]).logp[0]
        np.testing.assert_allclose(together[place][: len(alone)], alone, atol=1e-5)
    kinds = [batch.rows is None for batch in answer_batches(encode_all(loaded, mixed))]
    assert True in kinds and False in kinds


def test_an_image_token_of_another_image_is_no_shared_prefix() -> None:
    # The placeholders' tokens are the same whatever the image shows.
    loaded = vlm("LLaVA")
    asked = [item("<image> The nurse said that", OPTIONS, k, images=(picture(k),)) for k in range(6)]
    encoded = encode_all(loaded, asked)
    assert len({one.prompt for one in encoded}) == 1
    scores = score_options(loaded, encoded, share_prefixes=True).logp
    assert_equal(scores, naive(loaded, loaded.model, asked))
    assert len({round(float(row[0]), 4) for row in scores}) == 6


def test_other_weights_before_the_backbone_give_other_features() -> None:
    loaded = fresh()
    asked = questions(loaded)
    before = score_options(loaded, asked).logp
    with torch.no_grad():
        loaded.model.model.multi_modal_projector.linear_1.weight.mul_(1.5)
    after = score_options(loaded, asked).logp
    assert np.abs(after - before)[np.isfinite(after)].max() > 1e-3
    assert_equal(after, naive(loaded, loaded.model, asked))
    computed = image_features(loaded).computed
    score_options(loaded, asked)
    assert image_features(loaded).computed == computed


def test_no_more_features_are_kept_than_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = fresh()
    monkeypatch.setattr(features_module, "MAX_BYTES", 4 * 4 * 48)  # one image of four tokens in float32
    asked = questions(loaded)
    scores = score_options(loaded, asked).logp
    assert len(image_features(loaded)._kept) == 1
    assert_equal(scores, naive(loaded, loaded.model, asked))


def test_a_model_that_mixes_its_images_keeps_features_by_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = fresh()
    inner = loaded.model.model
    alone = type(inner).get_image_features

    def mixing(self: Any, pixel_values: torch.Tensor, **more: Any) -> Any:
        output = alone(self, pixel_values, **more)
        pairs = torch.stack(list(output.pooler_output)).reshape(-1, 2, *output.pooler_output[0].shape)
        mixed = pairs + 0.5 * pairs.flip(1)
        output.pooler_output = list(mixed.flatten(0, 1))
        return output

    monkeypatch.setattr(type(inner), "get_image_features", mixing)
    asked = questions(loaded)
    scores = score_options(loaded, asked).logp
    plans = list(image_features(loaded)._plans.values())
    assert [plan.unit for plan in plans if plan is not None] == ["prompt"]
    assert_equal(scores, naive(loaded, loaded.model, asked))


def test_a_model_whose_batches_mix_gets_its_pixels_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = fresh()
    inner = loaded.model.model
    alone = type(inner).get_image_features

    def noisy(self: Any, pixel_values: torch.Tensor, **more: Any) -> Any:
        output = alone(self, pixel_values, **more)
        output.pooler_output = [one * len(output.pooler_output) for one in output.pooler_output]
        return output

    monkeypatch.setattr(type(inner), "get_image_features", noisy)
    encoded = encode_all(loaded, questions(loaded))
    score_options(loaded, encoded, max_rows=1)
    assert list(image_features(loaded)._plans.values()) == [None]


def test_features_in_bf16_are_near_fp32() -> None:
    loaded = vlm("Qwen2.5-VL")
    half = LoadedModel(copy.deepcopy(loaded.model).bfloat16(), loaded.tokenizer, loaded.processor, "half")
    asked = questions(loaded)
    exact, rough = score_options(loaded, asked).logp, score_options(half, asked).logp
    there = exact > -np.inf
    assert np.median(np.abs(exact[there] - rough[there]) / (1 + np.abs(exact[there]))) < 0.02
    assert all(plan is not None for plan in image_features(half)._plans.values())


def test_generation_says_where_images_lack_a_place() -> None:
    with pytest.raises(InputError, match="prompt 0 has 1 images and says <image> 0 times"):
        generate(vlm("LLaVA"), ["Who?"], images=[with_images(count=2).images[:1]])


def test_a_template_that_ends_at_a_word_leaves_the_space_to_the_answer() -> None:
    loaded = fresh()
    asked = item(CHAT, ("A", "B"), images=(picture(0), picture(1)))
    text = item(({"role": "user", "content": "Who?"},), ("A", "B"))
    for one in (asked, text):
        assert [loaded.tokenizer.decode(option) for option in encode(loaded, one).options] == ["A", "B"]
    loaded.processor.chat_template = loaded.tokenizer.chat_template.replace("<|assistant|>", "ASSISTANT:")
    for one in (asked, text):
        found = encode(loaded, one)
        written = loaded.tokenizer.decode([*found.prompt, *found.options[0]])
        assert written.endswith("ASSISTANT: A")
    bare = LoadedModel(loaded.model, loaded.tokenizer, None)  # a text model's template is no other
    bare.tokenizer.chat_template = "{{ messages[0]['content'] }}ASSISTANT:"
    found = encode(bare, text)
    assert bare.tokenizer.decode([*found.prompt, *found.options[0]]).endswith("ASSISTANT: A")
    bare.tokenizer.chat_template = "{{ messages[0]['content'] + 'ASSISTANT:\\n' }}"  # the twin
    found = encode(bare, text)
    assert bare.tokenizer.decode([*found.prompt, *found.options[0]]).endswith("ASSISTANT:\nA")
