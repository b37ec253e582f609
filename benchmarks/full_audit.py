"""A whole audit: every built-in task at eleven strengths, and how much of the machine it uses.

What is reported: time by part, tokens computed beside those in unique prefixes, and the products of the backbone's
matrices (two operations a weight and token) beside what one large matrix product reaches on the same threads. The
head's products and attention's are left out, so the share is a lower bound. The edit is a small random one at every
norm, unless a file is given: what an audit costs doesn't depend on its numbers.

python benchmarks/full_audit.py [--model MODEL] [--intervention FILE] [--limit N] [--dtype TYPE] [--rounds ROUNDS]
"""

import argparse

import torch
from timing import seconds, spread, write

from equipoise.interventions import AffineEdit, Intervention, Provenance
from equipoise.models import LoadedModel, load
from equipoise.tasks import task_names
from equipoise.workflows import audit
from equipoise.workflows.audit import GRID, LIMIT

SIZE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of a full audit.")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--intervention")
    parser.add_argument("--limit", type=int, default=LIMIT, help="held-out items of each part; 0 takes all")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    loaded = load(arguments.model, dtype=arguments.dtype)
    tasks = [name for name in task_names() if ":" not in name]
    before = products(loaded.dtype, arguments.rounds)
    results = audit(
        loaded,
        tasks,
        intervention=arguments.intervention or small(loaded),
        strengths=GRID,
        limit=arguments.limit or None,
        progress=lambda done, message: print(f"{100 * done:3.0f} % {message}", flush=True),
    )
    # Before and after: what else runs on the machine changes.
    rate = spread([*before, *products(loaded.dtype, arguments.rounds)])
    cost = results.extra["cost"]
    tokens, taken = cost["tokens"], cost["this_run"]["seconds"]
    weights = sum(
        p.numel() for block in loaded.anatomy.blocks for p in block.module.parameters() if p.ndim > 1
    )
    reached = 2 * weights * tokens["computed"] / taken["measuring"]
    found = {
        "model": loaded.name,
        "dtype": arguments.dtype,
        "tasks": tasks,
        "strengths": len(GRID),
        "items": results.extra["items"],
        "seconds": taken,
        "tokens": tokens,
        "tokens_for_each_unique": tokens["computed"] / tokens["unique"],
        "backbone_gflops": reached / 1e9,
        "matrix_product_gflops": {name: value / 1e9 for name, value in rate.items()},
        "share_of_matrix_product": reached / rate["median"],
    }
    each, share = found["tokens_for_each_unique"], 100 * found["share_of_matrix_product"]
    print(f"{loaded.name}, {arguments.dtype}: {', '.join(tasks)} at {len(GRID)} strengths")
    print("  " + ", ".join(f"{name} {value:.1f} s" for name, value in taken.items()))
    print(
        f"  {tokens['computed']:,} tokens computed, {each:.2f} for each of {tokens['unique']:,} unique prefixes"
    )
    print(
        f"  {reached / 1e9:.1f} GFLOP/s in the backbone's products, {share:.0f} % of what one large product reaches"
    )
    write("full-audit", found)


def products(dtype: torch.dtype, rounds: int) -> list[float]:
    """Operations a second of one large matrix product, round by round."""
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)
    return [2 * SIZE**3 / seconds(lambda: torch.mm(a, b, out=out)) for _ in range(max(2, rounds))]


def small(loaded: LoadedModel) -> Intervention:
    """A random scale and shift at every norm, of a thousandth."""
    generator = torch.Generator().manual_seed(0)
    edits = {
        site: AffineEdit(
            *(1e-3 * torch.randn(loaded.anatomy.site(site).width, generator=generator) for _ in "ab")
        )
        for site in loaded.anatomy.sites("norm")
    }
    return Intervention(edits, provenance=Provenance(method="random", model=loaded.fingerprint))


if __name__ == "__main__":
    main()
