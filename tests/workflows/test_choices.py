"""``choices``: what is reported is what the scores say, by input, strength and seed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from interventions.samples import intervention
from tasks.test_people import drawn
from tiny import tiny
from vlms import tiny_vlm

from equipoise.cli import run
from equipoise.cli.show import show_choices
from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.methods import Prompting
from equipoise.methods.mitigation import rewritten
from equipoise.models import LoadedModel
from equipoise.scoring import encode_all, first_words, prompt_ids, score_options
from equipoise.tasks import Choices
from equipoise.workflows import choices


def small(tmp_path: Path) -> Choices:
    path = tmp_path / "few.toml"
    path.write_text(
        '[concepts.few]\noccupation = ["pilot", "nurse"]\n"potential crime" = ["carrying a crowbar"]\n'
    )
    return Choices("few", prompts=path)


def by_hand(loaded: LoadedModel, task: Choices, seed: int, setting: str) -> tuple[float, float]:
    """Fairness and KL of one input: option by option, without what the package has for classes."""
    fair, divergences = [], []
    for item in task.items(seed):
        if (item.metadata["setting"], item.metadata["modality"]) != (setting, "text"):
            continue
        p = np.exp(score_options(loaded, [item]).logp[0])
        share = {o: sum(p[k] for k, name in enumerate(item.outcomes) if name == o) for o in item.outcomes}
        fair.append(share["fair"] == max(share.values()))
        q = share["man"] / (share["man"] + share["woman"])
        divergences.append(q * np.log(2 * q) + (1 - q) * np.log(2 * (1 - q)))
    return float(np.mean(fair)), float(np.mean(divergences))


def test_rows_are_the_scores(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), small(tmp_path)
    edit = intervention(loaded)
    found = choices(loaded, task, intervention=edit, strengths=[0.5], seeds=(0, 1))
    for strength in (0.0, 0.5):
        for setting in ("none", "man"):
            with attach(loaded, edit, strength):
                wanted = [by_hand(loaded, task, seed, setting) for seed in (0, 1)]
            row = found.row(strength, setting, "text")
            assert row.fairness.mean == pytest.approx(np.mean([w[0] for w in wanted]))
            assert row.fairness.std == pytest.approx(np.std([w[0] for w in wanted], ddof=1))
            assert row.kl.mean == pytest.approx(np.mean([w[1] for w in wanted]), abs=1e-6)
            assert row.n == 3
            assert sum(spread.mean for spread in row.proportions.values()) == pytest.approx(1)
    assert found.row(0.0, None, "text").n == 9
    assert found.row(0.5, "none", "text").kl != found.row(0.0, "none", "text").kl


def test_an_instruction_is_asked_with(tmp_path: Path) -> None:
    loaded, task, instruction = tiny("Llama"), small(tmp_path), Prompting("Be fair to everybody.")
    found = choices(loaded, task, intervention=instruction, seeds=(0,))
    items = [item for item in task.items(0) if item.metadata["modality"] == "text"]
    for strength in (0.0, 1.0):
        asked = score_options(loaded, rewritten(instruction, items, strength))
        row = found.row(strength, None, "text")
        assert row.mass.mean == pytest.approx(asked.probabilities.sum(1).mean(), rel=1e-4)
    assert found.row(0.0, None, "text").mass != found.row(1.0, None, "text").mass


def test_images_have_rows_of_their_own_and_a_file_is_written(tmp_path: Path) -> None:
    loaded = tiny_vlm("LLaVA")
    task = Choices(str(drawn(tmp_path / "people", ("cook", "pilot"))), "tone")
    out = tmp_path / "numbers.json"
    found = choices(loaded, task, seeds=(0,), out=out)
    inputs = {(row.setting, row.modality) for row in found.rows}
    assert inputs >= {("none", "text"), ("dark", "image"), ("light", "text"), ("both", "image"), (None, None)}
    written = json.loads(out.read_text())
    assert written["outcomes"] == ["fair", "dark", "light"] and written["schema"] == 1
    assert len(written["rows"]) == len(found.rows) and written["rows"][0]["fairness"]["std"] is None
    with pytest.raises(InputError, match="exists already"):
        choices(loaded, task, seeds=(0,), out=out)
    with pytest.raises(InputError, match="takes no images"):
        choices(tiny("Llama"), task, seeds=(0,))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = tiny("Llama")
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.tokenizer.save_pretrained(tmp_path / "model")
    small(tmp_path)
    common = ["choices", str(tmp_path / "model"), "--prompts", str(tmp_path / "few.toml")]
    assert run([*common, "--source", "few", "--seeds", "0", "--out", str(tmp_path / "n.json")]) == 0
    shown = capsys.readouterr().out
    assert "text: none" in shown and "fair" in shown
    assert run([*common, "--source", "fewer"]) == 2
    assert "no images of people at 'fewer'" in capsys.readouterr().err
    assert run(["choices", str(tmp_path / "model"), "--prompts", "nowhere.toml"]) == 2


def test_a_steered_model_is_no_base_model(tmp_path: Path) -> None:
    loaded = tiny("Llama")
    with attach(loaded, intervention(loaded)), pytest.raises(InputError, match="is steered"):
        choices(loaded, small(tmp_path), seeds=(0,))


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.toml"
    options = "[['Old', '[old]'], ['Young', '[/young]'], ['Both', 'fair']]"
    path.write_text(f"[options]\nage = {options}\n[concepts.few]\noccupation = ['pilot']\n")
    show_choices(choices(tiny("Llama"), Choices("few", "age", path), seeds=(0,)))
    shown = capsys.readouterr().out
    assert "text: [old]" in shown and "text: [/young]" in shown


def test_the_papers_score_reads_first_words(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), small(tmp_path)
    items = list(task.items(0))
    logits = []
    for item in items:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, item.prompt)])
        with torch.no_grad():
            logits.append(loaded.model(input_ids=ids).logits[0, -1])
    table, said = first_words(loaded, items, encode_all(loaded, items), task.outcomes, top=len(logits[0]))
    words = [loaded.tokenizer.decode([t]).strip().lower() for t in range(len(logits[0]))]
    assert {"f", "b", "e"} <= set(words)  # the tokenizer can begin options
    for row, (scores, item) in enumerate(zip(logits, items, strict=True)):
        sums = np.zeros(3)
        for word, score in zip(words, scores.tolist(), strict=True):
            meant = {
                o
                for text, o in zip(item.options, item.outcomes, strict=True)
                if word and text.lower().startswith(word)
            }
            if len(meant) == 1:
                sums[task.outcomes.index(meant.pop())] += score
        wanted = np.exp(sums - sums.max())
        np.testing.assert_allclose(table[row], wanted / wanted.sum(), atol=1e-4)
        word = words[int(scores.argmax())]
        matches = [
            o
            for text, o in zip(item.options, item.outcomes, strict=True)
            if word and text.lower().startswith(word)
        ]
        assert said[row] == (task.outcomes.index(matches[0]) if len(set(matches)) == 1 else -1)
    row = choices(loaded, task, seeds=(0,), score="paper").row(0.0, None, "text")
    few, answers = first_words(loaded, items, encode_all(loaded, items), task.outcomes)
    assert row.fairness.mean == np.mean(answers == 0) and row.mass.mean == pytest.approx(few.sum() / len(few))
    with pytest.raises(InputError, match="no score 'papers'"):
        choices(loaded, task, score="papers")  # type: ignore[arg-type]
