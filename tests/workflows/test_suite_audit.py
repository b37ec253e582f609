"""Public suites in an audit: numbers agree with scoring, changes are paired, and side effects are warned of."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from reports.synthetic import results as made_up
from tasks.suite_files import bbq, crows_pairs
from tasks.test_questions import mmmu, vqa
from tiny import tiny
from vlms import tiny_vlm

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods import Temperature
from equipoise.metrics import Estimate
from equipoise.models import LoadedModel
from equipoise.reports import Results, Run, render_page
from equipoise.reports.curves import suite_views
from equipoise.reports.suite_cards import suite_card
from equipoise.scoring import answers, generation, rolling, score_options
from equipoise.tasks import BBQ, CrowsPairs, Suite, axes_in, load_subject, load_task
from equipoise.workflows import audit, diff, utility
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


def test_an_axis_of_one_cluster_is_not_said_to_have_stayed(tmp_path: Path) -> None:
    """Without an interval there is no test, and nothing to say about what moved."""
    given = f"crows-pairs:{crows_pairs(tmp_path, 40)}"
    results = audit(model(), given, intervention=edit(2.0), strengths=[1.0], limit=1, passages=6)
    effects = results.extra["side_effects"]
    assert effects["tests"] == 0 and effects["cells"]
    assert {(cell["p_adjusted"], cell["moved"]) for cell in effects["cells"]} == {(None, None)}


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


def test_an_axis_that_crosses_the_targeted_one_is_no_side_effect() -> None:
    assert axes_in("Race_x_gender") == axes_in("race and gender") == ("race", "gender")
    assert axes_in("Religion") == ("religion",) and axes_in("Race_x_SES") == ("race", "socioeconomic")

    def tested(name: str, axis: str | None) -> tuple[bool, int]:
        number = Estimate(0.5, 0.4, 0.6, 10)
        about = {"axes": {name: axis}, "ideals": {name: None}, "p_values": {name: 1e-9}}
        runs = [
            Run("suite", None, 0.0, 10, {name: number}, extra=about),
            Run("suite", "dso", 1.0, 10, {name: number}, changes={name: number}, extra=about),
        ]
        effects = side_effects(runs, ("gender",), 0.95)["side_effects"]
        return effects["cells"][0]["targeted"], effects["tests"]

    assert tested("bias.gender and race", "gender and race") == (True, 0)
    assert tested("bias.race", "race") == (False, 1)
    assert tested("trivial_accuracy", None) == (False, 0)  # no model can move it


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


class Stopped(BaseException):
    """As a kill, nothing may catch it."""


@contextmanager
def passes(stop_at: int | None = None) -> Iterator[list[int]]:
    """Counts what suites run through the model, and stops everything before number ``stop_at``."""
    calls: list[int] = []

    def counting(before: Any) -> Any:
        def inside(*args: Any, **named: Any) -> Any:
            if len(calls) == stop_at:
                raise Stopped
            calls.append(1)
            return before(*args, **named)

        return inside

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((answers, "batch_logprobs"), (rolling, "_chunk"), (generation, "_continue")):
            patch.setattr(module, name, counting(getattr(module, name)))
        yield calls


def of_each_kind(folder: Path) -> list[str]:
    """Closed answers, free text, whole texts."""
    prompts = {f"Group{g}": {f"Entity{g}{e}": [f"The person {g} {e} was"] for e in range(3)} for g in "ab"}
    (folder / "bold").mkdir(parents=True)
    (folder / "bold" / "gender_prompt.json").write_text(json.dumps(prompts))
    articles = "\n".join(
        f" = Title {n} = \n The nurse of day {n} said that it was late . \n" for n in range(6)
    )
    (folder / "wiki.txt").write_text(articles)
    return [
        f"crows-pairs:{crows_pairs(folder, 40)}",
        f"bold:{folder / 'bold'}",
        f"wikitext:{folder / 'wiki.txt'}",
    ]


def test_what_suites_answered_is_kept_and_a_killed_audit_goes_on_from_there(tmp_path: Path) -> None:
    given = of_each_kind(tmp_path)
    settings: dict[str, Any] = {"strengths": [0.5, 1.0], "passages": 6, "intervention": edit(2.0)}
    with passes() as all_passes:
        fresh = audit(model(), given, **settings).to_dict()["runs"]
    middle = len(all_passes) // 2
    with pytest.raises(Stopped), passes(stop_at=middle):
        audit(model(), given, cache=tmp_path / "cache", **settings)
    with passes() as rest:
        again = audit(model(), given, cache=tmp_path / "cache", **settings).to_dict()["runs"]
    assert middle > 0 and len(rest) == len(all_passes) - middle
    assert json.dumps(again) == json.dumps(fresh)
    with passes(stop_at=0):
        audit(model(), given, cache=tmp_path / "cache", **settings)
    # Another edit, another strength: nothing of it is there.
    for change in ({"intervention": edit(1.0)}, {"strengths": [0.5, 1.0, 2.0]}):
        with pytest.raises(Stopped), passes(stop_at=0):
            audit(model(), given, cache=tmp_path / "cache", **{**settings, **change})


def test_every_number_of_a_suite_is_on_the_page_at_its_stop_of_the_dial(tmp_path: Path) -> None:
    given = f"crows-pairs:{crows_pairs(tmp_path, 40)}"
    results = audit(model(), given, intervention=edit(2.0), strengths=[0.5, 1.0], passages=6)
    (view,) = suite_views(results)
    card = suite_card(results, view)
    assert [setting.key for setting in card.settings] == ["base", "0-0.5", "0-1.0"]
    for setting, run in zip(card.settings, results.runs, strict=True):
        for row, (name, estimate) in zip(setting.rows, run.metrics.items(), strict=True):
            assert estimate is not None and row.now is not None and row.base is not None
            assert float(row.now[0]) == pytest.approx(estimate.value, rel=0.01)
            assert row.unbiased == "0.500" and row.metric == name.replace("_", " ").replace(".", " · ")
            assert (row.change is None) == (run.mitigation is None)
    page = render_page(results)
    # Without a task the page has a title all the same.
    assert f"<h1>{results.model['name']} on {view.task}</h1>" in page
    assert page.count('<h2 id="suites">') == 1 and 'id="dial"' in page
    for setting in card.settings:
        assert all(f"<td>{row.now[0]}<span>{row.now[1]}" in page for row in setting.rows if row.now)
    assert '<h2 id="suites">' not in render_page(made_up())


def test_suites_of_two_audits_are_compared(tmp_path: Path) -> None:
    given = f"crows-pairs:{crows_pairs(tmp_path, 40)}"
    for size, name in ((1.0, "a"), (2.0, "b"), (2.0, "less")):
        audit(
            model(),
            given,
            intervention=edit(size),
            strengths=[1.0],
            passages=6,
            limit=40 if name != "less" else 8,
            out=tmp_path / name,
        )
    found = diff(tmp_path / "a", tmp_path / "b")
    base, steered = found.pairs
    assert base.task == steered.task == "crows-pairs" and base.main and steered.main
    assert all(one.change.value == 0 and one.paired == "none" and one.p is None for one in base.differences)
    for one in steered.differences:
        assert one.change.value == pytest.approx(one.b.value - one.a.value)
        assert one.change.low <= one.change.value <= one.change.high
    assert any("as if independent" in note for note in found.notes)
    with pytest.raises(InputError, match="asked different items of crows-pairs"):
        diff(tmp_path / "a", tmp_path / "less")


def test_questions_about_images_stand_in_an_audit(tmp_path: Path) -> None:
    loaded = tiny_vlm("LLaVA")
    given = [vqa(tmp_path / "vqa"), mmmu(tmp_path / "Art")]
    results = audit(loaded, given, passages=6)
    for spec, run in zip(given, results.runs, strict=True):
        same = utility(loaded, spec).rows[0].accuracy
        found = run.metrics["accuracy"]
        assert found is not None and found.value == pytest.approx(same.value)
        assert run.extra["axes"]["accuracy"] is None
    assert results.runs[0].n == 5 and results.runs[1].n == 1
    for spec in given:
        with passes(stop_at=0), pytest.raises(InputError, match=r"asks about images, and .* takes none"):
            audit(model(), ["pronouns", spec], passages=6)


def test_where_a_folder_of_images_lies_is_not_what_is_asked(tmp_path: Path) -> None:
    def asked(folder: str) -> str:
        suite = load_subject(vqa(tmp_path / folder))
        assert isinstance(suite, Suite)
        return SuiteQuestions.of(suite, None, 0).data

    assert asked("here") == asked("there")
    asked_of = load_subject(vqa(tmp_path / "repainted"))
    image = next(
        path for path in sorted((tmp_path / "repainted").rglob("*")) if path.suffix in {".jpg", ".png"}
    )
    Image.new("RGB", (9, 9), "red").save(image)
    assert isinstance(asked_of, Suite)
    assert SuiteQuestions.of(asked_of, None, 0).data != asked("again")
