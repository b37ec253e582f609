"""Probe and generate --detect: from statements to files, and from files to text that is steered where it is biased."""

import json
from pathlib import Path

import pytest
from interventions.samples import model as tiny_model

import equipoise as eq
from equipoise.analysis import Detector, ProbeSettings
from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.interventions import Intervention
from equipoise.tasks import Statement
from equipoise.workflows import Probed, probe

QUICK = ProbeSettings(folds=3, shuffles=1)
PEOPLE = ("mechanic", "nurse", "teacher", "doctor", "designer", "cleaner", "developer", "aunt")
DOING = ("was late", "was busy", "left")


def told(ending: dict[str, str], category: str) -> list[Statement]:
    """24 pairs whose last word, and nothing else, depends on the label as ``ending`` says."""
    return [
        Statement(f"The {person} {doing} because of {word}", category, label, f"{person} {doing}")  # type: ignore[arg-type]
        for person in PEOPLE
        for doing in DOING
        for label, word in ending.items()
    ]


PLANTED = told({"biased": "her", "neutral": "the plan"}, "planted")
# One of the twins has a full stop, and which one depends on the pair's number alone: nothing to learn.
EMPTY = [
    Statement(one.text.rsplit(" of ", 1)[0] + ending, "empty", one.label, one.group)
    for number in range(0, len(PLANTED), 2)
    for one, ending in zip(PLANTED[number : number + 2], ("", ".") if number % 4 else (".", ""), strict=True)
]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Probed, Path]:
    out = tmp_path_factory.mktemp("probed")
    found = probe(tiny_model("Llama"), [*PLANTED, *EMPTY], settings=QUICK, out=out)
    return found, out


def test_what_is_planted_is_detected_and_what_is_not_is_not(probed: tuple[Probed, Path]) -> None:
    results = probed[0].results
    planted, empty = results.category("planted"), results.category("empty")
    assert planted.heldout.value == 1 and planted.heldout.low > 0.5
    assert planted.layer(planted.best).accuracy.value == 1
    assert empty.heldout.low < 0.5
    assert (planted.groups, planted.heldout_groups) == (18, 6)
    for one in (planted, empty):
        assert {layer.site for layer in one.layers} == {
            f"block.{i}.{kind}" for i in range(3) for kind in ("out", "heads")
        }
        assert one.steered.endswith(".out")


def test_the_files_are_what_was_returned(probed: tuple[Probed, Path]) -> None:
    found, out = probed
    written = json.loads((out / "probes.json").read_text())
    assert written == json.loads(json.dumps(found.results.to_dict()))
    for entry in written["categories"]:
        detector = Detector.load(out / entry["detector"]["file"])
        detector.check(tiny_model("Llama"))
        assert detector.site == entry["detector"]["site"]
        assert detector.provenance.seed == 0 and detector.provenance.data is not None
        vector = Intervention.load(out / entry["steering"]["file"])
        shift = vector.edits[entry["steering"]["site"]].shift
        assert shift is not None
        assert float(shift.norm()) == pytest.approx(0.1 * entry["steering"]["typical_norm"], rel=1e-4)
    page = (out / "report.html").read_text()
    assert "planted" in page and "<svg" in page and "http" not in page.replace("http://www.w3.org", "")


def test_the_vector_points_from_biased_to_neutral(probed: tuple[Probed, Path]) -> None:
    """Moved along the vector, biased statements look less biased to the detector of the same site."""
    loaded, found = tiny_model("Llama"), probed[0]
    vector, detector = found.interventions["planted"], found.detectors["planted"]
    (site,) = vector.edits
    shift = vector.edits[site].shift
    assert shift is not None
    if site == detector.site:
        assert float(shift @ detector.weight) < 0
    scores = detector.scores(loaded, [one.text for one in PLANTED])
    assert all((p > 0.5) == (one.label == "biased") for p, one in zip(scores, PLANTED, strict=True))


def test_the_same_seed_gives_the_same_and_another_one_another(probed: tuple[Probed, Path]) -> None:
    loaded = tiny_model("Llama")
    again = probe(loaded, [*PLANTED, *EMPTY], categories=["empty"], settings=QUICK)
    assert again.results.categories[0].layers == probed[0].results.category("empty").layers
    other = probe(loaded, EMPTY, settings=QUICK, seed=1)
    assert other.results.categories[0].layers != again.results.categories[0].layers


def test_generate_steers_where_it_fires_and_reports_the_same_scores(probed: tuple[Probed, Path]) -> None:
    loaded, (found, out) = tiny_model("Llama"), probed
    detector = found.detectors["planted"]
    vector = 30.0 * found.interventions["planted"]
    prompts = ["The nurse left because of her", "The nurse left because of the plan"]
    one, two = eq.generate(loaded, prompts, intervention=vector, detect=detector, max_new_tokens=1)
    assert one.detection is not None and two.detection is not None
    assert one.detection.prompt > 0.5 and one.detection.share == 1
    assert two.detection.prompt < 0.5 and two.detection.share == 0
    assert two.steered == two.base and two.detection.steered == two.detection.base
    assert one.to_dict()["detection"]["category"] == "planted"
    plain = eq.generate(loaded, prompts, intervention=vector, max_new_tokens=1)
    assert one.steered == plain[0].steered
    assert [g.base for g in (one, two)] == [g.base for g in plain]
    # Without an intervention it only scores.
    (scored,) = eq.generate(loaded, prompts[0], detect=out / "detector-planted.safetensors", max_new_tokens=1)
    assert scored.steered is None and scored.detection is not None
    assert scored.detection.prompt == pytest.approx(one.detection.prompt, rel=1e-4)
    assert scored.detection.steered is None and scored.detection.share is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": ["size"]}, "no category 'size'"),
        ({"kinds": ("heads",)}, "'out' must be among them"),
        ({"reading": "first"}, "use last or mean"),
        ({"threshold": 1.0}, "threshold is 1"),
        ({"steering": 0.0}, "length is 0"),
        ({"settings": {"layers": "3"}}, "no setting 'layers'"),
        ({"settings": {"folds": "1"}}, "folds is 1"),
        ({"seed": -1}, "seeds"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probe("no/such/model", PLANTED, **changes)  # type: ignore[arg-type]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = tiny_model("Llama")
    folder, out, data = tmp_path / "model", tmp_path / "out", tmp_path / "data.json"
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    rows = [
        {"statement": one.text, "category": one.category, "label": one.label, "group": one.group}
        for one in PLANTED
    ]
    data.write_text(json.dumps(rows))
    command = ["probe", str(folder), "--statements", str(data), "--out", str(out), "--set", "shuffles=0"]
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert "planted" in printed and "report.html" in printed
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(before) == {
        "probes.json",
        "report.html",
        "detector-planted.safetensors",
        "steering-planted.safetensors",
    }
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    detector, vector = str(out / "detector-planted.safetensors"), str(out / "steering-planted.safetensors")
    generate = ["generate", str(folder), "--prompt", "The nurse left because of her", "--max-new-tokens", "2"]
    assert run([*generate, "--detect", detector, "--intervention", vector, "--strength", "2"]) == 0
    printed = capsys.readouterr().out
    assert (
        "P(planted bias)" in printed and "steered 100 %" in " ".join(printed.split())
    ) or "steered 50 %" in printed
    assert run(["info", detector]) == 0
    assert "planted" in capsys.readouterr().out
    assert run([*generate, "--detect", vector]) == 2
    assert "not a detector" in capsys.readouterr().err
