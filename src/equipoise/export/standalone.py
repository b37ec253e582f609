"""How a checkpoint is looked at by a stock loader; also runs as a script of its own, without this library.

``python -P standalone.py REQUEST.json`` loads a saved model with transformers alone, compares its logits with reference
ones, continues the prompts greedily, and writes what it saw as JSON. Nothing of equipoise is imported here, and the
script says whether it was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor


@torch.no_grad()
def greedy(
    model: Any, prompts: Sequence[Sequence[int]], new: int, pad: int, ends: Sequence[int]
) -> list[list[int]]:
    """The greedy continuation of each prompt, up to ``new`` tokens or an end token, which it includes.

    All prompts in one batch padded on the left, with a cache: as an engine would.
    """
    width = max(len(row) for row in prompts)
    ids = torch.tensor([[*[pad] * (width - len(row)), *row] for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    theirs = model.generation_config
    settings: Any = transformers.GenerationConfig
    model.generation_config = settings(pad_token_id=pad, eos_token_id=list(ends) or None)
    try:
        out = model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False)
    finally:
        model.generation_config = theirs
    rows = [row[width:].tolist() for row in out]
    stops = [next((i for i, token in enumerate(row) if token in ends), len(row) - 1) for row in rows]
    return [row[: stop + 1] for row, stop in zip(rows, stops, strict=True)]


@torch.no_grad()
def answer_logits(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Logits [len(answer), vocabulary] in fp32 on the CPU for each token of ``answer``, given what is before it."""
    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits[0, len(prompt) - 1 : -1].float().cpu()


def kept(length: int, most: int) -> Tensor:
    """Which of ``length`` positions are compared: all, or ``most`` spread evenly with both ends."""
    return torch.linspace(0, length - 1, min(length, most)).round().long()


def compare(reference: Tensor, seen: Tensor) -> dict[str, float]:
    """Of two sets of logits [n, vocabulary]: largest difference and logit, summed KL(reference ‖ seen), same tops."""
    p, q = reference.double().log_softmax(-1), seen.double().log_softmax(-1)
    kl = (p.exp() * (p - q)).nan_to_num(0.0).sum(-1).clamp_min(0)
    gap = torch.where(reference == seen, torch.zeros_like(seen), (reference - seen).abs())
    return {
        "difference": float(gap.nan_to_num(nan=float("inf")).max()),
        "size": float(reference[torch.isfinite(reference)].abs().max()),
        "kl": float(kl.sum()),
        "worst_kl": float(kl.max()),
        "same_top": float((reference.argmax(-1) == seen.argmax(-1)).sum()),
        "n": float(len(reference)),
    }


def look(
    model: Any, rows: Sequence[dict[str, Any]], references: Iterator[Tensor], request: dict[str, Any]
) -> dict[str, Any]:
    """Greedy texts and comparisons for each of ``rows``, which have a "prompt" and the reference's "answer"."""
    prompts = [row["prompt"] for row in rows]
    answers = greedy(model, prompts, request["new_tokens"], request["pad"], request["ends"])
    found = []
    for row, answer, reference in zip(rows, answers, references, strict=True):
        seen = answer_logits(model, row["prompt"], row["answer"])
        found.append({"answer": answer, **compare(reference, seen[kept(len(seen), request["positions"])])})
    return {"rows": found}


def main(path: str) -> None:
    """Carry out the request in the JSON file ``path``; see :mod:`equipoise.export.parity`, which writes it."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    loader = getattr(transformers, request["loader"])
    # float32 or whatever the file says, on the CPU unless told otherwise.
    model, report = loader.from_pretrained(request["folder"], dtype="auto", output_loading_info=True)
    model = model.eval().to(request["device"])
    with safe_open(request["references"], framework="pt") as file:
        references = (file.get_tensor(str(i)) for i in range(len(request["rows"])))
        found = look(model, request["rows"], references, request)
    found["class"] = type(model).__name__
    found["dtype"] = str(model.dtype).removeprefix("torch.")
    found["missing"], found["unexpected"] = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    found["without_equipoise"] = not any(name.partition(".")[0] == "equipoise" for name in sys.modules)
    Path(request["out"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
