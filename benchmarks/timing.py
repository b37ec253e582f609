"""What the benchmarks share: paired ratios, and a result file that says where it was measured."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from equipoise.versions import versions

RESULTS = Path(__file__).resolve().parent / "results"


def seconds(act: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def interleaved(acts: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each act, taken in turns so that whatever slows the machine slows all of them; one warm-up round.

    Every second round runs backwards, so that none always follows the same neighbour.
    """
    found: dict[str, list[float]] = {name: [] for name in acts}
    for number in range(repeats + 1):
        for name in list(acts) if number % 2 else reversed(acts):
            taken = acts[name]()
            if number:
                found[name].append(taken)
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high}


def ratios(taken: Mapping[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    """Each act's time over the reference's of the same round."""
    return {
        name: spread([a / b for a, b in zip(values, taken[reference], strict=True)])
        for name, values in taken.items()
        if name != reference
    }


def shown(values: Mapping[str, float], scale: float = 1.0) -> str:
    """Median (lower–upper quartile)."""
    return "{:.4g} ({:.4g}–{:.4g})".format(*(scale * values[key] for key in ("median", "low", "high")))


def write(name: str, figures: Mapping[str, Any]) -> None:
    """Write ``results/NAME.json``, with what is needed to read the figures."""
    RESULTS.mkdir(exist_ok=True)
    setting = {
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": versions(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**figures, "setting": setting}, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {path.relative_to(RESULTS.parents[1])}")
