"""The same items through lm_eval's own Hugging Face model: equal log-likelihoods, so equal accuracies."""

import random
from pathlib import Path

import numpy as np
import pytest
from tasks.suite_files import crows_pairs
from tiny import tiny

from equipoise.scoring import encode_all, rolling_nll, window_length
from equipoise.scoring.rolling import LONGEST_WINDOW
from equipoise.tasks import ARC, MMLU, ClosedSuite, CrowsPairs
from equipoise.tasks.wikitext import ordinary
from equipoise.workflows.suites import evidence

pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install lm-eval")


def model(length: int = 256):
    loaded = tiny("Llama", 0)
    from lm_eval.models.huggingface import HFLM

    return loaded, HFLM(
        pretrained=loaded.model, tokenizer=loaded.tokenizer, backend="causal", batch_size=4, max_length=length
    )


def requests(pairs: list[tuple[str, ...]], kind: str) -> list[object]:
    from lm_eval.api.instance import Instance

    return [Instance(request_type=kind, doc={}, arguments=pair, idx=n) for n, pair in enumerate(pairs)]


def suite(name: str, folder: Path) -> ClosedSuite:
    if name == "crows-pairs":
        return CrowsPairs(crows_pairs(folder, 8))
    rows = [
        f"What is task {n}?,the nurse,a long walk home,the doctor {n},old people,{'ABCD'[n % 4]}"
        for n in range(8)
    ]
    if name == "arc":
        (folder / "arc.csv").write_text("\n".join(rows) + "\n")
        return ARC(folder / "arc.csv")
    for part in ("dev", "val"):
        (folder / part).mkdir()
        (folder / part / f"art_{part}.csv").write_text("\n".join(rows) + "\n")
    return MMLU(folder, shots=0)


@pytest.mark.parametrize("name", ["mmlu", "arc", "crows-pairs"])
def test_options_have_lm_evals_log_likelihoods(name: str, tmp_path: Path) -> None:
    loaded, theirs = model()
    items = suite(name, tmp_path).items()
    ours = evidence(loaded, encode_all(loaded, items)).logp
    asked = [(str(item.prompt), option) for item in items for option in item.options]
    found = np.array([value for value, _ in theirs.loglikelihood(requests(asked, "loglikelihood"))])
    assert ours == pytest.approx(found.reshape(ours.shape), rel=1e-3, abs=1e-3)
    assert (ours.argmax(1) == found.reshape(ours.shape).argmax(1)).all()


def test_wikitext_is_spelt_as_lm_eval_spells_it() -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    parts = ["s", "'", " ", '"', "(", ")", "[", "]", "{", "}", "=", "\n", "a", "N", " ° ", "'s", "3"]
    parts += [f" @{mark}@ " for mark in "-,."] + [f" {mark} " for mark in ",.:;!?"]
    generator = random.Random(0)
    for _ in range(2000):
        text = "".join(generator.choices(parts, k=20))
        assert ordinary(text) == wikitext_detokenizer({"page": text})


@pytest.mark.parametrize("architecture", ["Llama", "GPT2", "BLOOM"])
def test_windows_are_as_long_as_lm_evals_up_to_a_bound(architecture: str) -> None:
    from lm_eval.models.utils import resolve_max_length

    loaded = tiny(architecture, 0)
    for positions in (256, 8192):
        if getattr(loaded.model.config, "max_position_embeddings", None) is not None:
            loaded.model.config.max_position_embeddings = positions
        theirs = resolve_max_length(loaded.model.config, loaded.tokenizer)
        assert window_length(loaded) == min(theirs, LONGEST_WINDOW)


def test_whole_texts_have_lm_evals_rolling_log_likelihood() -> None:
    loaded, theirs = model(64)
    texts = ["The nurse said that she was late. " * 20, "Old people never finish a task."]
    found = theirs.loglikelihood_rolling(requests([(text,) for text in texts], "loglikelihood_rolling"))
    assert rolling_nll(loaded, texts, length=64) == pytest.approx(-np.array(found), rel=1e-3)
