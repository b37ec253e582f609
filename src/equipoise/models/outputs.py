"""Reading and replacing the hidden state in what a module takes or returns.

Hugging Face modules return a tensor (GPT-2's blocks), a tuple that starts with it (Falcon's blocks, every attention)
or a ``ModelOutput`` (backbones). Hooks see all three; these two functions are the only place that knows.
"""

from typing import Any

from torch import Tensor


def hidden_of(output: Any) -> Tensor:
    """The hidden state in a module's output: the tensor itself, or the first tensor of a tuple, list or ModelOutput.

    Raises ``TypeError`` when there is none.
    """
    key = _place(output)
    if key is None:
        return output  # type: ignore[no-any-return]
    value = output[key]
    return value if isinstance(value, Tensor) else hidden_of(value)


def replace_hidden(output: Any, tensor: Tensor) -> Any:
    """A copy of ``output`` of the same type with its hidden state (see :func:`hidden_of`) replaced by ``tensor``."""
    key = _place(output)
    if key is None:
        return tensor
    value = tensor if isinstance(output[key], Tensor) else replace_hidden(output[key], tensor)
    if isinstance(output, tuple):
        items = [value if index == key else item for index, item in enumerate(output)]
        return type(output)(*items) if hasattr(output, "_fields") else tuple(items)
    if isinstance(output, list):
        return [value if index == key else item for index, item in enumerate(output)]
    return type(output)(**{name: value if name == key else item for name, item in output.items()})


def _place(output: Any) -> int | str | None:
    """Where the hidden state is: None for the output itself, an index for a sequence, a key for a mapping."""
    if isinstance(output, Tensor):
        return None
    if isinstance(output, tuple | list):
        for index, item in enumerate(output):
            if isinstance(item, Tensor | tuple | list):
                return index
    elif hasattr(output, "items"):
        for name, item in output.items():
            if isinstance(item, Tensor):
                return str(name)
    raise TypeError(f"no hidden state in a {type(output).__name__}")
