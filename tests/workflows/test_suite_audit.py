"""Public suites in an audit: numbers agree with scoring, changes are paired, and side effects are warned of."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tasks.suite_files import bbq, crows_pairs
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods import Temperature
from equipoise.models import LoadedModel
from equipoise.reports import Results
from equipoise.scoring import score_options
from equipoise.tasks import BBQ, CrowsPairs, load_task
from equipoise.workflows import audit
from equipoise.workflows.side_effects import side_effects
from equipoise.workflows.suites import SuiteQuestions


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


def edit(size: float) -> Intervention:
    width = model().anatomy.site("final.norm").width
    generator = torch.Generator().manual_seed(0)
    return Intervention({"final.norm": AffineEdit(scale=size * torch.randn(width, generator=generator))})


def test_suites_stand_beside_tasks(tmp_path: Path) -> None:
    file = crows_pairs(tmp_path, 60)
    out = tmp_path / "out"
    given = ["pronouns", f"crows-pairs:{file}", f"bbq:{bbq(tmp_path / 'bbq')}"]
    results = audit(model(), given, intervention=edit(2.0), strengths=[1.0], limit=40, passages=6, out=out)
    written = Results.read(out / "results.json")
    assert written.to_dict() == results.to_dict() and (out / "report.html").exists()
    base, steered = (run for run in results.runs if run.task == "crows-pairs")
    items = CrowsPairs(file).draw(40, 0)
    logp = score_options(model(), items).logp
    pro = np.array([item.outcomes.index("pro") for item in items])
    more = logp[np.arange(len(items)), pro] > logp[np.arange(len(items)), 1 - pro]
    assert base.metrics["stereotype_score"].value == pytest.approx(more.mean())
    assert (base.n, base.split, base.extra["axes"]["stereotype_score.age"]) == (len(items), "all", "age")
    for name, change in steered.changes.items():
        assert change.value == pytest.approx(steered.metrics[name].value - base.metrics[name].value)
    effects = results.extra["side_effects"]
    cells = {(cell["task"], cell["metric"]): cell for cell in effects["cells"]}
    assert cells["crows-pairs", "stereotype_score.gender"]["targeted"]
    assert cells["crows-pairs", "stereotype_score.gender"]["p_adjusted"] is None
    tested = [cell for cell in effects["cells"] if cell["p_adjusted"] is not None]
    assert {cell["axis"] for cell in tested} == {"age"} and effects["tests"] == len(tested) == 2
    assert len(effects["warnings"]) == sum(cell["moved"] for cell in tested)
    # What is recommended goes by the task alone.
    assert results.recommendation is not None


def test_an_edit_that_does_nothing_moves_nothing(tmp_path: Path) -> None:
    given = f"crows-pairs:{crows_pairs(tmp_path, 40)}"
    results = audit(model(), given, intervention=edit(0.0), strengths=[1.0], passages=6)
    effects = results.extra["side_effects"]
    assert effects["warnings"] == [] and {cell["p"] for cell in effects["cells"]} == {1.0}
    assert results.recommendation is None
    for run in results.runs:
        assert all(change.value == 0 for change in run.changes.values())


def test_what_moved_is_warned_of_unless_it_was_meant(tmp_path: Path) -> None:
    # Everything moves: as many pairs as it takes for Holm to see it.
    suite = CrowsPairs(crows_pairs(tmp_path, 200))
    lean = {}

    class Tilted(CrowsPairs):
        def readings(self, items, evidence):
            steered = bool(lean)
            lean[len(lean)] = True
            for row, item in enumerate(items):
                wanted = "pro" if steered or row % 3 == 0 else "anti"
                evidence.logp[row] = [0.0 if outcome == wanted else -1.0 for outcome in item.outcomes]
            return super().readings(items, evidence)

    def warned(targeted: tuple[str, ...]) -> list[str]:
        lean.clear()
        tilted = Tilted(tmp_path / "crows_pairs_anonymized.csv")
        results = audit(
            model(), tilted, intervention=edit(0.1), strengths=[1.0], passages=6, targeted=targeted
        )
        return results.extra["side_effects"]["warnings"]

    assert len(suite.items()) == 200
    both = warned(("gender",))
    assert len(both) == 2 and all("moves age, which was not targeted" in text for text in both)
    assert warned(("gender", "age")) == []


def test_nothing_is_said_without_an_intervention(tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = audit(model(), f"crows-pairs:{crows_pairs(tmp_path, 24)}", passages=6, out=out)
    assert (out / "report.html").exists()
    assert "side_effects" not in results.extra and side_effects(results.runs, ("gender",), 0.95) == {}
    (run,) = results.runs
    assert json.loads(json.dumps(results.to_dict()))["runs"][0]["suite"] is True and run.changes == {}


def test_suites_are_not_fitted_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a public suite, which is only measured"):
        load_task(f"crows-pairs:{tmp_path}")


def test_what_adjusts_scores_acts_on_suites_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = SuiteQuestions.of(BBQ(bbq(tmp_path / "bbq")), None, 0)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(BBQ, "readings", lambda _, items, found: seen.append(found.logp))
    for mitigation, strength in ((None, 0.0), (Temperature(2.0), 0.0), (Temperature(2.0), 1.0)):
        questions.ask(model(), mitigation, strength)
    assert np.array_equal(seen[0], seen[1])
    assert np.ptp(seen[2], axis=1) / np.ptp(seen[0], axis=1) == pytest.approx(0.5)
