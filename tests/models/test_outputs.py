"""Hidden states in every form in which modules return them."""

from typing import Any, NamedTuple

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutputWithPast

from equipoise.models import hidden_of, replace_hidden


class Pair(NamedTuple):
    hidden: torch.Tensor
    rest: int


X, Y = torch.zeros(2, 3), torch.ones(2, 3)
FORMS = [
    X,
    (X,),
    (X, None, 5),
    [X, 5],
    Pair(X, 1),
    (((X, 1), 2)),
    BaseModelOutputWithPast(last_hidden_state=X, hidden_states=(Y, Y)),
    {"last_hidden_state": X, "other": 3},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_read_and_replace(form: Any) -> None:
    assert hidden_of(form) is X
    replaced = replace_hidden(form, Y)
    assert type(replaced) is type(form)
    assert hidden_of(replaced) is Y
    assert hidden_of(form) is X  # the original is left alone


def test_the_rest_is_kept() -> None:
    assert replace_hidden((X, None, 5), Y)[1:] == (None, 5)
    output = replace_hidden(BaseModelOutputWithPast(last_hidden_state=X, hidden_states=(X, X)), Y)
    assert output.hidden_states == (X, X)
    assert output[0] is Y


def test_nothing_to_find() -> None:
    with pytest.raises(TypeError, match="no hidden state in a NoneType"):
        hidden_of(None)
    with pytest.raises(TypeError, match="no hidden state in a tuple"):
        replace_hidden((1, None), Y)
