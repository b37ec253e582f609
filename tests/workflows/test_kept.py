"""What is kept while an audit measures: a stopped one goes on to the same bytes, and only equal inputs meet."""

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from methods.samples import TinyTask
from tiny import tiny
from workflows.planted import clean, dear
from workflows.planted import model as planted

from equipoise.errors import InputWarning
from equipoise.interventions import AffineEdit, Intervention, Provenance, attach
from equipoise.methods import Adapter, Prompting, Temperature
from equipoise.methods.mitigation import Steering, Together, together
from equipoise.models import LoadedModel, weights_digest
from equipoise.scoring import answers
from equipoise.workflows import audit, compare
from equipoise.workflows.kept import default_folder

FAST: dict[str, Any] = {"limit": 40, "passages": 6, "strengths": [0.5, 1.0]}


def edit(loaded: LoadedModel, seed: int = 0) -> Intervention:
    generator = torch.Generator().manual_seed(seed)
    shift = 0.3 * torch.randn(loaded.anatomy.site("final.norm").width, generator=generator)
    origin = Provenance(method="dso", model=loaded.fingerprint)
    return Intervention({"final.norm": AffineEdit(shift=shift)}, provenance=origin)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny("Llama", 0)


class Stopped(BaseException):
    """As a kill, nothing may catch it."""


@contextmanager
def batches(stop_at: int | None = None) -> Iterator[list[int]]:
    """Counts the batches that run through the model, and stops everything before number ``stop_at``."""
    calls: list[int] = []
    before = answers.batch_logprobs

    def counting(*args: Any, **named: Any) -> Any:
        if len(calls) == stop_at:
            raise Stopped
        calls.append(1)
        return before(*args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "batch_logprobs", counting)
        yield calls


def run(loaded: LoadedModel, cache: Path | None, out: Path | None = None, **named: Any) -> dict[str, Any]:
    settings = {"intervention": edit(loaded), **FAST, **named}
    found = audit(loaded, "pronouns", cache=cache, out=out, **settings).to_dict()
    found["cost"].pop("this_run")
    return found


@pytest.fixture(scope="module")
def whole(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int, Path]:
    """An audit that nothing stopped, the number of its batches, and what it kept."""
    cache = tmp_path_factory.mktemp("cache")
    with batches() as calls:
        found = run(loaded, cache)
    assert len(calls) >= 6
    return found, len(calls), cache


def test_a_stopped_audit_goes_on_where_it_was_to_the_same_bytes(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path], tmp_path: Path
) -> None:
    expected, number, _ = whole
    out, cache = tmp_path / "out", tmp_path / "cache"
    middle = number // 2 + 1
    with pytest.raises(Stopped), batches(stop_at=middle) as first:
        run(loaded, cache, out)
    assert not out.exists()
    with batches() as second:
        found = run(loaded, cache, out)
    assert json.dumps(found) == json.dumps(expected)
    assert len(first) == middle and len(first) + len(second) == number
    written = json.loads((out / "results.json").read_text())
    assert 0 < written["cost"]["this_run"]["kept"] < 1


def test_without_a_cache_everything_is_measured_again_and_comes_out_the_same(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path]
) -> None:
    with batches() as calls:
        assert json.dumps(run(loaded, None)) == json.dumps(whole[0])
    assert len(calls) == whole[1]


def test_an_equal_audit_measures_nothing(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path]
) -> None:
    with batches(stop_at=0):
        assert json.dumps(run(loaded, whole[2])) == json.dumps(whole[0])
        # Strengths that were measured are there for other grids as well.
        run(loaded, whole[2], strengths=[1.0])


@pytest.mark.parametrize(
    "change",
    [
        {"intervention": "another"},
        {"strengths": [0.25]},
        {"limit": 41},
        {"seeds": (1,)},
    ],
)
def test_other_inputs_are_measured(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path], change: dict[str, Any]
) -> None:
    if "intervention" in change:
        change = {"intervention": edit(loaded, seed=1)}
    with pytest.raises(Stopped), batches(stop_at=0):
        run(loaded, whole[2], **change)


def test_one_changed_weight_is_another_model_even_where_the_fingerprint_does_not_look() -> None:
    one, other = tiny("Llama", 0), tiny("Llama", 0)
    assert weights_digest(one) == weights_digest(other) is not None
    norm = other.anatomy.site("final.norm").module
    with torch.no_grad():
        norm.weight[0] += 1e-3
    assert one.fingerprint.matches(other.fingerprint)
    assert weights_digest(one) != weights_digest(other)
    for change in (
        lambda weight: weight.copy_(weight.flip(0)),
        lambda weight: weight.copy_(weight.flip(1)),
        lambda weight: weight[3, 5].mul_(-1),
    ):
        third = tiny("Llama", 0)
        with torch.no_grad():
            change(third.model.get_input_embeddings().weight)
        assert weights_digest(third) != weights_digest(one)
    assert weights_digest(replace(one, model=tiny("Llama", 0).model.bfloat16())) != weights_digest(one)


def test_of_a_model_that_something_else_steers_nothing_is_kept(
    whole: tuple[dict[str, Any], int, Path], tmp_path: Path
) -> None:
    steered = tiny("Llama", 0)
    with attach(steered, edit(steered, seed=3), 1.0):
        assert weights_digest(steered) is None
        found = run(steered, whole[2], intervention=None)
        run(steered, tmp_path / "cache", intervention=None)
    assert not (tmp_path / "cache").exists()
    assert found["runs"][0]["metrics"] != whole[0]["runs"][0]["metrics"]


