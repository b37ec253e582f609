"""Utility: VQAv2's accuracy of greedy answers, MMMU's of letters, the base model's beside a mitigated one's."""

import json
from pathlib import Path

import numpy as np
import pytest
from tasks.test_questions import mmmu, vqa
from vlms import tiny_vlm

from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.metrics import Bootstrap, vqa_accuracy
from equipoise.scoring import generate, score_options
from equipoise.tasks import OpenQuestion, load_questions
from equipoise.tasks.questions import VQA
from equipoise.workflows import utility


def test_open_answers_are_generated_and_judged(tmp_path: Path) -> None:
    import torch

    loaded, spec = tiny_vlm("LLaVA"), vqa(tmp_path / "vqa")
    edit = Intervention({"block.1.out": AffineEdit(shift=3 * torch.randn(48))})
    found = utility(loaded, spec, intervention=edit, strengths=[1.0], out=tmp_path / "u.json")
    _, asked = load_questions(spec)
    scores = []
    for strength in (0.0, 1.0):
        with attach(loaded, edit, strength):
            texts = generate(
                loaded, [q.prompt for q in asked], images=[q.images for q in asked], max_new_tokens=8
            )
        firsts = [text.strip().split("\n")[0] for text in texts]
        scores.append([vqa_accuracy(text, q.humans) for text, q in zip(firsts, asked, strict=True)])  # type: ignore[union-attr]
        assert [one[f"{strength:g}"] for one in found.answers] == firsts
    base, steered = found.rows
    assert base.accuracy.value == pytest.approx(np.mean(scores[0])) and base.change is None
    assert steered.change is not None
    assert steered.change.value == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))
    written = json.loads((tmp_path / "u.json").read_text())
    assert written["kind"] == "utility" and written["n"] == 5 and len(written["rows"]) == 2


def test_a_suite_and_the_command_say_the_same(tmp_path: Path) -> None:
    """Also where every answer is wrong: eight images don't show that none would ever be answered."""
    spec = vqa(tmp_path / "vqa", 9)
    asked = [one for one in load_questions(spec)[1] if isinstance(one, OpenQuestion)]
    (row,) = utility(tiny_vlm("LLaVA"), spec).rows
    reading = VQA(tmp_path / "vqa").completion_readings(asked, ["wrong"] * len(asked))["accuracy"]
    found = Bootstrap({one.group for one in asked}).estimate(reading.statistic, reading.sample)
    assert row.accuracy.value == 0 and found == row.accuracy and found.high > 0.3


def test_letters_are_chosen_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded, spec = tiny_vlm("LLaVA"), mmmu(tmp_path / "Art")
    _, (item,) = load_questions(spec)
    right = int(score_options(loaded, [item]).choice[0]) == item.answer  # type: ignore[union-attr, list-item]
    found = utility(loaded, spec)
    assert found.rows[0].accuracy.value == right and np.isnan(found.rows[0].accuracy.low)  # one subject
    with pytest.raises(InputError, match="limit"):
        utility(loaded, spec, limit=0)
    assert run(["utility", str(tmp_path / "nowhere"), "--task", "vqa"]) == 2
    assert "use vqa:PATH" in capsys.readouterr().err
