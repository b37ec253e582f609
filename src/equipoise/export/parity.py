"""Parity: the steered model against the merged one, in memory and as a stock loader in a fresh process reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..interventions import Intervention, attach
from ..models import LoadedModel
from . import standalone

NEW_TOKENS, POSITIONS = 200, 64
# Of the largest logit, and in nats a token. Half precision rounds in every layer, so two ways of computing one thing
# differ there by what rounding makes of thirty layers.
LIMITS = {"float32": (1e-4, 1e-6), "other": (5e-2, 1e-2)}


@dataclass(frozen=True)
class Agreement:
    """How one model agrees with the steered one.

    Attributes:
        difference: largest difference of a logit.
        relative: that over the largest logit's magnitude.
        kl: mean of KL(steered ‖ this), nats a token.
        worst_kl: its largest value.
        same_top: share of positions where the most probable token is the same.
        positions: how many positions were compared.
        same_texts: greedy continuations that are the same to the end, of ``texts``.
        texts: how many there were.
        ties: continuations that part where the steered model's two best tokens are closer than twice ``difference``.
    """

    difference: float
    relative: float
    kl: float
    worst_kl: float
    same_top: float
    positions: int
    same_texts: int
    texts: int
    ties: int

    def complaint(self, dtype: str) -> str | None:
        """What is wrong, in words; None if it is within the limits of ``dtype``."""
        relative, kl = LIMITS.get(dtype, LIMITS["other"])
        if not self.relative <= relative:
            return f"a logit differs by {self.relative:.1e} of the largest, and {relative:.0e} is allowed in {dtype}"
        if not self.kl <= kl:
            return f"the KL divergence is {self.kl:.1e} nats a token, and {kl:.0e} is allowed in {dtype}"
        apart = self.texts - self.same_texts - self.ties
        return f"{apart} greedy texts differ where nothing is close" if apart else None


@dataclass(frozen=True)
class Parity:
    """The report: ``merged`` in memory, ``reloaded`` by ``loader`` in a process that did not import equipoise.

    The last three are None where transformers doesn't load what was written (GGUF).
    """

    merged: Agreement
    reloaded: Agreement | None
    loader: str | None
    loaded_class: str | None
    dtype: str
    new_tokens: int
    prompts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What parity.json holds."""
        relative, kl = LIMITS.get(self.dtype, LIMITS["other"])
        return {**asdict(self), "limits": {"relative": relative, "kl": kl}}


@dataclass(frozen=True, eq=False)
class Reference:
    """What the steered model says: a greedy answer to each prompt, logits there, and the gap of its two best tokens."""

    rows: tuple[dict[str, Any], ...]
    logits: tuple[Tensor, ...]
    gaps: tuple[tuple[float, ...], ...]
    request: dict[str, Any]


