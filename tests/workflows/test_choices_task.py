"""``choices`` as a task: fitted on, audited and compared like any other, with the paper's two figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny

from equipoise.interventions import attach
from equipoise.methods.dso.contrasts import parity
from equipoise.metrics import choice_scores, per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.scoring import by_outcome, responses, score_options
from equipoise.tasks import Choices, Item
from equipoise.workflows import audit, compare, fit

QUICK = {
    "steps": "3",
    "items": "24",
    "passages": "8",
    "passage_tokens": "12",
    "kl": "5",
    "kl_unambiguous": "5",
    "precision": "model",
}


def short(folder: Path, source: str = "first") -> Choices:
    """Few words: a tiny model's tokens are letters."""
    kinds = {"occupation": ("cook", "nurse"), "status": ("late", "busy"), "potential crime": ("run", "hide")}
    lines = ['system = ""', "[templates]"]
    lines += [
        f'"{kind}" = [{", ".join(repr(f"{w} {{concept}} {{options}}") for w in "ABCDE")}]' for kind in kinds
    ]
    for name in ("first", "second"):
        lines.append(f"[concepts.{name}]")
        lines += [
            f'"{kind}" = [{", ".join(repr(f"{word} {name[0]}{k}") for word in words for k in range(3))}]'
            for kind, words in kinds.items()
        ]
    path = folder / "short.toml"
    path.write_text("\n".join(lines))
    return Choices(source, prompts=path, shuffle=True)


def bias(loaded: LoadedModel, task: Choices, items: list[Item]) -> float:
    found = per_occupation_bias(responses(score_options(loaded, items), items, task.outcomes, task.target))
    assert found is not None
    return found


def test_dso_makes_answers_fair_and_an_audit_says_so(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), short(tmp_path)
    edit = fit(loaded, task, settings=QUICK)
    items = list(task.split(0).validation)
    before = bias(loaded, task, items)
    with attach(loaded, edit, 1.0):
        assert bias(loaded, task, items) < before
    results = audit(loaded, task, intervention=edit, strengths=[1.0], passages=5, out=tmp_path / "audit")
    base, steered = results.runs
    heldout = list(task.split(0, 160).heldout)
    scores = choice_scores(by_outcome(score_options(loaded, heldout).probabilities, heldout, task.outcomes))
    for name, value in (("fairness", scores.fairness), ("attribute_kl", scores.kl)):
        estimate = base.metrics[name]
        assert estimate is not None and estimate.value == pytest.approx(value, abs=1e-5)
        assert name in steered.changes
    assert base.extra["degenerate"] == scores.degenerate and "stereotype_gap" not in base.metrics
    assert "fair class" in (tmp_path / "audit" / "report.html").read_text()


def test_heads_of_a_target_are_zero_there_and_nowhere_else() -> None:
    task = Choices("first", shuffle=True)
    items = list(task.items(0))[:6]
    logp = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).log_softmax(1) - 0.1
    rows = torch.arange(6)
    skew, fair = parity(items, task.outcomes, task.target)(logp, rows)
    table = by_outcome(np.exp(logp.double().numpy()), items, task.outcomes)
    np.testing.assert_allclose(skew.numpy(), np.log(table[:, 1] / table[:, 2]), atol=1e-3)
    odds = np.log(table[:, 0] / table[:, 1:].sum(1)) - np.log(0.98 / 0.02)
    np.testing.assert_allclose(fair.numpy(), np.minimum(odds, 0), atol=1e-3)
    # Surely fair, and even: nothing is left to do. With equal shares as the target much is.
    sure = torch.tensor([[-1.0 if o == "fair" else -9.0 for o in item.outcomes] for item in items])
    assert all(not head.any() for head in parity(items, task.outcomes, task.target)(sure, rows))
    assert parity(items, task.outcomes)(sure, rows)[0].abs().min() > 1


def test_compare_reports_fairness_at_every_budget(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), short(tmp_path)
    edit = fit(loaded, task, settings={**QUICK, "steps": "1"})
    found = compare(
        loaded,
        task,
        {"mine": edit},
        strengths=[0.5],
        budgets=[5.0],
        limit=30,
        passages=5,
        out=tmp_path / "out",
    )
    (mine,) = found.extra["comparison"]["mitigations"]
    assert {"fairness", "attribute_kl"} <= set(mine["budgets"][0]["metrics"])
