"""What applying each kind of edit costs at run time, beside other packages' steering, in one process.

Two things are timed: one decoded token after 32 in the cache, and one forward pass on a batch [32, 64]. A vector added
to the residual stream after every block is what all packages can do; its logits are compared with ours first. The other
kinds of edit are ours alone: those of DSO (scale and shift at every norm), ITI (a shift of some heads, on the answer)
and LEACE (rank one at a block). Merged models, the vectors' and DSO's, stand beside the live ones. All take turns; a
ratio is that of neighbours in time. Attaching is not timed, except where a package does it anew in every pass. A
package that isn't installed is passed over with a word.

python benchmarks/peers.py [--decoded ROUNDS] [--batches ROUNDS] [--check]
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from typing import Any

import torch
from timing import interleaved, ratios, seconds, shown, spread, write
from torch import Tensor
from transformers import DynamicCache

from equipoise.export import merge
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel, load

MODEL = "smollm2"
CACHED, TOKENS = 32, 4  # tokens in the cache; tokens decoded, each after exactly these, for one time
ROWS, LENGTH = 32, 64
# In fp32 the same sums in another order: what logits may differ by.
_SAME = 1e-3

Forward = Callable[..., Any]
Way = Callable[[LoadedModel, Tensor], AbstractContextManager[Forward]]


def steered(intervention: Intervention) -> Way:
    """Ours."""

    @contextmanager
    def way(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
        with attach(loaded, intervention):
            yield loaded.model

    return way


def merged(loaded: LoadedModel, intervention: Intervention) -> Way:
    """Ours, in the weights of a copy."""
    copy = merge(loaded, intervention).loaded.model

    @contextmanager
    def way(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
        yield copy

    return way


@contextmanager
def plain(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
    yield loaded.model


@contextmanager
def steering_vectors(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
    from steering_vectors import SteeringVector

    with SteeringVector(dict(enumerate(vectors))).apply(loaded.model):
        yield loaded.model


@contextmanager
def repeng(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
    import numpy as np

    if not hasattr(np, "float_"):  # repeng 0.4 asks for NumPy 1's name
        np.float_ = np.float64
    from repeng import ControlModel

    control = ControlModel(loaded.model, list(range(len(vectors))))
    control.set_raw_control(dict(enumerate(vectors)))

    def forward(ids: Tensor, **more: Any) -> Any:
        if len(ids) > 1:  # its mask of padding needs the positions of every row
            more["position_ids"] = torch.arange(ids.shape[1]).expand(ids.shape)
        return control(ids, **more)

    try:
        yield forward
    finally:
        control.unwrap()


@contextmanager
def pyvene(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
    import pyvene as pv

    def adding(vector: Tensor) -> Callable[..., Tensor]:
        return lambda base, source: base + vector

    model = pv.IntervenableModel(
        [
            {"component": f"model.layers[{number}].output", "intervention": adding(vector)}
            for number, vector in enumerate(vectors)
        ],
        model=loaded.model,
    )

    def forward(ids: Tensor, **more: Any) -> Any:
        return model({"input_ids": ids, **more})[1]

    yield forward


@contextmanager
def nnsight(loaded: LoadedModel, vectors: Tensor) -> Iterator[Forward]:
    from nnsight import NNsight

    model = NNsight(loaded.model)

    def forward(ids: Tensor, **more: Any) -> Any:
        with model.trace(input_ids=ids, **more):
            for number in range(len(vectors)):
                layer = model.model.layers[number]
                layer.output = layer.output + vectors[number]
            output = model.output.save()
        return output

    yield forward


PEERS: dict[str, Way] = {
    "steering-vectors": steering_vectors,
    "repeng": repeng,
    "pyvene": pyvene,
    "nnsight": nnsight,
}


def kinds(loaded: LoadedModel, vectors: Tensor) -> dict[str, Intervention]:
    """An intervention of each method's shape; the numbers don't matter for the time."""
    draw = torch.Generator().manual_seed(0)

    def small(*shape: int) -> Tensor:
        return 0.02 * torch.randn(*shape, generator=draw)

    anatomy, middle = loaded.anatomy, len(loaded.anatomy.blocks) // 2
    heads = list(anatomy.sites("heads"))[middle - 4 : middle + 4]
    width = anatomy.hidden_size
    return {
        "a vector after every block": Intervention(
            {f"block.{number}.out": AffineEdit(shift=vector) for number, vector in enumerate(vectors)}
        ),
        "CAA: a vector after one block": Intervention(
            {f"block.{middle}.out": AffineEdit(shift=vectors[middle])}
        ),
        "DSO: scale and shift at every norm": Intervention(
            {norm.site: AffineEdit(small(norm.width), small(norm.width)) for norm in anatomy.norms}
        ),
        "ITI: heads of eight blocks, answer only": Intervention(
            {site: AffineEdit(shift=small(anatomy.site(site).width)) for site in heads}, "answer"
        ),
        "LEACE: rank one after one block": Intervention(
            {f"block.{middle}.out": AffineEdit(shift=small(width), u=small(width, 1), v=small(width, 1))}
        ),
    }


def usable(loaded: LoadedModel, vectors: Tensor, ids: Tensor, ours: Intervention) -> dict[str, Way]:
    """The packages that are installed and give our logits; the others are named with the reason."""
    before = _logits(loaded, loaded.model, ids)
    with attach(loaded, ours):
        wanted = _logits(loaded, loaded.model, ids)
    found = {}
    for name, way in PEERS.items():
        try:
            version = metadata.version(name)
            with way(loaded, vectors) as forward:
                logits = _logits(loaded, forward, ids)
            if not torch.equal(_logits(loaded, loaded.model, ids), before):
                raise RuntimeError("the model was changed for good")
        except Exception as error:
            first = str(error).partition("\n")[0]
            print(f"{name}: left out ({type(error).__name__}: {first})", flush=True)
            continue
        difference, moved = (float((logits - other).abs().max()) for other in (wanted, before))
        print(
            f"{name} {version}: logits differ from ours by {difference:.2g}, from the plain model's by {moved:.2g}"
        )
        if difference <= _SAME:
            found[name] = way
    return found


def _compare_merged(
    loaded: LoadedModel, ways: dict[str, Way], vectors: Tensor, ids: Tensor, ours: dict[str, Intervention]
) -> None:
    for name, way in ways.items():
        with attach(loaded, ours[name]):
            wanted = _logits(loaded, loaded.model, ids)
        with way(loaded, vectors) as forward:
            found = _logits(loaded, forward, ids)
        print(
            f"merged, {name}: logits differ from the live ones by {float((found - wanted).abs().max()):.2g}"
        )


def _logits(loaded: LoadedModel, forward: Forward, ids: Tensor) -> Tensor:
    """[rows + 1, vocabulary]: after each row of a batch, and after a token decoded with a cache."""
    cache = DynamicCache(config=loaded.model.config)
    forward(ids[:1, :-1], past_key_values=cache)
    decoded = forward(ids[:1, -1:], past_key_values=cache).logits
    return torch.cat([forward(ids, use_cache=False).logits[:, -1], decoded[:, -1]])


def decoding(ids: Tensor, config: Any) -> Callable[[Forward, Forward], float]:
    """Seconds of one decoded token; the prompt is read by the plain model."""

    def run(forward: Forward, base: Forward) -> float:
        cache = DynamicCache(config=config)
        base(ids, past_key_values=cache, logits_to_keep=1)

        def decode() -> None:
            for _ in range(TOKENS):
                forward(ids[:, -1:], past_key_values=cache)
                cache.crop(-1)

        return seconds(decode) / TOKENS

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="What applying edits costs, beside other packages.")
    parser.add_argument("--decoded", type=int, default=40, help="rounds of decoding")
    parser.add_argument("--batches", type=int, default=8, help="rounds of forward passes")
    parser.add_argument("--check", action="store_true", help="compare logits only; time nothing")
    arguments = parser.parse_args()
    loaded = load(MODEL)
    draw = torch.Generator().manual_seed(1)
    vectors = 0.05 * torch.randn(len(loaded.anatomy.blocks), loaded.anatomy.hidden_size, generator=draw)
    ids = torch.randint(100, 10_000, (ROWS, LENGTH), generator=draw)
    figures: dict[str, Any] = {}
    with torch.inference_mode():
        ours = kinds(loaded, vectors)
        shared = next(iter(ours))
        peers = usable(loaded, vectors, ids[:2, :16], ours[shared])
        in_weights = {
            name: merged(loaded, ours[name]) for name in ours if name.startswith(("a vector", "DSO"))
        }
        _compare_merged(loaded, in_weights, vectors, ids[:2, :16], ours)
        if arguments.check:
            return
        ways: dict[str, Way] = {
            "plain": plain,
            **{f"equipoise, {name}": steered(one) for name, one in ours.items()},
            **{f"equipoise merged, {name}": way for name, way in in_weights.items()},
            **{f"{name}, {shared}": way for name, way in peers.items()},
        }
        decode = decoding(ids[:1, :CACHED], loaded.model.config)

        def decoded(way: Way) -> Callable[[], float]:
            def act() -> float:
                with way(loaded, vectors) as forward:
                    return decode(forward, loaded.model)

            return act

        def batch(way: Way) -> Callable[[], float]:
            def act() -> float:
                with way(loaded, vectors) as forward:
                    return seconds(lambda: forward(ids, use_cache=False, logits_to_keep=1))

            return act

        works = {
            "decoded token": (decoded, arguments.decoded),
            f"batch [{ROWS}, {LENGTH}]": (batch, arguments.batches),
        }
        for name, (work, rounds) in works.items():
            taken = interleaved({label: work(way) for label, way in ways.items()}, rounds)
            found = {"rounds": rounds, "plain_seconds": spread(taken["plain"]), **ratios(taken, "plain")}
            if work is decoded:  # tokens a second, and each way's over the plain model's of the same round
                speeds = {label: [1 / one for one in times] for label, times in taken.items()}
                found["tokens_per_second"] = {label: spread(one) for label, one in speeds.items()}
                found["speed_over_plain"] = ratios(speeds, "plain")
            figures[name] = found
            print(f"{name}: plain {shown(found['plain_seconds'], 1000)} ms", flush=True)
            for label in ways:
                if label != "plain":
                    speed = f", speed {shown(found['speed_over_plain'][label])}" if work is decoded else ""
                    print(f"  {label} / plain {shown(found[label])}{speed}")
    installed = {name: metadata.version(name) for name in peers}
    write("peers", {"model": MODEL, "packages": installed, "figures": figures})


if __name__ == "__main__":
    main()
