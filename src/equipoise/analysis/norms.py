"""How large activations are: the unit in which a vector's strength means the same at every site and in every model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ..errors import InputError
from ..models import LoadedModel
from ..scoring import EncodedItem
from .activations import prompt_states, states_of


def typical_norms(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int] | EncodedItem],
    sites: Iterable[str],
    *,
    max_tokens: int = 4096,
) -> dict[str, float]:
    """The median over tokens of ‖y‖ at each site, each text's first token left out.

    First tokens carry massive activations of their own: a mean, or a median over all tokens of short texts, would be
    of them and not of what is steered.

    Args:
        rows: token ids of each text; or prompts with images.
        sites: names of sites.
        max_tokens: tokens of a batch.

    Raises :class:`InputError` if no text has a second token, or the model's activations are not finite there.
    """
    names = list(dict.fromkeys(sites))
    whole = [list(row) for row in rows if not isinstance(row, EncodedItem) and len(row) > 1]
    shown = [row for row in rows if isinstance(row, EncodedItem)]
    if not whole and not shown:
        raise InputError(
            "the size of activations is measured on texts of two or more tokens: give longer ones"
        )
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for index, captured in states_of(loaded, whole, names, max_tokens=max_tokens):
        for name, states in captured.items():
            norms = states.float().norm(dim=-1).cpu()
            seen[name] += [norms[place, 1 : len(whole[i])] for place, i in enumerate(index)]
    for batch, captured in prompt_states(loaded, shown, names, max_tokens=max_tokens):
        for name, states in captured.items():
            norms = states.float().norm(dim=-1).cpu()
            seen[name] += [norms[place, 1 : int(last) + 1] for place, last in enumerate(batch.last)]
    found = {name: float(torch.cat(norms).median()) for name, norms in seen.items()}
    for name, norm in found.items():
        if not 0 < norm < float("inf"):
            raise InputError(
                f"{name}: the typical size of the activations is {norm}: nothing can be measured in it"
            )
    return found
