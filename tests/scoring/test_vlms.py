"""Vision-language models of every kind: what they score, steer and write is what the models themselves do.

The reference shares nothing with the package but the prompt's text: the model's own forward over the processor's own
inputs, one item and option at a time, with pixels.
"""

import functools
import io
from typing import Any

import numpy as np
import pytest
import torch
from interventions.samples import KINDS, by_hand, intervention
from PIL import Image
from scoring.samples import item
from torch import nn
from vlms import VLMS, picture, tiny_vlm

from equipoise.interventions import Intervention, LiveEdit, attach, attach_live
from equipoise.models import LoadedModel, load
from equipoise.scoring import (
    ImageFeatures,
    batch_logprobs,
    collate,
    encode_all,
    generate,
    image_features,
    score_options,
)
from equipoise.scoring.layout import marked_text
from equipoise.tasks import Item, pictures

SIZES = ((28, 28), (50, 28))
ONE_IMAGE = ("BLIP-2",)


@functools.cache
def vlm(name: str) -> LoadedModel:
    """One model of each kind for all tests: nothing may change it."""
    return tiny_vlm(name)


@pytest.fixture(params=VLMS)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return vlm(request.param)


def seen(loaded: LoadedModel, number: int) -> tuple[bytes, ...]:
    """One image or two of different sizes; neighbours share one."""
    count = 1 if any(name in loaded.name for name in ONE_IMAGE) else 2
    return tuple(picture(number + k, SIZES[(number + k) % 2]) for k in range(count))


def ask(loaded: LoadedModel, number: int, question: str, options: tuple[str, ...]) -> Item:
    images = seen(loaded, number)
    places = "".join(f"{side}: <image> " for side, _ in zip(("Left", "Right"), images, strict=False))
    prompt = ({"role": "user", "content": places + question},)
    return item(prompt, options, number, images=images)


def questions(loaded: LoadedModel) -> list[Item]:
    """Prompts of several lengths; options of one token, and of several."""
    return [
        ask(loaded, 0, "Who is the nurse?", (" he", " she")),
        ask(loaded, 1, "Who is the mechanic?", (" he", " she", "they were busy")),
        ask(loaded, 2, "Who is it?", (" he", " she")),
        ask(loaded, 1, "Say who argued with the nurse.", (" he was busy", "they")),
    ]


def own_inputs(loaded: LoadedModel, asked: Item) -> dict[str, torch.Tensor]:
    shown = [Image.open(io.BytesIO(image.bytes)).convert("RGB") for image in asked.images]
    text = marked_text(loaded, asked.prompt)
    opened = text.startswith("<s>")
    made = loaded.processor(
        text=[text], images=[shown], return_tensors="pt", **({"add_special_tokens": False} if opened else {})
    )
    return {name: value for name, value in made.items() if name != "labels"}


def longer(
    loaded: LoadedModel, inputs: dict[str, torch.Tensor], option: list[int]
) -> dict[str, torch.Tensor]:
    """The same with an answer after the prompt, as the model's own generation would have gone on."""
    more = {name: value for name, value in inputs.items() if name != "input_ids"}
    if "token_type_ids" in more:
        fill = 1 if "PaliGemma" in loaded.name else 0
        extra = torch.full((1, len(option)), fill)
        more["token_type_ids"] = torch.cat([more["token_type_ids"], extra], 1)
    if "mm_token_type_ids" in more:
        more["mm_token_type_ids"] = torch.cat(
            [more["mm_token_type_ids"], torch.zeros(1, len(option))], 1
        ).long()
    if "cross_attention_mask" in more:
        last = more["cross_attention_mask"][:, -1:].expand(-1, len(option), -1, -1)
        more["cross_attention_mask"] = torch.cat([more["cross_attention_mask"], last], 1)
    more["attention_mask"] = torch.ones(1, inputs["input_ids"].shape[1] + len(option), dtype=torch.long)
    return {"input_ids": torch.cat([inputs["input_ids"], torch.tensor([option])], 1), **more}


@torch.no_grad()
def naive(loaded: LoadedModel, model: nn.Module, items: list[Item]) -> list[list[float]]:
    found = []
    for asked in items:
        inputs = own_inputs(loaded, asked)
        start = inputs["input_ids"].shape[1]
        row = []
        for option in asked.options:
            ids = loaded.tokenizer(option, add_special_tokens=False)["input_ids"]
            logp = model(**longer(loaded, inputs, ids), use_cache=False).logits[0].log_softmax(-1)
            places = torch.arange(start - 1, start + len(ids) - 1)
            row.append(float(logp[places, torch.tensor(ids)].sum()))
        found.append(row)
    return found


