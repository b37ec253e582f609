"""Weights out of an ONNX file, without the package onnx: a file is a protocol buffer, of which three messages matter.

A ModelProto holds its graph in field 7, the graph its nodes in field 1 and its initialisers (the weights) in field 5
(github.com/onnx/onnx, onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

_FLOAT32 = 1  # TensorProto.DataType.FLOAT
_Field = tuple[int, int | memoryview]


@dataclass(frozen=True)
class OnnxGraph:
    """The float32 initialisers by name, and for each node its name and the names of its inputs, in order."""

    weights: dict[str, Tensor]
    nodes: tuple[tuple[str, tuple[str, ...]], ...]


def read_onnx(path: Path) -> OnnxGraph:
    """Weights and nodes of an ONNX file. Raises :class:`InputError` for a file that is none."""
    try:
        data = memoryview(path.read_bytes())
        (graph,) = (value for number, value in _fields(data) if number == 7)
        assert isinstance(graph, memoryview)
        weights: dict[str, Tensor] = {}
        nodes: list[tuple[str, tuple[str, ...]]] = []
        for number, value in _fields(graph):
            if number == 5 and isinstance(value, memoryview):
                weights |= _initialiser(value)
            elif number == 1 and isinstance(value, memoryview):
                nodes.append(_node(value))
    except (OSError, ValueError, IndexError, AssertionError) as error:
        raise InputError(
            f"{path.name} is no ONNX file that can be read: install its package again"
        ) from error
    return OnnxGraph(weights, tuple(nodes))


def _fields(data: memoryview) -> Iterator[_Field]:
    """Number and value of each field of a message: a whole number, or the bytes of what has a length."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise ValueError(f"wire type {kind}")
            size, at = _varint(data, at)
        if at + size > len(data):
            raise ValueError("the file ends within a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return found, at


def _initialiser(data: memoryview) -> dict[str, Tensor]:
    shape: list[int] = []
    name, kind, raw = "", 0, memoryview(b"")
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1 and isinstance(value, memoryview):  # packed
            at = 0
            while at < len(value):
                size, at = _varint(value, at)
                shape.append(size)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number in (4, 9) and isinstance(value, memoryview):  # packed floats, or their bytes
            raw = value
    if kind != _FLOAT32:
        return {}
    return {name: torch.from_numpy(np.frombuffer(raw, "<f4").reshape(shape).copy())}


def _node(data: memoryview) -> tuple[str, tuple[str, ...]]:
    inputs, name = [], ""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, memoryview):
            inputs.append(bytes(value).decode())
        elif number == 3 and isinstance(value, memoryview):
            name = bytes(value).decode()
    return name, tuple(inputs)