def steered_reference(
    loaded: LoadedModel,
    intervention: Intervention,
    strength: float,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int = NEW_TOKENS,
    positions: int = POSITIONS,
) -> Reference:
    """Continue ``prompts`` (token ids) with the intervention attached.

    Logits are kept at up to ``positions`` places of each answer, evenly spread.
    """
    pad = loaded.tokenizer.pad_token_id
    ends = getattr(loaded.model.generation_config, "eos_token_id", None)
    ends = loaded.tokenizer.eos_token_id if ends is None else ends
    request: dict[str, Any] = {
        "new_tokens": new_tokens,
        "positions": positions,
        "pad": 0 if pad is None else int(pad),
        "ends": [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])],
        "device": str(loaded.device),
    }
    with attach(loaded, intervention, strength):
        answers = standalone.greedy(loaded.model, prompts, new_tokens, request["pad"], request["ends"])
        rows, logits, gaps = [], [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            seen = standalone.answer_logits(loaded.model, prompt, answer)
            best = seen.topk(2, -1).values
            gaps.append(tuple((best[:, 0] - best[:, 1]).tolist()))
            logits.append(seen[standalone.kept(len(seen), positions)].contiguous())
            rows.append({"prompt": [int(token) for token in prompt], "answer": answer})
    return Reference(tuple(rows), tuple(logits), tuple(gaps), request)


def agreement_in_memory(reference: Reference, loaded: LoadedModel) -> Agreement:
    """How ``loaded`` agrees with the reference as it is now."""
    return _agreement(
        reference, standalone.look(loaded.model, reference.rows, iter(reference.logits), reference.request)
    )


def agreement_reloaded(reference: Reference, folder: Path, loader: str) -> tuple[Agreement, str]:
    """How the checkpoint in ``folder`` agrees when a fresh process loads it with transformers' ``loader``; its class.

    Raises :class:`InputError` if it can't be loaded, doesn't fill the model, or equipoise took part.
    """
    with tempfile.TemporaryDirectory(prefix="equipoise-parity-") as place:
        references, request, out = (
            Path(place) / name for name in ("logits.safetensors", "request.json", "seen.json")
        )
        save_file({str(i): tensor for i, tensor in enumerate(reference.logits)}, references)
        asked = {
            **reference.request,
            "folder": str(folder.resolve()),
            "references": str(references),
            "rows": reference.rows,
            "loader": loader,
            "out": str(out),
        }
        request.write_text(json.dumps(asked), encoding="utf-8")
        # -P keeps the script's own folder, which is this one, off the path.
        command = [sys.executable, "-P", standalone.__file__, str(request)]
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not out.is_file():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InputError(f"transformers' {loader} can't run the merged checkpoint: {last[:300]}")
        seen = json.loads(out.read_text(encoding="utf-8"))
    if seen["missing"] or seen["unexpected"]:
        raise InputError(
            f"the checkpoint doesn't fill a {seen['class']}: {[*seen['missing'], *seen['unexpected']][:3]}"
        )
    if not seen["without_equipoise"]:
        raise InputError(
            "the process that reads the checkpoint imported equipoise (by a .pth file?): parity says nothing"
        )
    return _agreement(reference, seen), str(seen["class"])


def _agreement(reference: Reference, seen: dict[str, Any]) -> Agreement:
    rows: Sequence[dict[str, Any]] = seen["rows"]
    n = sum(row["n"] for row in rows)
    difference = max(row["difference"] for row in rows)
    partings = list(_partings(reference, rows))
    return Agreement(
        difference=difference,
        relative=max(row["difference"] / row["size"] for row in rows),
        kl=sum(row["kl"] for row in rows) / n,
        worst_kl=max(row["worst_kl"] for row in rows),
        same_top=sum(row["same_top"] for row in rows) / n,
        positions=int(n),
        same_texts=len(rows) - len(partings),
        texts=len(rows),
        ties=sum(gap <= 2 * difference for gap in partings),
    )


def _partings(reference: Reference, rows: Sequence[dict[str, Any]]) -> Iterator[float]:
    """For each text that differs, the gap between the steered model's two best tokens where it first does."""
    for wanted, gaps, row in zip(reference.rows, reference.gaps, rows, strict=True):
        if wanted["answer"] != row["answer"]:
            pairs = zip(wanted["answer"], row["answer"], strict=False)
            place = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
            # One that merely ends earlier than the other would have said an end token, so they part within both.
            yield gaps[place] if place is not None else float("inf")


def prove(
    reference: Reference,
    merged: LoadedModel,
    folder: Path | None,
    prompts: Sequence[str],
    *,
    adapted: LoadedModel | None = None,
) -> Parity:
    """Both comparisons, or the first alone without ``folder``.

    ``adapted`` is the base model with an adapter that peft has read from a folder: what is compared then instead of a
    checkpoint that a fresh process loads.

    Raises :class:`InputError` that says what differs if parity fails.
    """
    dtype = str(merged.dtype).removeprefix("torch.")
    in_memory = agreement_in_memory(reference, merged)
    _refuse("the merged model", in_memory, dtype)
    loader, kind, reloaded = None, None, None
    if adapted is not None:
        loader, kind = "peft.PeftModel", type(adapted.model).__name__
        reloaded = agreement_in_memory(reference, adapted)
        _refuse("the model with the adapter", reloaded, dtype)
    elif folder is not None:
        loader = "AutoModelForCausalLM" if merged.processor is None else "AutoModelForImageTextToText"
        reloaded, kind = agreement_reloaded(reference, folder, loader)
        _refuse("the saved and reloaded model", reloaded, dtype)
    return Parity(
        in_memory, reloaded, loader, kind, dtype, int(reference.request["new_tokens"]), tuple(prompts)
    )


def _refuse(what: str, agreement: Agreement, dtype: str) -> None:
    complaint = agreement.complaint(dtype)
    if complaint is not None:
        raise InputError(f"{what} is not the steered one: {complaint}; nothing was written")