def assert_equal(found: np.ndarray, wanted: list[list[float]], atol: float = 1e-4) -> None:
    for row, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5, atol=atol)


def test_scores_are_those_of_the_whole_model_on_pixels(loaded: LoadedModel) -> None:
    asked = questions(loaded)
    scores = score_options(loaded, asked)
    assert_equal(scores.logp, naive(loaded, loaded.model, asked))
    assert_equal(score_options(loaded, asked, max_rows=1).logp, [row.tolist() for row in scores.logp])


def test_the_images_matter_and_their_order_does(loaded: LoadedModel) -> None:
    asked = questions(loaded)[0]
    again = item(asked.prompt, asked.options, images=seen(loaded, 4))
    there = score_options(loaded, [asked]).logp
    assert np.abs(score_options(loaded, [again]).logp - there).max() > 1e-3
    if len(asked.images) > 1:
        turned = item(asked.prompt, asked.options, images=asked.images[::-1])
        assert np.abs(score_options(loaded, [turned]).logp - there).max() > 1e-3


def test_features_are_computed_once_an_image(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = load(loaded.model, tokenizer=loaded.tokenizer, processor=loaded.processor)
    asked = questions(loaded)
    encoded = encode_all(fresh, asked)
    features = image_features(fresh)
    first = score_options(fresh, encoded).logp
    images = {image.digest for one in asked for image in one.images}
    assert features.computed == len(images)
    with attach(fresh, intervention(fresh), 0.5) as handle:
        for strength in (0.2, 0.4):
            handle.strength = strength
            score_options(fresh, encoded)
    assert features.computed == len(images)
    # The twin: a model that allows none of it gives the same, with pixels in every pass.
    slow = load(loaded.model, tokenizer=loaded.tokenizer, processor=loaded.processor)
    monkeypatch.setattr(ImageFeatures, "_find_plan", lambda self, row: None)
    assert_equal(score_options(slow, encoded).logp, first.tolist())
    assert image_features(slow).computed == 0


@pytest.mark.parametrize("kind", KINDS)
def test_edits_of_each_kind_are_those_made_by_hand(loaded: LoadedModel, kind: str) -> None:
    asked = questions(loaded)
    one = intervention(loaded, [kind], rank=2 if kind == "out" else 0, seed=3)
    edited = by_hand(loaded, [(one, 0.5)])
    base = score_options(loaded, asked).logp
    with attach(loaded, one, 0.5):
        steered = score_options(loaded, asked).logp
    assert_equal(steered, naive(loaded, edited, asked), atol=2e-3)
    there = base > -np.inf
    assert np.abs(steered[there] - base[there]).max() > 0.05


def test_at_zero_and_after_leaving_it_is_the_base_model(loaded: LoadedModel) -> None:
    asked, inputs = questions(loaded), own_inputs(loaded, questions(loaded)[0])
    scores = score_options(loaded, asked).logp
    with torch.no_grad():
        logits = loaded.model(**inputs).logits
        with attach(loaded, intervention(loaded, KINDS), 0.0):
            assert torch.equal(loaded.model(**inputs).logits, logits)
            np.testing.assert_array_equal(score_options(loaded, asked).logp, scores)
        assert torch.equal(loaded.model(**inputs).logits, logits)
    np.testing.assert_array_equal(score_options(loaded, asked).logp, scores)


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_a_strength_a_row_is_one_run_a_strength(loaded: LoadedModel, scope: Any) -> None:
    encoded = encode_all(loaded, [questions(loaded)[place] for place in (0, 2)])
    batch = collate(encoded, [0, 1])
    strengths = (0.3, 0.9)
    with attach(loaded, intervention(loaded, scope=scope), list(strengths)) as handle, torch.no_grad():
        together, _ = batch_logprobs(loaded, batch)
        for row, strength in enumerate(strengths):
            handle.strength = strength
            alone, _ = batch_logprobs(loaded, collate(encoded, [row]))
            torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-3)
            other, _ = batch_logprobs(loaded, collate(encoded, [1 - row]))
            assert (together[1 - row] - other[0]).abs().max() > 1e-3


