"""lm_eval's model type ``equipoise``: its Hugging Face model, loaded and steered by us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from ..errors import InputError
from ..interventions import Intervention, answers_start, attach, split_sum
from ..models import load
from ..workflows.inputs import check_strengths
from . import NAME

# What lm_eval's own class does to a model that is loaded already; the rest is about loading, which is ours.
_PASSED = frozenset(
    {
        "batch_size",
        "max_batch_size",
        "max_length",
        "truncation",
        "logits_cache",
        "softmax_dtype",
        "add_bos_token",
    }
    | {"prefix_token_id", "think_end_token", "enable_thinking", "chat_template_args"}
)


@register_model(NAME)
class EquipoiseLM(HFLM):
    """A model with interventions attached for as long as it lives; texts are scored and written by lm_eval's code.

    Args:
        pretrained: MODEL as every command of ours takes it: a hub id, a folder, a .gguf file, an alias.
        intervention: a file, or a sum of files, ``a.safetensors+b.safetensors``; none is the base model.
        strength: λ ≥ 0 of all of them.
        dtype, device: see :func:`equipoise.models.load`; by default float32 and where transformers puts it.
        passed: batch_size, max_length and others of ``HFLM`` that don't concern loading.

    Raises :class:`InputError` for anything else, and for whatever is wrong with model or files.

    With the token scope ``answer`` the answer starts at the last token of each request's context, as in our own
    scoring; a text for rolling log-likelihood has no context, so it is steered as a whole.
    """

    def __init__(
        self,
        pretrained: str,
        intervention: str | None = None,
        strength: float | str = 1.0,
        dtype: str = "float32",
        device: str | None = None,
        **passed: Any,
    ) -> None:
        unknown = sorted(set(passed) - _PASSED)
        if unknown:
            raise InputError(
                f"--model_args {unknown[0]}: there are pretrained, intervention, strength, dtype, device,"
                f" {', '.join(sorted(_PASSED))}"
            )
        (self._strength,) = check_strengths([_number(strength)])
        terms = (
            [] if intervention is None else [Intervention.load(name) for name in split_sum(str(intervention))]
        )
        # lm_eval says cuda:0 where the user says nothing, and means the CPU where there is none.
        absent = str(device).startswith("cuda") and not torch.cuda.is_available()
        loaded = load(str(pretrained), dtype=dtype, device=None if absent else device)
        for term in terms:
            term.check(loaded)
        super().__init__(pretrained=loaded.model, tokenizer=loaded.tokenizer, **passed)
        self._loaded, self._terms, self._intervention = loaded, terms, intervention
        self._whole = False
        self._attached = attach(loaded, terms, self._strength) if terms else None

    @property
    def tokenizer_name(self) -> str:
        """Names lm_eval's cache of requests."""
        return str(self._loaded.name).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What lm_eval writes beside its results."""
        return {
            "model_num_parameters": self.model.num_parameters(),
            "model_dtype": self.model.dtype,
            "model_revision": self._loaded.fingerprint.digest,
            "model_sha": "",
            "equipoise": {
                "model": self._loaded.name,
                "intervention": self._intervention,
                "digests": [term.digest for term in self._terms],
                "strength": self._strength,
            },
        }

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """As lm_eval does it; there is no prompt."""
        self._whole = True
        try:
            found: list[float] = super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)
        finally:
            self._whole = False
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        rest = {"disable_tqdm": disable_tqdm, "override_bs": override_bs}
        if all(term.scope == "all" for term in self._terms):
            return list(super()._loglikelihood_tokens(list(requests), **rest))
        found: list[Any] = [None] * len(requests)
        for start, index in self._by_start(requests):
            with answers_start(self._loaded, start):
                part = super()._loglikelihood_tokens([requests[i] for i in index], **rest)
            for i, one in zip(index, part, strict=True):
                found[i] = one
        return found

    def _by_start(self, requests: Sequence[Any]) -> Iterator[tuple[int, list[int]]]:
        """Where the answer starts, with the requests for which that is so.

        lm_eval computes requests of several lengths together, and doesn't say where their contexts end.
        """
        starts: dict[int, list[int]] = {}
        for index, (_, context, continuation) in enumerate(requests):
            cut = max(0, len(context) + len(continuation) - self.max_length - 1)
            start = 0 if self._whole else max(0, len(context) - 1 - cut)
            starts.setdefault(start, []).append(index)
        yield from sorted(starts.items())


def _number(value: float | str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"strength={value}: it must be a number of at least 0") from None
