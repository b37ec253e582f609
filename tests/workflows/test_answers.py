"""Free answers: read by the base model, paired between strengths, and a collapse shows."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tasks.test_people import drawn
from tiny import tiny
from vlms import tiny_vlm

from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.methods.temperature import Temperature
from equipoise.models import LoadedModel
from equipoise.scoring import generate, prompt_ids
from equipoise.tasks import Choices, free_items, meaning, said_words
from equipoise.workflows import answers


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


def edit(size: float, seed: int = 0) -> Intervention:
    width = model().anatomy.site("final.norm").width
    made = torch.Generator().manual_seed(seed)
    return Intervention({"final.norm": AffineEdit(shift=size * torch.randn(width, generator=made))})


def test_shares_are_of_what_was_written_and_the_base_model_reads_it(tmp_path: Path) -> None:
    task, small = Choices("first"), edit(0.7)
    found = answers(
        model(), task, intervention=small, strengths=[1.0], limit=12, new_tokens=5, out=tmp_path / "a.json"
    )
    every = free_items(task, 0)
    items = [every[int(k)] for k in np.linspace(0, len(every) - 1, 12).round()]
    for row, strength in zip(found.rows, (0.0, 1.0), strict=True):
        with attach(model(), small, strength):
            texts = generate(model(), [item.prompt for item in items], max_new_tokens=5)
        means = [meaning(text, said_words(task)) for text in texts]
        for name, share in row.shares.items():
            assert share.value == pytest.approx(means.count(name) / 12)
        nll, count = 0.0, 0
        for item, text in zip(items, texts, strict=True):
            ids = prompt_ids(model(), item.prompt)
            said = model().tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(said) != 5:
                break  # what was drawn and what the text would be encoded to differ
            with torch.no_grad():
                logp = model().model(torch.tensor([[*ids, *said]])).logits[0].float().log_softmax(-1)
            nll -= float(logp[range(len(ids) - 1, len(ids) + 4), said].sum())
            count += 5
        else:
            assert row.perplexity.value == pytest.approx(np.exp(nll / count), rel=1e-3)
    base, steered = found.rows
    assert base.changes == {} and steered.perplexity.value != base.perplexity.value
    change = steered.changes["perplexity"].value
    assert change == pytest.approx(steered.perplexity.value - base.perplexity.value)
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["kind"] == "answers" and len(written["examples"]) == 12
    assert set(written["examples"][0]["answers"]) == {"0", "1"}


def test_a_collapse_shows() -> None:
    found = answers(model(), intervention=edit(300.0), strengths=[1.0], limit=10, new_tokens=8)
    base, steered = found.rows
    # A random model's words mean nothing, each something else.
    assert base.collapse == () and base.alike < 0.5
    assert any("one text" in reason for reason in steered.collapse) and steered.alike == 1.0


def test_two_answers_are_compared_without_an_interval() -> None:
    found = answers(model(), intervention=edit(300.0), strengths=[1.0], limit=2, new_tokens=8)
    base, steered = found.rows
    assert base.alike == 0.5 and base.collapse == ()  # one of each: neither says what the other does
    for name in ("perplexity", "repetition"):
        change = steered.changes[name]
        assert change.value == getattr(steered, name).value - getattr(base, name).value
        assert np.isnan(change.low) and np.isnan(change.high)
    assert set(steered.changes) == {*steered.shares, "perplexity", "repetition"}


def test_nothing_changes_under_an_edit_that_does_nothing() -> None:
    found = answers(model(), intervention=edit(0.0), strengths=[1.0], limit=10, new_tokens=4)
    assert {change.value for change in found.rows[1].changes.values()} == {0.0}


def test_images_are_answered_about_and_bad_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = drawn(tmp_path / "people")
    found = answers(tiny_vlm("LLaVA"), Choices(str(folder)), limit=8, new_tokens=3)
    assert found.n == 8 and len(found.rows) == 1 and np.isnan(found.rows[0].perplexity.low)
    with pytest.raises(InputError, match=r"images|vision-language"):
        answers(model(), Choices(str(folder)), limit=8)
    for wrong in ({"limit": -1}, {"new_tokens": 0}):
        with pytest.raises(InputError, match="at least 1"):
            answers(model(), Choices("first"), **wrong)
    with pytest.raises(InputError, match="free answers have no options"):
        answers(model(), Choices("first"), limit=8, intervention=Temperature(2.0))
    assert run(["answers", "nowhere", "--limit", "-1"]) == 2
    assert "--limit -1" in capsys.readouterr().err
