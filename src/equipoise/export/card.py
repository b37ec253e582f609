"""The model card that lies beside an exported model: what it is, what it was measured to do, and what it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..interventions import Intervention, Provenance
from ..metrics import Estimate
from ..versions import equipoise_version
from .merge import Merged
from .parity import Agreement, Parity


@dataclass(frozen=True)
class Effect:
    """What an audit measured at (or next to) the exported strength, on held-out items of one task."""

    task: str
    strength: float
    n: int
    base: Mapping[str, Estimate | None]
    steered: Mapping[str, Estimate | None]


_SHOWN = {
    "per_occupation_bias": "per-occupation bias",
    "stereotype_gap": "stereotype gap",
    "unambiguous_accuracy": "unambiguous accuracy",
    "abstention_rate": "abstention rate",
    "kl_to_base": "KL to base, nats a token",
    "perplexity": "perplexity",
}


def model_card(
    title: str,
    base: str,
    intervention: Intervention,
    strength: float,
    *,
    merged: Merged | None = None,
    parity: Parity | None = None,
    effects: Sequence[Effect] = (),
    what: str = "a plain checkpoint that stock engines load",
    library: str = "transformers",
) -> str:
    """README.md in Markdown with the hub's header.

    ``base`` is what the base model was loaded as; it becomes ``base_model`` where it looks like a hub id.
    """
    lines = [*_header(library, base), f"# {title}", ""]
    lines.append(
        f"{base} with an activation edit at strength λ = {strength:g}: {what}. Made by"
        f" Equipoise {equipoise_version()}."
    )
    lines += _edit(intervention)
    if merged is not None:
        lines += ["", "## In the weights", "", *_weights(merged)]
    if parity is not None:
        lines += ["", "## Parity with the steered model", "", *_parity(parity)]
    lines += _effects(
        effects, "Not measured for this export: `equipoise audit` does, and `--results` puts it here."
    )
    lines += _end(f"That of the base model, {base}, whose terms hold for this copy too.")
    return "\n".join(lines)


def intervention_card(
    repository: str,
    base: str | None,
    intervention: Intervention,
    strength: float,
    *,
    file: str,
    licence: str,
    effects: Sequence[Effect] = (),
) -> str:
    """README.md of a hub repository that holds an intervention's file, not a model.

    Args:
        repository: ``OWNER/NAME``.
        base: what others load the model as that it belongs to; None if that isn't known.
        strength: λ that ``effects`` were measured at, and that the card recommends.
        file: the intervention's name in the repository.
        licence: of the file, as the hub names it (``apache-2.0``).
    """
    origin = intervention.provenance.model
    model = base or "its base model"
    lines = [*_header("equipoise", base or "", licence), f"# {repository.rpartition('/')[2]}", ""]
    lines.append(
        f"An activation edit for {model}: numbers that steer the model while it runs, and leave its weights alone."
        f" λ turns it, from 0, the base model, to 1, the fitted edit. Made by Equipoise {equipoise_version()}."
    )
    if origin is not None:
        lines += [
            "",
            f"It belongs to a {origin.architecture} with fingerprint `{origin.digest}`, and to no other model.",
        ]
    lines += ["", "```console", f"$ equipoise pull {repository} --out {file}"]
    shown = base or "MODEL"
    lines += [
        f'$ equipoise generate {shown} --intervention {file} --strength {strength:g} --prompt "…"',
        "```",
    ]
    lines += _edit(intervention)
    scope = "all tokens" if intervention.scope == "all" else "the answer, from the prompt's last token on"
    lines.append(f"- it acts on {scope}")
    lines += _effects(
        effects, "Not measured here: `equipoise audit` does, and `push --results` puts it here."
    )
    lines += _end(
        f"The file: {licence}. The model that it steers has its own licence, which this doesn't change."
    )
    return "\n".join(lines)


def _header(library: str, base: str, licence: str | None = None) -> list[str]:
    header = ["---", f"library_name: {library}", "tags:", "- equipoise", "- bias"]
    if licence is not None:
        header.append(f"license: {licence}")
    if base.count("/") == 1 and not base.startswith((".", "/")):
        header.append(f"base_model: {base}")
    return [*header, "---", ""]


def _edit(intervention: Intervention) -> list[str]:
    sites = f"- sites: {_sites(intervention)}; {intervention.nonzero} entries are not zero"
    return ["", "## The edit", "", *_origin(intervention.provenance), sites]


def _effects(effects: Sequence[Effect], otherwise: str) -> list[str]:
    lines = ["", "## What it does, and what it costs", ""]
    for effect in effects:
        lines += _effect(effect)
    return lines if effects else [*lines, otherwise]


def _end(licence: str) -> list[str]:
    return [
        "",
        "## Limits",
        "",
        "The edit was fitted on one kind of question and measured on held-out items of that kind. Bias that shows"
        " elsewhere may be unchanged or changed in either direction. A low figure is no certificate of fairness.",
        "",
        "## Licence",
        "",
        licence,
        "",
    ]


def _origin(provenance: Provenance) -> list[str]:
    lines = []
    for one in provenance.terms or (provenance,):
        lines.append(f"- method: {one.method}" + ("" if one.seed is None else f", seed {one.seed}"))
        if one.config:
            task = one.config.get("task")
            lines += [] if task is None else [f"- task: {task}"]
            lines.append(f"- settings: `{json.dumps(dict(one.config), sort_keys=True)}`")
        lines += [] if one.data is None else [f"- data: `{one.data}`"]
        lines += [f"- then: {step}" for step in one.steps]
    return lines


def _sites(intervention: Intervention) -> str:
    kinds: dict[str, int] = {}
    for site in intervention.edits:
        name = ".".join(
            "i" if part.isdigit() and at == 1 else part for at, part in enumerate(site.split("."))
        )
        kinds[name] = kinds.get(name, 0) + 1
    return ", ".join(f"{count} × `{name}`" if count > 1 else f"`{name}`" for name, count in kinds.items())


def _weights(merged: Merged) -> list[str]:
    lines = [
        f"- {merged.entries} entries of {len(merged.changed)} parameters changed; {len(merged.added)} biases added",
        f"- in float32, merged and steered logits differ by {merged.error.relative:.1e} of the largest;"
        f" steering moves them by {merged.effect.relative:.1e}",
    ]
    if merged.lost or merged.rounding:
        lines.append(
            f"- rounding to the checkpoint's type undid {merged.lost} of the changes; its size is"
            f" {merged.rounding:.1%} of theirs"
        )
    if merged.as_llama:
        lines.append("- written as Llama, whose classes have room for the biases")
    return lines


def _parity(parity: Parity) -> list[str]:
    rows: dict[str, Agreement] = {"merged": parity.merged}
    if parity.reloaded is not None:
        rows[f"saved, reloaded by {parity.loader} alone"] = parity.reloaded
    lines = [
        "| | largest logit difference | of the largest logit | KL | same top token | same greedy texts |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for name, a in rows.items():
        tie = f" ({a.ties} part at a tie)" if a.ties else ""
        texts = f"{a.same_texts} of {a.texts}{tie}"
        lines.append(
            f"| {name} | {a.difference:.1e} | {a.relative:.1e} | {a.kl:.1e} | {a.same_top:.2%} | {texts} |"
        )
    lines += [
        "",
        f"In {parity.dtype}; up to {parity.new_tokens} greedy tokens a prompt; details in `parity.json`.",
    ]
    return lines


def _effect(effect: Effect) -> list[str]:
    lines = [
        f"Task `{effect.task}`, {effect.n} held-out ambiguous items, λ = {effect.strength:g}:",
        "",
        "| | base | with the edit |",
        "|---|---|---|",
    ]
    for key, words in _SHOWN.items():
        base, steered = effect.base.get(key), effect.steered.get(key)
        if base is not None or steered is not None:
            lines.append(f"| {words} | {_number(base)} | {_number(steered)} |")
    return [*lines, ""]


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
