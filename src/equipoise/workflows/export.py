"""Export: a model with an intervention in its weights, as files that other engines load, proved before they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

import torch

from ..errors import InputError
from ..export import (
    Agreement,
    Effect,
    GgufType,
    Merged,
    Parity,
    merge,
    model_card,
    prove,
    require_gguf,
    require_peft,
    save_checkpoint,
    save_control_vector,
    save_gguf,
    save_ln_tuning,
    steered_reference,
)
from ..files import json_text, refuse_full, whole_folder
from ..models import LoadedModel, load
from ..reports import Results, Run
from ..scoring import prompt_ids
from ..tasks import PromptTask, Task, load_any_task, plain_text
from .generate import sample_items, shown
from .inputs import Source, check_strengths, the_intervention, writable
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Format = Literal["hf", "gguf", "control-vector", "peft"]
PARITY, MODEL, VECTOR = "parity.json", "model.gguf", "control-vector.gguf"
# The file that says of a folder that an export made it.
MARKS: dict[Format, str] = {"hf": PARITY, "gguf": PARITY, "control-vector": VECTOR, "peft": PARITY}
WHAT = {
    "hf": "a plain checkpoint that stock engines load",
    "gguf": "a GGUF file that llama.cpp loads",
    "control-vector": f"llama.cpp adds it to the unchanged model with `--control-vector {VECTOR}`",
    "peft": "an adapter (LN tuning) that `peft.PeftModel.from_pretrained(model, FOLDER)` puts on the unchanged model",
}
TASK_PROMPTS, TEXT_PROMPTS, TEXT_TOKENS = 4, 4, 24


@dataclass(frozen=True, eq=False)
class Exported:
    """What was written: the folder, the files in it, and what was proved about them."""

    folder: Path
    files: tuple[str, ...]
    merged: Merged | None
    parity: Parity | None

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of each line to print."""
        rows = [("written", f"{self.folder}: {', '.join(self.files)}")]
        if self.merged is not None:
            m = self.merged
            rows.append(
                ("merged", f"{m.entries:,} entries of {len(m.changed)} parameters, {len(m.added)} new biases")
            )
            if m.as_llama:
                rows.append(("written as", type(m.loaded.model).__name__))
            if m.lost:
                rows.append(("lost to rounding", f"{m.lost:,} entries; try --dtype float32"))
        if self.parity is not None:
            for what, agreement in (("merged", self.parity.merged), ("reloaded", self.parity.reloaded)):
                if agreement is not None:
                    rows.append((f"parity, {what}", _words(agreement)))
        return rows


