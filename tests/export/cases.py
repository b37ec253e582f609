"""Every architecture, site and part of an edit, merged or refused: the table of docs/export.md, and what tests run.

``python tests/export/cases.py`` (with ``tests`` and ``src`` on PYTHONPATH) writes the table into the documentation.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny import ARCHITECTURES, tiny

from equipoise.export import CannotMerge, Merged, merge
from equipoise.interventions import AffineEdit, Intervention, Provenance
from equipoise.models import LoadedModel

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
PARTS = {"scale": "a", "shift": "b", "low rank": "UV"}
STRENGTH = 0.7

REASONS = {
    "no bias": "the shift needs a bias that the model's class has not, and the model can't be written as Llama",
    "other readers": "the norm is also read by the residual sum or by a mixture of experts",
    "no single layer": "a mixture of experts gives the output, no single linear layer",
    "residual": "the residual stream passes every weight of the block by",
    "norm after": "the MLP's output goes through a norm or a factor before it is added to the residual stream",
    "tied": "the head's weight is the embedding's",
}


@functools.cache
def model(architecture: str) -> LoadedModel:
    """One model of each architecture for the whole session: nothing may change it."""
    return tiny(architecture)


def sites(architecture: str) -> list[str]:
    """The sites of the middle block, and the final norm's."""
    return [s for s in model(architecture).anatomy.sites() if s.startswith("block.1.") or s == "final.norm"]


def edit(architecture: str, site: str, part: str) -> AffineEdit:
    width = model(architecture).anatomy.site(site).width
    generator = torch.Generator().manual_seed(len(site) + len(part))

    def draw(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    if part == "low rank":
        return AffineEdit(u=draw(width, 2), v=draw(width, 2))
    return AffineEdit(**{part: draw(width)})


def intervention(architecture: str, edits: dict[str, AffineEdit]) -> Intervention:
    return Intervention(edits, provenance=Provenance("test", model=model(architecture).fingerprint))


@dataclass(frozen=True)
class Outcome:
    """Merging one part of an edit at one site: what came of it, or the refusal."""

    site: str
    part: str
    merged: Merged | None
    refusal: CannotMerge | None


@functools.cache
def outcomes(architecture: str) -> tuple[Outcome, ...]:
    return tuple(_outcomes(architecture))


def _outcomes(architecture: str) -> Iterator[Outcome]:
    for site in sites(architecture):
        for part in PARTS:
            one = intervention(architecture, {site: edit(architecture, site, part)})
            try:
                yield Outcome(site, part, merge(model(architecture), one, STRENGTH), None)
            except CannotMerge as refusal:
                yield Outcome(site, part, None, refusal)


def table() -> str:
    """The table in Markdown, with a legend of the reasons."""
    columns = [
        "norm.0",
        "norm.1",
        "norm.2",
        "norm.3",
        "heads",
        "attn",
        "mlp",
        "out",
        "final.norm",
    ]
    numbers = {reason: number for number, reason in enumerate(REASONS, 1)}
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for architecture in ARCHITECTURES:
        cells = dict.fromkeys(columns, "")
        for outcome in outcomes(architecture):
            column = outcome.site.removeprefix("block.1.")
            sign = PARTS[outcome.part]
            if outcome.merged is not None:
                sign += "\\*" if outcome.merged.as_llama else ""
            else:
                assert outcome.refusal is not None
                sign = f"~~{sign}~~ ({numbers[outcome.refusal.reason]})"
            cells[column] += f"{', ' if cells[column] else ''}{sign}"
        lines.append(f"| {architecture} | " + " | ".join(cells[column] for column in columns) + " |")
    legend = [f"{numbers[reason]}. {text}" for reason, text in REASONS.items()]
    return "\n".join([*lines, "", *legend])


def written(text: str) -> str:
    """The table as it stands in ``text``."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == "__main__":
    before = DOCS.read_text(encoding="utf-8")
    head, _, rest = before.partition(BEGIN)
    DOCS.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
