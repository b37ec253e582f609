"""lm_eval over steered models: run with an interpreter that has lm_eval (``pip install 'equipoise[lm-eval]'``)."""

import json
import os
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from interventions.samples import intervention, logits
from scoring.samples import item
from tiny import BOS, tiny

import equipoise
from equipoise import InputError
from equipoise.interventions import Intervention, answers_start, attach
from equipoise.models import LoadedModel, load
from equipoise.scoring import generate, score_options

lm_eval = pytest.importorskip("lm_eval")

OPTIONS = (" he was busy", " she was late", " they did not like the plan")
PROMPTS = (
    "The nurse said that",
    "My uncle is the mechanic;",
    "Once upon a time there was a developer who said",
)
ITEMS = [item(prompt, OPTIONS, number) for number, prompt in enumerate(PROMPTS)]
TASK = """task: tiny_choice
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: 0
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, files of interventions for it, and a local task."""
    folder = tmp_path_factory.mktemp("harness")
    one = tiny("Llama")
    one.model.save_pretrained(folder / "model")
    one.tokenizer.save_pretrained(folder / "model")
    intervention(one).save(folder / "all.safetensors")
    intervention(one, ("mlp",), seed=1, scope="answer").save(folder / "answer.safetensors")
    data = folder / "data.jsonl"
    rows = [json.dumps({"prompt": prompt, "options": list(OPTIONS)}) for prompt in PROMPTS]
    data.write_text("\n".join(rows) + "\n")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "tiny_choice.yaml").write_text(TASK.format(data=data))
    return folder


def made(place: Path, **arguments: Any) -> Any:
    from equipoise.harness.model import EquipoiseLM

    return EquipoiseLM(str(place / "model"), **arguments)


def asked(kind: str, *pairs: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, pair, number) for number, pair in enumerate(pairs)]


def loaded_from(place: Path) -> LoadedModel:
    return load(place / "model", dtype="float32")


@pytest.mark.parametrize("files", ["all", "answer", "all+answer"])
def test_log_likelihoods_are_those_of_our_scoring(place: Path, files: str) -> None:
    names = [str(place / f"{name}.safetensors") for name in files.split("+")]
    model = made(place, intervention="+".join(names), strength=0.6, batch_size=4)
    pairs = [(one.prompt, option) for one in ITEMS for option in OPTIONS]
    found = torch.tensor([one[0] for one in model.loglikelihood(asked("loglikelihood", *pairs), True)])
    own = loaded_from(place)
    with attach(own, [Intervention.load(name) for name in names], 0.6):
        wanted = torch.from_numpy(score_options(own, ITEMS).logp).flatten()
    base = torch.from_numpy(score_options(own, ITEMS).logp).flatten()
    assert torch.allclose(found.double(), wanted, atol=2e-4)
    assert float((wanted - base).abs().max()) > 0.1  # the twin: steering shows


