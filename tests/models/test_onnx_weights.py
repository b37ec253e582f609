"""ONNX files are read as protocol buffers: here written field by field, as the format's description says."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.errors import InputError
from equipoise.models.dinov2 import dinov2_weights
from equipoise.models.onnx_weights import read_onnx


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, values: np.ndarray, *, packed: bool = False) -> bytes:
    shape = [field(1, size) for size in values.shape]
    if packed:
        shape = [field(1, b"".join(varint(size) for size in values.shape))]
    return b"".join([*shape, field(2, 1), field(8, name.encode()), field(9, values.astype("<f4").tobytes())])


def node(name: str, *inputs: str) -> bytes:
    return b"".join(field(1, one.encode()) for one in inputs) + field(3, name.encode()) + field(4, b"MatMul")


def model(tensors: list[bytes], nodes: list[bytes]) -> bytes:
    graph = b"".join([*(field(1, one) for one in nodes), *(field(5, one) for one in tensors)])
    opset = varint(9 << 3 | 5) + struct.pack("<f", 1.0)  # a field of fixed size that is passed over
    return field(1, 8) + opset + field(7, graph)


def test_weights_and_nodes_come_back_as_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32)
    whole = tensor("scale", np.array(2.5))
    path = tmp_path / "a.onnx"
    path.write_bytes(
        model([tensor("w", values), tensor("p", values, packed=True), whole], [node("/fc/MatMul", "x", "w")])
    )
    found = read_onnx(path)
    assert torch.equal(found.weights["w"], torch.from_numpy(values))
    assert torch.equal(found.weights["p"], torch.from_numpy(values))
    assert found.weights["scale"].shape == () and found.weights["scale"] == 2.5
    assert found.nodes == (("/fc/MatMul", ("x", "w")),)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    data = model([tensor("w", np.ones((4, 4)))], [])
    for broken in (b"not onnx at all", data[:-9], b""):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"a\.onnx is no ONNX file"):
            read_onnx(path)


def test_a_matrix_gets_its_name_from_the_node_that_multiplies_by_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    query, positions = rng.normal(size=(4, 6)), rng.normal(size=(1, 37 * 37, 4))
    tensors = [
        tensor("backbone.embeddings.cls_token", rng.normal(size=(1, 1, 4))),
        tensor("onnx::MatMul_9", query),
        tensor("onnx::Concat_1", positions[:, :1]),
        tensor("onnx::Reshape_2", positions),
        tensor("head.weight", query),
    ]
    path = tmp_path / "a.onnx"
    place = "encoder/layer.0/attention/attention/query"
    path.write_bytes(
        model(tensors, [node(f"/backbone/{place}/MatMul", "x", "onnx::MatMul_9"), node("/backbone/a", "x")])
    )
    found = dinov2_weights(path)
    # A product x W is a linear layer's with weight Wᵀ.
    assert torch.allclose(found[f"{place.replace('/', '.')}.weight"], torch.from_numpy(query).float().T)
    assert found["embeddings.position_embeddings"].shape == (1, 1 + 37 * 37, 4)
    assert "head.weight" not in found
