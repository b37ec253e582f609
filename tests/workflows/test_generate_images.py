"""``generate`` with images: shown with every prompt, in front of one that names no place."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from interventions.samples import intervention
from tiny import tiny
from vlms import picture, tiny_vlm

from equipoise import scoring
from equipoise.analysis import Detector
from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.methods import Prompting
from equipoise.scoring import Step, generate_ids, prompt_ids, prompt_inputs
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


def test_an_instruction_stands_with_the_images() -> None:
    loaded, instruction = tiny_vlm("LLaVA"), Prompting("Be fair to everybody.")
    (found,) = generate(loaded, "Who?", images=[picture(0)], intervention=instruction, max_new_tokens=4)
    asked = instruction.rewrite("<image>\nWho?", 1.0)
    (written,) = scoring.generate(loaded, [asked], images=[pictures([picture(0)])], max_new_tokens=4)
    (unseen,) = scoring.generate(loaded, [str(asked).replace("<image>", "")], max_new_tokens=4)
    assert found.steered == written != found.base
    assert unseen != written


def test_a_detector_is_refused_where_there_are_images() -> None:
    loaded = tiny_vlm("LLaVA")
    detector = Detector("age", "block.0.out", torch.ones(loaded.anatomy.site("block.0.out").width), 0.0)
    with pytest.raises(InputError, match="leave out the images or the detector"):
        generate(loaded, "Who?", images=[picture(0)], detect=detector)
    ids, sight = prompt_inputs(loaded, "<image> Who?", pictures([picture(0)]))
    with pytest.raises(InputError, match="leave out the images or the detector"):
        generate_ids(
            loaded,
            [ids],
            max_new_tokens=1,
            temperature=0.0,
            seed=0,
            sights=[sight],
            before_step=lambda step: None,
        )
    (text,) = generate(loaded, "Who?", detect=detector, max_new_tokens=2)
    assert text.detection is not None


@pytest.mark.parametrize("name", ["LLaVA", "BLIP-2"])
def test_steps_of_text_are_announced_also_where_a_model_inside_speaks(name: str) -> None:
    loaded = tiny_vlm(name)
    rows: Sequence[list[int]] = [prompt_ids(loaded, prompt) for prompt in ("Who?", "Who is the nurse?")]
    steps: list[Step] = []
    found = generate_ids(loaded, rows, max_new_tokens=3, temperature=0.0, seed=0, before_step=steps.append)
    assert [step.number for step in steps] == list(range(max(map(len, found))))
    assert found == generate_ids(loaded, rows, max_new_tokens=3, temperature=0.0, seed=0)
