"""Scoring closed answers in bf16, against the fastest stock call in fp32, on the same padded prompts of ``pronouns``.

The ways differ in what they run, not in what they ask: the next token's log-probabilities after every prompt. They
take turns in one process. Every result keeps its distance from fp32's in log-probability of the answers.

python benchmarks/scoring.py [--rounds ROUNDS]
"""

import argparse
import sys
from collections.abc import Callable

import torch
from timing import interleaved, ratios, seconds, shown, spread, write
from torch import Tensor

from equipoise.methods.dso.working_copy import multiplies_bf16
from equipoise.models import LoadedModel, load
from equipoise.scoring import batch_logprobs, collate, encode_all
from equipoise.tasks import load_task

MODEL, TASK, ROWS = "smollm2", "pronouns", 64


def main() -> None:
    parser = argparse.ArgumentParser(description="Scoring in bf16 and fp32.")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    if not multiplies_bf16():
        print("skipped: this CPU has no AMX and no AVX-512 BF16, and bf16 would be slower than fp32 on it")
        sys.exit()
    exact, fast = load(MODEL), load(MODEL, dtype="bfloat16")
    items = load_task(TASK).items()[:: max(1, len(load_task(TASK).items()) // ROWS)][:ROWS]
    encoded = encode_all(exact.tokenizer, items)
    batch = collate(encoded, range(len(encoded)))
    if batch.rest is not None:
        raise SystemExit("this benchmark needs answers of one token")
    ids, last, rows = batch.prompts, batch.last, torch.arange(len(encoded))
    mask = (torch.arange(ids.shape[1]) <= last[:, None]).long()

    def answers(logits: Tensor) -> Tensor:
        return logits.float().log_softmax(-1).gather(1, batch.first)

    def plain(loaded: LoadedModel) -> Tensor:
        """The call that comes first to mind: logits of every position."""
        return answers(loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[rows, last])

    def kept(loaded: LoadedModel) -> Tensor:
        """transformers' own option: logits at prompts' ends only, and no mask, as padding follows."""
        ends, where = last.unique(return_inverse=True)
        found = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=ends)
        return answers(found.logits[rows, where])

    def stock(loaded: LoadedModel) -> Tensor:
        """The least that stock modules can compute: the backbone, then the head on the last states."""
        hidden = loaded.model.model(input_ids=ids, use_cache=False).last_hidden_state
        return answers(loaded.model.lm_head(hidden[rows, last]))

    def ours(loaded: LoadedModel) -> Tensor:
        """Equipoise: the backbone, then the head on the last states alone."""
        return batch_logprobs(loaded, batch)[0]

    ways: dict[str, Callable[[], Tensor]] = {
        "stock fp32": lambda: stock(exact),
        "logits_to_keep fp32": lambda: kept(exact),
        "plain fp32": lambda: plain(exact),
        "equipoise fp32": lambda: ours(exact),
        "plain bf16": lambda: plain(fast),
        "equipoise bf16": lambda: ours(fast),
    }
    with torch.inference_mode():
        reference = ways["plain fp32"]()
        distances = {name: float((way() - reference).abs().max()) for name, way in ways.items()}
        taken = interleaved(
            {name: lambda way=way: seconds(way) for name, way in ways.items()}, arguments.rounds
        )
    fastest = min(
        ("stock fp32", "logits_to_keep fp32", "plain fp32"), key=lambda name: spread(taken[name])["median"]
    )
    found = ratios(taken, fastest)
    print(
        f"{len(encoded)} prompts of up to {ids.shape[1]} tokens; reference: {fastest}, the fastest stock call"
    )
    for name, values in taken.items():
        ratio = "" if name == fastest else f"  / reference {shown(found[name])}"
        print(f"{name:20s} {shown(spread(values), 1000)} ms{ratio}  max |Δ log p| {distances[name]:.2g}")
    write(
        "scoring",
        {
            "model": MODEL,
            "task": TASK,
            "rows": len(encoded),
            "tokens": ids.shape[1],
            "rounds": arguments.rounds,
            "reference": fastest,
            "seconds": {name: spread(values) for name, values in taken.items()},
            "ratios": found,
            "max_abs_difference_of_logprob": distances,
        },
    )


if __name__ == "__main__":
    main()
