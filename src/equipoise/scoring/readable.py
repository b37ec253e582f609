"""What a model can read at all: as many tokens as it has learned positions for, and tokens that it has rows for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ..errors import InputError
from ..interventions import injected_ids
from ..models import LoadedModel

# OPT keeps two rows of its table for padding.
_SPARE = 8


def most_positions(loaded: LoadedModel) -> int | None:
    """How many tokens a text may have, where positions are rows of a table (GPT-2, OPT); None where they are computed.

    Beyond a table nothing can be computed at all; beyond what computed positions were trained for, a model only gets
    worse.
    """
    config: Any = loaded.model.config.get_text_config(decoder=True)
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int):
        return None
    words = loaded.model.get_input_embeddings()
    tables = [m for m in loaded.anatomy.backbone.modules() if isinstance(m, nn.Embedding) and m is not words]
    return most if any(most <= table.num_embeddings <= most + _SPARE for table in tables) else None


def refuse_unreadable(
    loaded: LoadedModel, texts: Iterable[Sequence[int]], *, more: int = 0, what: str | Sequence[str] = "text"
) -> None:
    """Raise :class:`InputError` for token ids that the model can't read.

    Args:
        loaded: the model.
        texts: token ids of each text.
        more: tokens that will be written after each.
        what: what to call a text, to which its number is added; or the name of each.
    """
    most = most_positions(loaded)
    rows = getattr(getattr(loaded.model.get_input_embeddings(), "weight", None), "shape", (None,))[0]
    injected = injected_ids(loaded)
    for number, ids in enumerate(texts):
        name = f"{what} {number}" if isinstance(what, str) else what[number]
        if most is not None and len(ids) + more > most:
            follow = f" and {more} may follow" if more else ""
            raise InputError(
                f"{name} has {len(ids)} tokens{follow}, but {loaded.name} has {most} positions: shorten it"
            )
        unknown = max(ids, default=0)
        if isinstance(rows, int) and unknown >= rows and unknown not in injected:
            raise InputError(
                f"{name} has the token {unknown}, but the embedding of {loaded.name} has {rows} rows: the "
                "tokenizer belongs to another model"
            )