def test_a_mitigation_is_known_by_what_it_does(loaded: LoadedModel) -> None:
    one, other = Steering(edit(loaded)), Steering(edit(loaded, seed=1))
    assert one.digest == Steering(edit(loaded)).digest != other.digest
    told = together([one, Prompting("Be fair.")])
    assert told.digest not in (one.digest, together([one, Prompting("Be brief.")]).digest)
    a, b = torch.ones(2, 48), torch.ones(48, 2)
    adapters = [Adapter({"x": (a, b)}, 4.0), Adapter({"x": (a, b)}, 5.0), Adapter({"y": (a, b)}, 4.0)]
    adapters.append(Adapter({"x": (a, b + 1e-3)}, 4.0))
    assert len({each.digest for each in adapters}) == 4
    assert Adapter({"x": (a.clone(), b.clone())}, 4.0, Provenance("dpo")).digest == adapters[0].digest

    class Strange(Steering):
        digest = None  # type: ignore[assignment]

    assert Together((Strange(edit(loaded)), Prompting("Be fair."))).digest is None


def test_what_only_adjusts_scores_is_measured_on_the_base_models(
    whole: tuple[dict[str, Any], int, Path], loaded: LoadedModel
) -> None:
    warm = [run(loaded, cache, intervention=Temperature(2.0)) for cache in (whole[2], None)]
    with batches(stop_at=0):
        run(loaded, whole[2], intervention=Temperature(3.0))
    assert warm[0]["runs"] == warm[1]["runs"]
    figures = [each["metrics"]["per_occupation_bias"]["value"] for each in warm[0]["runs"]]
    assert figures[0] != figures[-1]
    assert together([Temperature(2.0), Prompting("Be fair.")]).digest == Prompting("Be fair.").digest


def test_nothing_is_kept_of_what_has_no_digest(loaded: LoadedModel, tmp_path: Path) -> None:
    class Strange(Steering):
        digest = None  # type: ignore[assignment]

    found = [run(loaded, tmp_path, intervention=Strange(edit(loaded))) for _ in range(2)]
    with batches() as calls:
        run(loaded, tmp_path, intervention=Strange(edit(loaded, seed=1)))
    assert calls and found[0]["runs"] == found[1]["runs"]


def test_damaged_lines_are_measured_again_with_a_word(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        run(loaded, cache)
    journals = sorted(cache.rglob("answers-*.jsonl"))
    lines = journals[0].read_text().splitlines()
    # A digit that an error changed, and a write that was cut.
    lines[3] = re.sub(r"-(\d)\.", lambda m: f"-{(int(m[1]) + 1) % 10}.", lines[3], count=1)
    journals[0].write_text("\n".join(lines)[:-9])
    with pytest.warns(InputWarning, match="2 damaged lines are left out"), batches() as calls:
        assert json.dumps(run(loaded, cache)) == json.dumps(whole[0])
    assert 1 <= len(calls) <= 2
    with pytest.warns(InputWarning, match="2 damaged lines"), batches(stop_at=0):
        run(loaded, cache)


def test_where_nothing_can_be_written_it_measures_all_the_same(
    loaded: LoadedModel, whole: tuple[dict[str, Any], int, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(InputWarning, match="--no-cache") as caught:
        assert json.dumps(run(loaded, tmp_path / "file" / "cache")) == json.dumps(whole[0])
    assert len([one for one in caught if issubclass(one.category, InputWarning)]) == 1


def test_a_comparison_measures_nothing_twice(tmp_path: Path) -> None:
    given = {"clean": clean(), "dear": dear()}
    settings: dict[str, Any] = {"passages": 6, "strengths": (0.5, 1.0), "cache": tmp_path}
    with batches() as calls:
        first = compare(planted(), TinyTask(), given, **settings)
    assert calls
    with batches(stop_at=0):
        assert compare(planted(), TinyTask(), given, **settings).to_dict() == first.to_dict()


def test_the_place_is_documented_and_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert default_folder() is None  # tests set EQUIPOISE_NO_CACHE
    monkeypatch.delenv("EQUIPOISE_NO_CACHE")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "scores"


def test_every_item_is_in_the_scores_with_what_the_metrics_are_made_of(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    results = run(loaded, None, tmp_path)
    head, *lines = map(json.loads, (tmp_path / "scores.jsonl").read_text().splitlines())
    assert [one["strength"] for one in head["settings"]] == [0.0, 0.5, 1.0]
    ambiguous = [line for line in lines if line.get("part") == "ambiguous"]
    assert len(ambiguous) == results["runs"][0]["n"]
    for place, of_setting in enumerate(results["runs"]):
        right = [
            g["right"] for line in lines for g in line["given"] if "right" in g and g["setting"] == place
        ]
        accuracy = of_setting["metrics"]["unambiguous_accuracy"]
        assert sum(right) / len(right) == pytest.approx(accuracy["value"]) and len(right) == accuracy["n"]
        shares = [g["p"] for line in ambiguous for g in line["given"] if g["setting"] == place]
        gap = sum((p[0] - p[1]) / sum(p) for p in shares) / len(shares)
        assert gap == pytest.approx(of_setting["metrics"]["stereotype_gap"]["value"], abs=1e-6)
        texts = [
            (g["kl"], line["tokens"])
            for line in lines
            if "text" in line
            for g in line["given"]
            if g["setting"] == place
        ]
        kl = sum(k for k, _ in texts) / sum(n for _, n in texts)
        assert kl == pytest.approx(of_setting["metrics"]["kl_to_base"]["value"])
