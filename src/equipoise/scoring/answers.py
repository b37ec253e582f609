"""Log-probabilities of closed answers, exactly, for evaluation and, with gradients, for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..interventions import answers_start
from ..models import LoadedModel, causal_mask, hidden_of
from ..tasks import Item
from .batching import MAX_ROWS, MAX_TOKENS, AnswerBatch, answer_batches
from .encoding import EncodedItem, encode
from .journal import Journal, Part, finite, infinite
from .memory import memory
from .readable import refuse_unreadable
from .whole import continue_whole, run_whole

# Below this, a pass of its own costs more than the tokens that it saves.
_WORTH_SHARING = 256
# At a time: more tokens are no faster, and so many numbers are 100 MB, of which a computation holds several.
_LEAST_TOKENS, _MOST_TOKENS, _MOST_LOGPROBS = 16, 512, 25_200_000


@dataclass(frozen=True, eq=False)
class OptionScores:
    """How probable each option of each item is.

    Attributes:
        logp: [n, K] natural logarithm of P(option | prompt) over everything the model could say; −inf where an
            item has fewer than K options.
        begins: [n] whether the model's single most probable next token begins one of the options.
    """

    logp: NDArray[np.float64]
    begins: NDArray[np.bool_]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[n, K] P(option | prompt); a row's sum is at most 1."""
        return np.asarray(np.exp(self.logp))

    @property
    def unanswered(self) -> NDArray[np.float64]:
        """[n] the probability mass that is left for no option."""
        return np.asarray(np.clip(1 - self.probabilities.sum(1), 0, 1))

    @property
    def choice(self) -> NDArray[np.int64]:
        """[n] index of the most probable option; the first of equals."""
        return np.asarray(self.logp.argmax(1))


def score_options(
    loaded: LoadedModel,
    items: Sequence[Item | EncodedItem],
    *,
    share_prefixes: bool = True,
    max_rows: int = MAX_ROWS,
    max_tokens: int = MAX_TOKENS,
    journal: Journal | Part | None = None,
) -> OptionScores:
    """Score every option of every item, without gradients.

    Image features are computed once an image (:mod:`equipoise.scoring.features`).

    Items are reordered to batch them, so what steers must have one strength for all rows (:func:`batch_logprobs`
    takes strengths per row).

    Args:
        share_prefixes: compute what all prompts of a batch begin with once.
        max_rows, max_tokens: size of a batch.
        journal: of these very items in this order, asked of this model with what steers it now. What is in it is
            taken from it, the rest is added batch by batch, so that the numbers are the same with and without.

    Raises InputError for options that can't be told apart (see :func:`equipoise.scoring.encode`), and where the model
    gives NaN.
    """
    encoded = [one if isinstance(one, EncodedItem) else encode(loaded, one) for one in items]
    refuse_unreadable(loaded, (ids for item in encoded for ids in item.read()), what="the text of answer")
    width = max((len(item.options) for item in encoded), default=0)
    logp = np.full((len(encoded), width), -np.inf)
    begins = np.zeros(len(encoded), dtype=bool)
    with torch.inference_mode():
        for batch in answer_batches(encoded, max_rows=max_rows, max_tokens=max_tokens):
            rows = batch.index.numpy()
            known = None if journal is None else journal.get(rows.tolist())
            if known is not None:
                for row, entry in zip(rows, known, strict=True):
                    logp[row, : len(entry["logp"])] = infinite(entry["logp"])
                    begins[row] = entry["begins"]
                continue
            found, top = batch_logprobs(loaded, batch, share_prefix=share_prefixes)
            if bool(found.isnan().any()):
                raise InputError(
                    f"{loaded.name} in {str(loaded.dtype).removeprefix('torch.')} gives no numbers for answers (NaN): "
                    "load it as bfloat16 or float32, or steer it less"
                )
            logp[rows, : found.shape[1]] = found.double().cpu().numpy()
            begins[rows] = ((batch.first == top.cpu()[:, None]) & batch.valid).any(1).numpy()
            if journal is not None:
                journal.add({int(r): {"logp": finite(logp[r]), "begins": bool(begins[r])} for r in rows})
    return OptionScores(logp, begins)


