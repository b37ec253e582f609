"""``generate`` with images: shown with every prompt, in front of one that names no place."""

from pathlib import Path

import pytest
from interventions.samples import intervention
from tiny import tiny
from vlms import picture, tiny_vlm

from equipoise import scoring
from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.tasks import pictures
from equipoise.workflows import generate


def test_every_prompt_is_shown_the_images() -> None:
    loaded = tiny_vlm("LLaVA")
    images = [picture(0), picture(1)]
    (placed,) = generate(loaded, ["<image> <image> Who?"], images=images, max_new_tokens=4)
    (bare,) = generate(loaded, "Who?", images=images, max_new_tokens=4)
    written = scoring.generate(
        loaded,
        ["<image> <image> Who?", "<image><image>\nWho?"],
        images=[pictures(images)] * 2,
        max_new_tokens=4,
    )
    assert [placed.base, bare.base] == written
    (other,) = generate(loaded, "Who?", images=images[::-1], max_new_tokens=4)
    assert other.base != bare.base
    edit = intervention(loaded)
    (steered,) = generate(loaded, "Who?", images=images, intervention=edit, max_new_tokens=4)
    assert steered.base == bare.base and steered.steered != steered.base


def test_images_that_have_no_place_or_no_model_are_refused() -> None:
    with pytest.raises(InputError, match="2 images and says <image> 1 times"):
        generate(tiny_vlm("LLaVA"), "<image> Who?", images=[picture(0), picture(1)])
    with pytest.raises(InputError, match="takes no images"):
        generate(tiny("Llama"), "Who?", images=[picture(0)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = tiny_vlm("LLaVA")
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.processor.save_pretrained(tmp_path / "model")
    image = tmp_path / "one.png"
    image.write_bytes(picture(0))
    command = ["generate", str(tmp_path / "model"), "--prompt", "Who?", "--max-new-tokens", "3"]
    assert run([*command, "--chat", "--image", str(image)]) == 0
    assert "Who?" in capsys.readouterr().out
    image.write_text("no image")
    assert run([*command, "--image", str(image)]) == 2
    assert "one.png is no image" in capsys.readouterr().err


def test_each_prompt_may_have_its_own() -> None:
    loaded = tiny_vlm("LLaVA")
    prompts, own = ["Who?", "<image> Who?"], [[], [picture(1)]]
    found = generate(loaded, prompts, images_of=own, max_new_tokens=3)
    assert found[0].base == generate(loaded, "Who?", max_new_tokens=3)[0].base
    assert found[1].base == generate(loaded, prompts[1], images=[picture(1)], max_new_tokens=3)[0].base
    with pytest.raises(InputError, match="as many lists of them as there are prompts"):
        generate(loaded, prompts, images_of=own[:1])