def test_what_is_written_is_the_same_padded_cached_and_alone(loaded: LoadedModel) -> None:
    asked = [questions(loaded)[place] for place in (0, 1, 2)]
    prompts, images = [one.prompt for one in asked], [one.images for one in asked]
    with attach(loaded, intervention(loaded), 0.3):
        written = generate(loaded, prompts, images=images, max_new_tokens=5)
        alone = [
            generate(loaded, [p], images=[i], max_new_tokens=5)[0]
            for p, i in zip(prompts, images, strict=True)
        ]
        for prompt, shown, text in zip(prompts, images, written, strict=True):
            inputs = own_inputs(loaded, item(prompt, (" he", " she"), images=shown))
            new: list[int] = []
            with torch.no_grad():
                for _ in range(5):
                    logits = loaded.model(
                        **(longer(loaded, inputs, new) if new else inputs), use_cache=False
                    ).logits
                    new.append(int(logits[0, -1].argmax()))
                    if new[-1] == loaded.tokenizer.eos_token_id:
                        break
            assert loaded.tokenizer.decode(new, skip_special_tokens=True) == text
    assert written == alone


def test_an_intervention_is_the_same_saved_and_loaded(loaded: LoadedModel, tmp_path: Any) -> None:
    one, asked = intervention(loaded, ("norm", "heads")), questions(loaded)
    path = tmp_path / "edit.safetensors"
    one.save(path)
    again = Intervention.load(path)
    again.check(loaded)
    scores = []
    for each in (one, again):
        with attach(loaded, each, 0.7):
            scores.append(score_options(loaded, asked).logp)
    np.testing.assert_array_equal(*scores)


def test_text_alone_is_scored_as_by_the_whole_model(loaded: LoadedModel) -> None:
    asked = [item("The nurse said that", (" he", " she")), item("The mechanic said that", (" he", " she"))]
    scores = score_options(loaded, asked).logp
    wanted = []
    for one in asked:
        ids = torch.tensor([loaded.tokenizer(one.prompt)["input_ids"]])
        mask = torch.ones_like(ids)
        # BLIP-2 runs with images only; its language model is a model of its own.
        model = loaded.model.language_model if "BLIP-2" in loaded.name else loaded.model
        if "PaliGemma" in loaded.name:
            # Text is what follows the images: a suffix, and causal.
            mask = torch.full((4, 4), float("-inf")).triu(1)[None, None]
            assert ids.shape[1] == 4
        with torch.no_grad():
            logp = model(input_ids=ids, attention_mask=mask).logits[0, -1].log_softmax(-1)
        wanted.append([float(logp[loaded.tokenizer(o)["input_ids"][0]]) for o in one.options])
    assert_equal(scores, wanted)


def test_a_saved_model_loads_with_its_processor(loaded: LoadedModel, tmp_path: Any) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    again, asked = load(tmp_path), questions(loaded)
    for name, weight in loaded.model.state_dict().items():
        assert again.model.state_dict()[name].equal(weight)
    # The same weights elsewhere in memory may be added up in another order.
    found, expected = score_options(again, asked).logp, score_options(loaded, asked).logp
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert again.fingerprint.matches(loaded.fingerprint)


def test_a_gradient_reaches_edits_through_images(loaded: LoadedModel) -> None:
    name = loaded.anatomy.sites("norm")[0]
    shift = torch.zeros(loaded.anatomy.site(name).width, requires_grad=True)
    encoded = encode_all(loaded, questions(loaded))
    score_options(loaded, encoded)  # features that were made without gradients serve a pass with them
    with attach_live(loaded, {name: LiveEdit(None, shift)}):
        logp, _ = batch_logprobs(loaded, collate(encoded, [1]))
        logp[0, :2].sum().backward()
    assert shift.grad is not None and float(shift.grad.abs().max()) > 0


def test_images_are_the_pictures_of_their_prompts() -> None:
    loaded = vlm("LLaVA")
    both = pictures(seen(loaded, 0))
    prompts = [({"role": "user", "content": f"<image> {word}"},) for word in ("Who?", "Who was late?")]
    forward = generate(loaded, prompts, images=[both[:1], both[1:]], max_new_tokens=4)
    backward = generate(loaded, prompts[::-1], images=[both[1:], both[:1]], max_new_tokens=4)
    assert forward == backward[::-1]
