"""What steering costs at run time: live and folded, against the plain model, on smollm2.

Two things are timed: one decoded token after 32 in the cache, and one forward pass of the backbone on a batch
[32, 64]. Plain, live and folded take turns in one process; a ratio is that of neighbours in time. Attaching is not
timed.

python benchmarks/steering.py [--decoded ROUNDS] [--batches ROUNDS]
"""

import argparse
from collections.abc import Callable

import torch
from timing import interleaved, ratios, seconds, shown, spread, write
from transformers import DynamicCache

from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel, load

MODEL = "smollm2"
CACHED, TOKENS = 32, 4  # tokens in the cache; tokens decoded, each after exactly these, for one time
ROWS, LENGTH = 32, 64


def every_norm(loaded: LoadedModel) -> Intervention:
    """A small random scale and shift at every norm: DSO's shape without its zeros."""
    generator = torch.Generator().manual_seed(0)
    return Intervention(
        {
            norm.site: AffineEdit(*(0.02 * torch.randn(2, norm.width, generator=generator)))
            for norm in loaded.anatomy.norms
        }
    )


def decoding(loaded: LoadedModel, ids: torch.Tensor) -> Callable[[], float]:
    """Seconds of one decoded token."""

    def run() -> float:
        cache = DynamicCache(config=loaded.model.config)
        loaded.model(ids, past_key_values=cache, logits_to_keep=1)

        def decode() -> None:
            for _ in range(TOKENS):
                loaded.model(ids[:, -1:], past_key_values=cache)
                cache.crop(-1)

        return seconds(decode) / TOKENS

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="What steering costs at run time.")
    parser.add_argument("--decoded", type=int, default=60, help="rounds of decoding")
    parser.add_argument("--batches", type=int, default=12, help="rounds of forward passes")
    arguments = parser.parse_args()
    loaded = load(MODEL)
    intervention = every_norm(loaded)
    ids = torch.randint(100, 10_000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    works = {
        "decoded token": (decoding(loaded, ids[:1, :CACHED]), arguments.decoded),
        f"batch [{ROWS}, {LENGTH}]": (
            lambda: seconds(lambda: loaded.anatomy.backbone(input_ids=ids, use_cache=False)),
            arguments.batches,
        ),
    }

    def steered(work: Callable[[], float], fold: bool) -> Callable[[], float]:
        def run() -> float:
            with attach(loaded, intervention, fold=fold):
                return work()

        return run

    figures = {}
    with torch.inference_mode():
        for name, (work, rounds) in works.items():
            taken = interleaved(
                {"plain": work, "live": steered(work, False), "folded": steered(work, True)}, rounds
            )
            found = {"rounds": rounds, "plain_seconds": spread(taken["plain"]), **ratios(taken, "plain")}
            figures[name] = found
            print(f"{name}: plain {shown(found['plain_seconds'], 1000)} ms", flush=True)
            for way in ("live", "folded"):
                print(f"  {way} / plain {shown(found[way])}")
    write("steering", {"model": MODEL, "figures": figures})


if __name__ == "__main__":
    main()