def batch_logprobs(
    loaded: LoadedModel,
    batch: AnswerBatch,
    *,
    share_prefix: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of one batch's options; gradients flow if they are on.

    The backbone runs first, then the head on one contiguous [B, d] matrix of last states: handing the head a slice
    [B, 1, d] would make it copy the vocabulary matrix once a row.

    Args:
        share_prefix: compute the tokens that all prompts begin with once. One strength for all rows only.

    Returns:
        logp [B, K] in at least fp32, −inf for missing options, and the most probable next token [B].
    """
    rows, width = batch.first.shape
    with answers_start(loaded, batch.last):
        going_on = batch.rest is not None and memory(loaded).repeats
        states, cache = _prompt_states(loaded, batch, share_prefix, use_cache=going_on)
        next_token = head_logprobs(loaded, states)
        for wanted in (batch.first, batch.rest):
            if wanted is not None:
                refuse_unsayable(wanted, next_token)
        logp = next_token.gather(1, batch.first.to(next_token.device))
        if batch.rest is not None and batch.rest_valid is not None:
            hidden = _option_states(loaded, batch, cache)
            kept = batch.rest_valid.to(hidden.device)
            further = head_logprobs(loaded, hidden[kept].contiguous())
            gained = further.gather(1, batch.rest.to(further.device)[kept.to(further.device)][:, None])[:, 0]
            zeros = torch.zeros(kept.shape, dtype=gained.dtype, device=gained.device)
            total = zeros.masked_scatter(kept.to(gained.device), gained).sum(1)
            logp = logp + total.reshape(rows, width).to(logp.device)
    missing = ~batch.valid.to(logp.device)
    return logp.masked_fill(missing, float("-inf")), next_token.argmax(1)


def refuse_unsayable(ids: Tensor, logits: Tensor) -> None:
    """Raise :class:`InputError` if a token to be scored has no logit: an injected token is never said."""
    if int(ids.max()) >= logits.shape[-1]:
        raise InputError(
            "an answer or a text to be scored has an injected token in it, which the model reads but never says: "
            "put it into prompts only"
        )


def shared_tokens(loaded: LoadedModel, batch: AnswerBatch) -> int:
    """How many leading tokens are computed once for all rows; 0 where it can't be done or isn't worth a pass."""
    if batch.rows is not None or not memory(loaded).repeats:
        return 0
    prefix = batch.shared_prefix
    return prefix if prefix * (len(batch.index) - 1) >= _WORTH_SHARING else 0


def next_states(loaded: LoadedModel, batch: AnswerBatch) -> Tensor:
    """The states [B, d] that predict the token after each prompt of the batch, contiguous."""
    with answers_start(loaded, batch.last):
        return _prompt_states(loaded, batch, share_prefix=False, use_cache=False)[0]


def _prompt_states(
    loaded: LoadedModel, batch: AnswerBatch, share_prefix: bool, use_cache: bool
) -> tuple[Tensor, Any]:
    """:func:`next_states`, and the cache of the prompts if it is wanted."""
    rows, prefix, cache = len(batch.index), 0, None
    if batch.rows is not None:
        hidden, cache = run_whole(loaded, batch.rows, use_cache=use_cache)
    else:
        prompts = batch.prompts.to(loaded.device)
        prefix = shared_tokens(loaded, batch) if share_prefix else 0
        if prefix:
            cache = run_backbone(loaded, prompts[:1, :prefix], use_cache=True).past_key_values
            cache.batch_repeat_interleave(rows)
        output = run_backbone(loaded, prompts[:, prefix:], cache=cache, use_cache=prefix > 0 or use_cache)
        hidden, cache = hidden_of(output), output.past_key_values if use_cache else None
    last = (batch.last - prefix).to(hidden.device)
    return hidden[torch.arange(rows, device=hidden.device), last].contiguous(), cache


def _option_states(loaded: LoadedModel, batch: AnswerBatch, cache: Any) -> Tensor:
    """The states [B · K, R, d] that predict each option's further tokens.

    They go on from the prompts' cache, or where there is none that can be continued run over prompt and option anew.
    """
    assert batch.rest is not None
    width = batch.first.shape[1]
    inputs = torch.cat([batch.first.reshape(-1, 1), batch.rest[:, :-1]], 1)
    if cache is not None:
        cache.batch_repeat_interleave(width)
        if batch.rows is not None:
            return continue_whole(loaded, batch.rows, inputs.to(loaded.device), cache)
        output = run_backbone(loaded, inputs.to(loaded.device), cache=cache, use_cache=True)
        return hidden_of(output)
    length = batch.prompts.shape[1]
    if batch.rows is not None:
        repeated = [row for row in batch.rows for _ in range(width)]
        rows = [
            ((*prompt, *added), sight.continued(len(added)))
            for (prompt, sight), added in zip(repeated, inputs.tolist(), strict=True)
        ]
        return run_whole(loaded, rows)[0][:, length:]
    whole = torch.cat([batch.prompts.repeat_interleave(width, 0), inputs], 1)
    return hidden_of(run_backbone(loaded, whole.to(loaded.device)))[:, length:]


def run_backbone(loaded: LoadedModel, ids: Tensor, *, cache: Any = None, use_cache: bool = False) -> Any:
    """The text backbone on token ids [B, T] without padding on the left, so that positions are those of the model."""
    if loaded.anatomy.prefix:
        past = 0 if cache is None else cache.get_seq_length()
        mask = causal_mask(ids.shape[1], past, ids.device, loaded.dtype)
        mask = mask.expand(len(ids), -1, -1, -1)
        return loaded.anatomy.backbone(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=use_cache
        )
    return loaded.anatomy.backbone(input_ids=ids, past_key_values=cache, use_cache=use_cache)


def head_tokens(loaded: LoadedModel) -> int:
    """Of how many states at most to take :func:`head_logprobs` at a time: the vocabulary is what bounds memory."""
    return max(_LEAST_TOKENS, min(_MOST_TOKENS, _MOST_LOGPROBS // vocabulary(loaded)))


def vocabulary(loaded: LoadedModel) -> int:
    """How many log-probabilities the head makes a token."""
    weight = getattr(loaded.anatomy.head, "weight", None)
    return len(loaded.tokenizer) if weight is None else len(weight)


def head_logprobs(loaded: LoadedModel, states: Tensor) -> Tensor:
    """Log-softmax over the vocabulary, in at least fp32, of contiguous states [N, d]."""
    logits = loaded.anatomy.logits(states)
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