def test_strength_zero_is_lm_evals_own_model(place: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    pairs = [(one.prompt, option) for one in ITEMS for option in OPTIONS]
    theirs = HFLM(str(place / "model"), device="cpu", dtype="float32", batch_size=4)
    wanted = theirs.loglikelihood(asked("loglikelihood", *pairs), True)
    for given in ({}, {"intervention": str(place / "all.safetensors"), "strength": 0.0}):
        assert (
            made(place, batch_size=4, **given).loglikelihood(asked("loglikelihood", *pairs), True) == wanted
        )


def test_a_text_without_a_prompt_is_steered_as_a_whole(place: Path) -> None:
    file = str(place / "answer.safetensors")
    text = "Once upon a time there was a nurse."
    (found,) = made(place, intervention=file).loglikelihood_rolling(
        asked("loglikelihood_rolling", (text,)), True
    )
    own = loaded_from(place)
    ids = torch.tensor([[BOS, *own.tokenizer(text, add_special_tokens=False).input_ids]])
    with attach(own, Intervention.load(file)), answers_start(own, 0):
        scores = logits(own, ids)[0, :-1].log_softmax(-1)
    wanted = float(scores.gather(1, ids[0, 1:, None]).sum())
    assert found == pytest.approx(wanted, rel=1e-5)
    assert wanted != pytest.approx(
        float(logits(own, ids)[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).sum())
    )


def test_greedy_texts_are_those_that_we_write(place: Path) -> None:
    for name in ("all", "answer"):
        file = str(place / f"{name}.safetensors")
        settings = {"until": ["</s>"], "max_gen_toks": 12, "do_sample": False}
        model = made(place, intervention=file, batch_size=3)
        found = model.generate_until(asked("generate_until", *((p, settings) for p in PROMPTS)), True)
        own = loaded_from(place)
        with attach(own, Intervention.load(file)):
            assert found == generate(own, PROMPTS, max_new_tokens=12)
        assert found != generate(own, PROMPTS, max_new_tokens=12)


def run(command: list[str], place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [
        "--model",
        "equipoise",
        "--include_path",
        str(place / "tasks"),
        "--tasks",
        "tiny_choice",
        *more,
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(place / "cache")}
    environment["PYTHONPATH"] = str(Path(equipoise.__file__).parents[1])
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=place
    )


@pytest.mark.slow
def test_the_command_evaluates_a_local_task(place: Path) -> None:
    given = f"pretrained={place / 'model'},intervention={place / 'all.safetensors'},strength=0.6"
    out = place / "results"
    launcher = [sys.executable, "-m", "equipoise.harness"]
    done = run(launcher, place, "--model_args", given, "--output_path", str(out), "--log_samples")
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = out.rglob("results_*.json")
    results = json.loads(file.read_text())
    own = loaded_from(place)
    with attach(own, Intervention.load(place / "all.safetensors"), 0.6):
        wanted = score_options(own, ITEMS)
    assert results["results"]["tiny_choice"]["acc,none"] == pytest.approx((wanted.choice == 0).mean())
    assert results["config"]["equipoise"]["strength"] == 0.6
    (file,) = out.rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    seen = [[float(pair[0][0]) for pair in row["resps"]] for row in rows]
    assert torch.allclose(torch.tensor(seen).double(), torch.from_numpy(wanted.logp), atol=2e-4)


@pytest.mark.slow
def test_lm_eval_itself_knows_the_model_where_we_are_installed(place: Path) -> None:
    script = Path(sys.executable).with_name("lm_eval")
    hook = [Path(folder) / "equipoise-lm-eval.pth" for folder in site.getsitepackages()]
    if not script.is_file() or not any(path.is_file() for path in hook):
        pytest.skip("equipoise isn't installed beside lm_eval, but read from its source")
    done = run([str(script)], place, "--model_args", f"pretrained={place / 'model'}", "--limit", "1")
    assert done.returncode == 0 and "tiny_choice" in done.stdout, done.stderr[-3000:]


@pytest.mark.slow
def test_bad_input_is_one_line(place: Path) -> None:
    launcher = [sys.executable, "-m", "equipoise.harness"]
    done = run(
        launcher, place, "--model_args", f"pretrained={place / 'model'},intervention=nowhere.safetensors"
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("equipoise: nowhere.safetensors: no such file")
    assert "Traceback" not in done.stderr


def test_what_is_refused(place: Path) -> None:
    for given, words in (
        ({"strength": -1}, "strength -1.0 must be"),
        ({"strength": "much"}, "strength=much: it must be a number"),
        ({"peft": "x"}, "--model_args peft: there are pretrained, intervention"),
        ({"intervention": "nowhere.safetensors"}, "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            made(place, **given)
    other = place / "other.safetensors"
    if not other.exists():
        intervention(tiny("Mistral")).save(other)
    with pytest.raises(InputError, match="fitted on another model"):
        made(place, intervention=str(other))
