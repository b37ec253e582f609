"""RES-FAIR: the printed update throws the state away, the default leaves it alone at 0, the vectors are the means."""

import math
from dataclasses import replace

import pytest
import torch
from methods.planted import planted_model
from methods.samples import TEXT, TinyTask
from tiny import tiny

from equipoise.analysis import read_streams
from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.methods import res_fair
from equipoise.methods.res_fair import ResFairSettings, Sides, edit_of
from equipoise.metrics import per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.scoring import (
    encode_all,
    encode_passages,
    head_logprobs,
    responses,
    run_backbone,
    score_options,
)
from equipoise.tasks import Item, Task


def delta(edit: AffineEdit, y: torch.Tensor) -> torch.Tensor:
    found = torch.zeros_like(y)
    for part in (None if edit.scale is None else edit.scale * y, edit.shift):
        found = found if part is None else found + part
    return found if edit.u is None else found + edit.u @ (edit.v.T @ y)


@pytest.mark.parametrize("centred", [False, True])
def test_the_three_updates_are_the_equations(centred: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    fair, biased, y, mu = torch.randn(4, 16, generator=draw)
    centre = mu if centred else None
    z = y - mu if centred else y
    onto = [torch.outer(v, v) / (v @ v) for v in (fair, biased)]
    free = z - onto[1] @ z
    wanted = {
        "ablate_amplify": y - 0.3 * onto[1] @ z + 0.4 * onto[0] @ z,
        "sum": 0.3 * (y - onto[1] @ z) + 0.4 * onto[0] @ z,
        "literal": 0.4 * onto[0] @ (0.3 * free),
    }
    for variant, new in wanted.items():
        settings = ResFairSettings(variant=variant, lambda1=0.3, lambda2=0.4)  # type: ignore[arg-type]
        edit = edit_of(Sides(fair, biased, (1, 1)), settings, centre)
        assert edit is not None
        torch.testing.assert_close(y + delta(edit, y), new, rtol=1e-4, atol=1e-5)
    zero = edit_of(Sides(fair, biased, (1, 1)), ResFairSettings(lambda1=0.0, lambda2=0.0), centre)
    assert zero is not None and not delta(zero, y).any()
    assert edit_of(Sides(None, None, (0, 0)), ResFairSettings(), centre) is None


def test_vectors_are_means_of_labelled_residuals() -> None:
    """By hand: an answer is the likelier of he and she after the final norm and the head."""
    loaded, task = planted_model(), TinyTask()
    found = res_fair.fit(loaded, task, settings=ResFairSettings(items=9999), text=TEXT)
    assert set(found.edits) == {f"block.{at}.out" for at in range(3)} and found.scope == "all"
    items = [item for item in task.split(0).train if item.part == "ambiguous"]
    encoded = encode_all(loaded, items)
    streams = read_streams(loaded, encoded)
    both = 0
    for at in range(3):
        sums, counts = {True: torch.zeros(48), False: torch.zeros(48)}, {True: 0, False: 0}
        for part in (streams.before[at], streams.middle[at]):
            with torch.no_grad():
                logits = loaded.model.lm_head(loaded.model.model.norm(part))
            for row, (item, one) in enumerate(zip(items, encoded, strict=True)):
                said = int(logits[row, [option[0] for option in one.options]].argmax())
                fair = item.outcomes[said] == "anti"
                sums[fair] += part[row]
                counts[fair] += 1
        record = found.provenance.config["residuals"][f"block.{at}.out"]
        assert (record["fair"], record["biased"]) == (counts[True], counts[False])
        edit, sides = found.edits[f"block.{at}.out"], [fair for fair in (False, True) if counts[fair]]
        assert edit.v is not None and edit.u is not None
        for column, new, fair in zip(edit.v.T, edit.u.T, sides, strict=True):
            unit = sums[fair] / sums[fair].norm()
            torch.testing.assert_close(column, unit, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(new, (0.2 if fair else -0.2) * unit, rtol=1e-4, atol=1e-5)
        if len(sides) == 2:
            both += 1
            wanted = torch.cosine_similarity(sums[True], sums[False], dim=0)
            assert record["cosine"] == pytest.approx(float(wanted), abs=1e-5)
        else:
            assert record["cosine"] is None
    assert both


def bias(loaded: LoadedModel, task: Task) -> float:
    items = [item for item in task.split(0).heldout if item.part == "ambiguous"]
    found = per_occupation_bias(responses(score_options(loaded, items), items, task.outcomes))
    assert found is not None
    return found


def continuations(loaded: LoadedModel) -> tuple[int, int]:
    """Of 96 places in plain text: the rank of their states, and how many different tokens are likeliest next."""
    ids = encode_passages(loaded, TEXT, length=12)[:8]
    with torch.no_grad():
        states = run_backbone(loaded, ids).last_hidden_state.reshape(-1, 48)
        said = head_logprobs(loaded, states).argmax(1)
    return int(torch.linalg.matrix_rank(states, rtol=1e-3)), len(set(said.tolist()))


def test_the_printed_update_collapses_the_model_and_the_default_does_not() -> None:
    loaded, task = tiny("Llama"), TinyTask()
    rank, tokens = continuations(loaded)
    assert rank == 48 and tokens > 10
    settings = [ResFairSettings(variant=v, layers=1, items=80) for v in res_fair.VARIANTS]
    found = {one.variant: res_fair.fit(loaded, task, settings=one, text=TEXT) for one in settings}
    with attach(loaded, found["literal"]):
        # Of every state 0.04 of one direction is left, whose length the final norm takes away: a sign remains.
        rank, tokens = continuations(loaded)
        assert rank == 1 and tokens <= 2
    for variant in ("ablate_amplify", "sum"):
        with attach(loaded, found[variant]):
            rank, tokens = continuations(loaded)
            assert rank == 48 and tokens > 10
    edit, y = found["literal"].edits["block.2.out"], torch.randn(48)
    assert float((y + delta(edit, y)).norm()) < 0.05 * float(y.norm())
    nothing = edit_of(Sides(None, torch.ones(4), (0, 3)), ResFairSettings(variant="literal"), None)
    assert nothing is not None and not (torch.ones(4) + delta(nothing, torch.ones(4))).any()


def test_amplifying_what_is_fair_lowers_a_planted_bias_and_its_reverse_does_not() -> None:
    loaded, task = planted_model(), TinyTask()
    base = bias(loaded, task)
    found = res_fair.fit(loaded, task, settings=ResFairSettings(lambda1=0.0, lambda2=1.0), text=TEXT)
    with attach(loaded, found):
        after = bias(loaded, task)
    reverse = {site: AffineEdit(u=-0.5 * edit.u, v=edit.v) for site, edit in found.edits.items()}  # type: ignore[operator]
    with attach(loaded, Intervention(reverse)):
        worse = bias(loaded, task)
    assert after < 0.7 * base < worse


class OneSided(TinyTask):
    """What a model that knows he and she never says would be the stereotype."""

    def items(self) -> list[Item]:
        means = {"options": (" he", " she", "q"), "outcomes": ("anti", "anti", "pro")}
        return [replace(item, **means) for item in super().items() if item.answer is None]  # type: ignore[arg-type]


def test_one_label_everywhere_is_refused() -> None:
    with pytest.raises(InputError, match="gives a biased answer to task 'tiny'"):
        res_fair.fit(planted_model(), OneSided(), settings=ResFairSettings(layers=1, items=40), text=TEXT)


def test_settings_are_checked() -> None:
    for wrong in (
        {"variant": "both"},
        {"lambda1": -1.0},
        {"layers": 0},
        {"centre": "mean"},
        {"lambda2": math.nan},
    ):
        with pytest.raises(InputError, match="res_fair setting"):
            ResFairSettings(**wrong)  # type: ignore[arg-type]