def export(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    intervention: Source,
    *,
    out: str | os.PathLike[str],
    strength: float = 1.0,
    format: Format = "hf",
    gguf_type: GgufType = "f16",
    task: str | Task | PromptTask = "pronouns",
    new_tokens: int = 200,
    results: str | os.PathLike[str] | Results | None = None,
    force: bool = False,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    progress: Report = silent,
) -> Exported:
    """Write λ · intervention into the folder ``out``: merged into the model and proved, or as a control vector.

    Args:
        source: see :func:`equipoise.models.load`.
        intervention: a value, a file, or a sum of files.
        out: a new or empty folder; it appears only when everything in it has been proved.
        strength: λ ≥ 0.
        format: ``hf``, a checkpoint that transformers and vLLM load; ``gguf``, a model.gguf for llama.cpp; both with
            parity.json. ``peft``, a LN-tuning adapter for the unchanged model, where that is exact. Or
            ``control-vector``, llama.cpp's file beside the unchanged model. All with a card, README.md.
        gguf_type: of a GGUF's matrices: ``f32``, ``f16`` or ``q8_0``.
        task: whose prompts parity is tested on, beside plain text.
        new_tokens: how many greedy tokens of each prompt must agree.
        results: an audit's results.json, whose figures at this strength go into the card.
        force: replace a folder that an export made.
        dtype: of the checkpoint too. float32 loses nothing.

    Raises :class:`InputError`, with nothing written, for what can't be merged exactly, for parity that fails, and for
    bad input.
    """
    if format not in get_args(Format):
        raise InputError(f"--format {format}: it must be one of {', '.join(get_args(Format))}")
    if gguf_type not in get_args(GgufType):
        raise InputError(f"--gguf-type {gguf_type}: it must be one of {', '.join(get_args(GgufType))}")
    if format == "peft":
        require_peft()
    elif format != "hf":
        require_gguf()
    target = refuse_full(out, MARKS[format], force=force)
    writable(target)
    if new_tokens < 1:
        raise InputError(f"--new-tokens {new_tokens}: parity needs at least one")
    (lam,) = check_strengths([strength])
    found = the_intervention(intervention)
    effects = [] if results is None else measured(results, lam)
    chosen = load_any_task(task) if isinstance(task, str) else task
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    title = f"{loaded.name} with Equipoise at {lam:g}"
    if format == "control-vector":
        with whole_folder(target, MARKS[format], force=force) as folder:
            save_control_vector(loaded, found, lam, folder / VECTOR)
            card = model_card(title, loaded.name, found, lam, effects=effects, what=WHAT[format])
            (folder / "README.md").write_text(card, encoding="utf-8")
        return Exported(target, ("README.md", VECTOR), None, None)
    prompts, names = parity_prompts(loaded, chosen)
    progress(0.1, "merging")
    merged = merge(loaded, found, lam)
    progress(0.2, "asking the steered model")
    reference = steered_reference(loaded, found, lam, prompts, new_tokens=new_tokens)
    with whole_folder(target, MARKS[format], force=force) as folder:
        progress(0.4, "writing")
        gguf: dict[str, Any] | None = None
        adapted: LoadedModel | None = None
        if format == "peft":
            adapted = save_ln_tuning(loaded, merged, folder, base=os.fspath(source) if _is_id(source) else "")
        elif format == "gguf":
            worst = save_gguf(merged.loaded, folder / MODEL, gguf_type, name=title)
            gguf = {"type": gguf_type, "largest_error_of_a_weight": worst}
        else:
            save_checkpoint(merged.loaded, folder)
        progress(0.5, "comparing")
        parity = prove(reference, merged.loaded, None if gguf else folder, names, adapted=adapted)
        (folder / PARITY).write_text(report(merged, parity, gguf), encoding="utf-8")
        shown = {"what": WHAT[format], "library": "peft" if adapted else "transformers"}
        card = model_card(
            title, loaded.name, found, lam, merged=merged, parity=parity, effects=effects, **shown
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        files = tuple(sorted(path.name for path in folder.iterdir()))
    progress(1.0, "done")
    return Exported(target, files, merged, parity)


def _is_id(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether it looks like a hub id, which others can load too."""
    return isinstance(source, str) and source.count("/") == 1 and not source.startswith((".", "/"))


def _words(a: Agreement) -> str:
    differ = f"logits differ by at most {a.relative:.1e} of the largest, KL {a.kl:.1e} nats a token"
    return f"{differ}, {a.same_texts} of {a.texts} greedy texts the same"


def parity_prompts(loaded: LoadedModel, task: Task | PromptTask) -> tuple[list[list[int]], tuple[str, ...]]:
    """Token ids of prompts of the task and of the beginnings of plain passages, and what to call them."""
    chat = getattr(loaded.tokenizer, "chat_template", None) is not None
    if isinstance(task, Task):
        items = [item for item in task.items() if not item.images and (chat or isinstance(item.prompt, str))]
        asked = [item.prompt for item in sample_items(items, count=TASK_PROMPTS)]
    else:
        asked = [item.prompt for item in task.items() if chat or isinstance(item.prompt, str)][:TASK_PROMPTS]
    passages: Sequence[str] = plain_text("report")[:TEXT_PROMPTS]
    prompts = [prompt_ids(loaded.tokenizer, prompt) for prompt in asked]
    prompts += [prompt_ids(loaded.tokenizer, text)[:TEXT_TOKENS] for text in passages]
    names = [f"{task.name}: {shown(prompt)}" for prompt in asked]
    names += [str(loaded.tokenizer.decode(ids)) for ids in prompts[len(asked) :]]
    return prompts, tuple(names)


def report(merged: Merged, parity: Parity, gguf: dict[str, Any] | None = None) -> str:
    """parity.json: what merging did, and how the results agree."""
    content = {
        "schema": 1,
        "strength": merged.strength,
        "as_llama": merged.as_llama,
        "changed": list(merged.changed),
        "added": list(merged.added),
        "entries": merged.entries,
        "lost_to_rounding": merged.lost,
        "rounding": merged.rounding,
        "float32": {"error": merged.error.relative, "effect": merged.effect.relative},
        "parity": parity.to_json(),
        "gguf": gguf,
    }
    return json_text(content)


def measured(results: str | os.PathLike[str] | Results, strength: float) -> list[Effect]:
    """What an audit measured at ``strength``, one entry a task; :class:`InputError` if it didn't measure there."""
    found = results if isinstance(results, Results) else Results.read(results)
    # The mean over seeds where there are several, else the one seed's run.
    whole = [run for run in found.runs if run.keep is None]
    whole = [run for run in whole if run.seed is None or not any(_mean_of(run, other) for other in whole)]
    effects = []
    for run in whole:
        base = next((b for b in whole if b.mitigation is None and b.task == run.task), None)
        if (
            run.mitigation is not None
            and run.strength is not None
            and abs(run.strength - strength) < 1e-9
            and base
        ):
            effects.append(Effect(run.task, strength, run.n, base.metrics, run.metrics))
    if not effects:
        seen = sorted({run.strength for run in whole if run.strength is not None})
        raise InputError(f"--results has nothing at strength {strength:g}: it measured {seen}")
    return effects


def _mean_of(run: Run, other: Run) -> bool:
    return other.seed is None and (other.task, other.strength, other.file) == (
        run.task,
        run.strength,
        run.file,
    )
