"""Converting DSO files: every documented layout gives the same edits, everything else one line."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interventions.samples import intervention, logits, model, tokens
from torch import Tensor

from equipoise.errors import InputError
from equipoise.interventions import attach, convert_dso_pt

LLAMA = model("Llama")
NORMS = LLAMA.anatomy.norms
WANTED = intervention(LLAMA)
PAIRS: list[tuple[Tensor, Tensor]] = [
    (e.scale, e.shift)
    for e in (WANTED.edits[norm.site] for norm in NORMS)
    if e.scale is not None and e.shift is not None
]


def _named(key: Callable[[Any], str], scale: str, shift: str) -> dict[str, Tensor]:
    flat = {}
    for norm, (a, b) in zip(NORMS, PAIRS, strict=True):
        flat[f"{key(norm)}.{scale}"], flat[f"{key(norm)}.{shift}"] = a, b
    return flat


LAYOUTS: dict[str, Any] = {
    "flat by module path": _named(lambda n: n.name, "scale", "shift"),
    "flat, weight and bias, inside the wrapper's prefix": _named(
        lambda n: "model." + n.name, "weight", "bias"
    ),
    "flat, without the prefix": _named(lambda n: n.name.removeprefix("model."), "a", "b"),
    "flat by site": _named(lambda n: n.site, "gamma", "beta"),
    "nested": {n.name: {"scale": a, "bias": b} for n, (a, b) in zip(NORMS, PAIRS, strict=True)},
    "nested pairs": {n.name: p for n, p in zip(NORMS, PAIRS, strict=True)},
    "list of dictionaries": [{"scale": a, "shift": b} for a, b in PAIRS],
    "list of pairs": PAIRS,
    "stacked": {"scale": torch.stack([a for a, _ in PAIRS]), "shift": torch.stack([b for _, b in PAIRS])},
    "wrapped": {"interventions": {"state_dict": _named(lambda n: n.name, "scale", "shift")}},
    "leading ones": [(a[None, None], torch.nn.Parameter(b[None])) for a, b in PAIRS],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_documented_layout_is_read(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "interventions_llm.pt"
    torch.save(LAYOUTS[layout], path)
    converted = convert_dso_pt(path, LLAMA, scale="delta")
    assert converted.digest == WANTED.digest
    assert converted.provenance.method == "dso"
    converted.save(tmp_path / "a.safetensors")


def test_factors_are_deltas_from_one(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save([(1 + a, b) for a, b in PAIRS], path)
    with attach(LLAMA, convert_dso_pt(path, LLAMA, scale="factor")):
        factors = logits(LLAMA, tokens())
    with attach(LLAMA, WANTED):
        torch.testing.assert_close(factors, logits(LLAMA, tokens()), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="say what its scales mean: scale='delta' if 0 has no effect"):
        convert_dso_pt(path, LLAMA)
    torch.save([(None, b) for _, b in PAIRS], path)
    assert convert_dso_pt(path, LLAMA).size == WANTED.size // 2


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PAIRS[:-1], "lists 5 norms and tiny-Llama-0 has 6"),
        ({}, "is empty"),
        (torch.ones(3), "holds a Tensor, no layout that we know"),
        ({"encoder.norm.scale": PAIRS[0][0]}, "'encoder.norm' names no norm of tiny-Llama-0"),
        ({NORMS[0].name: {"scale": PAIRS[0][0], "power": PAIRS[0][0]}}, "unknown or repeated key 'power'"),
        ({NORMS[0].name: {"scale": PAIRS[0][0], "a": PAIRS[0][0]}}, "unknown or repeated key 'a'"),
        ({NORMS[0].name: 3.0}, "holds a float, neither scale and shift nor a pair"),
        ({NORMS[0].name: PAIRS[0], NORMS[0].site: PAIRS[0]}, "both name block.0.norm.0"),
        ([(torch.ones(2, 24), None)] * 6, r"expected a tensor \[width\], found \[2, 24\]"),
        ([(torch.ones(47), None)] * 6, "the edit is 47 wide"),
        ([(torch.ones(48) / 0, None)] * 6, "not finite"),
        ([(None, None)] * 6, "at least one of scale, shift"),
        ({"scale": torch.ones(2, 48)}, r"'scale' must be a tensor \[6 norms, width\], found \[2, 48\]"),
        (_Payload(), "can't be read as tensors alone"),
    ],
)
def test_everything_else_is_refused_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "bad.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=message) as caught:
        convert_dso_pt(path, LLAMA, scale="delta")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_torch_files(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    for content in (b"", b"hello", pickle.dumps(_Payload())):
        path.write_bytes(content)
        with pytest.raises(InputError, match="can't be read as tensors alone"):
            convert_dso_pt(path, LLAMA, scale="delta")
    with pytest.raises(InputError, match="no such file"):
        convert_dso_pt(tmp_path / "none.pt", LLAMA)
