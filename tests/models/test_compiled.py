"""All ways to compile are seen, and an anatomy is found without compiling anything."""

from typing import Any

import pytest
import torch
from tiny import tiny
from torch import nn

from equipoise.models import LoadedModel, find_anatomy, is_compiled


def by_function(loaded: LoadedModel) -> Any:
    return torch.compile(loaded.model)


def in_place(loaded: LoadedModel) -> Any:
    loaded.model.compile()
    return loaded.model


def by_forward(loaded: LoadedModel) -> Any:
    loaded.model.forward = torch.compile(loaded.model.forward)
    return loaded.model


def one_block(loaded: LoadedModel) -> Any:
    loaded.model.model.layers[1] = torch.compile(loaded.model.model.layers[1])
    return loaded.model


@pytest.mark.parametrize("way", [by_function, in_place, by_forward, one_block])
def test_compiled(way: Any) -> None:
    assert is_compiled(way(tiny("Llama")))


def test_not_compiled() -> None:
    assert not is_compiled(tiny("Llama").model)
    assert not is_compiled(nn.Linear(2, 2))


def test_anatomy_of_a_compiled_model_compiles_nothing() -> None:
    def refuse(graph: Any, inputs: Any) -> Any:
        raise AssertionError("this would compile")

    plain = tiny("Llama")
    in_one, by_block = tiny("Llama").model, tiny("Llama").model
    in_one.compile(backend=refuse)
    for block in by_block.model.layers:
        block.forward = torch.compile(block.forward, backend=refuse)
    for model in (in_one, by_block):
        assert find_anatomy(model).sites() == plain.anatomy.sites()
        with pytest.raises(Exception, match="this would compile"):
            model(torch.tensor([[5, 6]]))
