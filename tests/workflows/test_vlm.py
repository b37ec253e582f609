"""A vision-language model through the whole story: fit on pairs of people, audit without and with the edit."""

from pathlib import Path

import pytest
from tasks.test_people import drawn
from vlms import tiny_vlm

from equipoise.interventions import attach
from equipoise.metrics import per_occupation_bias
from equipoise.scoring import responses, score_options
from equipoise.tasks import load_task
from equipoise.workflows import audit, fit

ROLES = (
    "cook",
    "police_officer",
    "pilot",
    "judge",
    "farmer",
    "singer",
    "teacher",
    "guard",
    "artist",
    "student",
)


@pytest.mark.parametrize("name", ["LLaVA", "Qwen2.5-VL"])
def test_dso_is_fitted_and_audited_on_pairs_of_people(name: str, tmp_path: Path) -> None:
    loaded = tiny_vlm(name)
    task = load_task(f"occupation-pairs:{drawn(tmp_path / 'people', ROLES)}")
    settings = {"steps": "2", "items": "12", "unambiguous": "8", "passages": "12", "kl": "1"}
    edit = fit(
        loaded, task, settings={**settings, "kl_unambiguous": "1", "reach": "1", "density": "0.1"}, seed=0
    )
    assert edit.nonzero > 0
    # On the items that decide which state is kept; squares of random colours say little about other occupations.
    items = [item for item in task.split(0).validation if item.part == "ambiguous"]
    bias = []
    for strength in (0.0, 1.0):
        with attach(loaded, edit, strength):
            found = per_occupation_bias(responses(score_options(loaded, items), items, task.outcomes))
        assert found is not None
        bias.append(found)
    assert bias[1] < bias[0]
    out = tmp_path / "audit"
    results = audit(loaded, task, intervention=edit, strengths=[1.0], limit=40, passages=12, out=out)
    base, steered = results.runs
    assert base.task == steered.task == "occupation-pairs" and base.n == steered.n
    assert base.metrics["per_occupation_bias"] != steered.metrics["per_occupation_bias"]
    prompts = [one["prompt"] for one in results.to_dict()["generations"]]
    assert prompts and all(prompt.count("<image>") == 2 for prompt in prompts)
    assert (out / "report.html").is_file()
