"""DSO's fit on tiny models: it lowers bias within its budgets, repeats itself, resumes, and leaves the model alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from methods.samples import TEXT, SeenTask, TinyTask, outcome_probabilities, quick, weights
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, LiveEdit, attach, attach_live, refuse_steered
from equipoise.methods.batches import balanced, block_mean
from equipoise.methods.dso import DsoSettings, Progress, exact, fit, fit_sampled
from equipoise.methods.dso.contrasts import parity
from equipoise.methods.dso.linearisation import Linearisation
from equipoise.methods.dso.parameters import NormParameters, answer_gradients, answer_values
from equipoise.methods.dso.working_copy import working_copy
from equipoise.methods.validation import Validated, Validation
from equipoise.metrics import Responses, per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.scoring import encode_all, encode_passages, score_options
from equipoise.tasks import Item, Task, plain_text


def run(loaded: LoadedModel, task: Task, seed: int = 0, **more: Any) -> Intervention:
    settings = {key: more.pop(key) for key in list(more) if key in DsoSettings.__dataclass_fields__}
    return fit(loaded, task, seed=seed, settings=quick(**settings), text=TEXT, **more)


def measured(loaded: LoadedModel, task: Task, items: list[Item]) -> float:
    items = [item for item in items if item.part == "ambiguous"]
    table = outcome_probabilities(task, items, score_options(loaded, items))
    bias = per_occupation_bias(
        Responses(
            table,
            task.outcomes,
            np.argmax(table, 1),
            [item.groups for item in items],
            [item.template for item in items],
        )
    )
    assert bias is not None
    return bias


def equal(a: Intervention, b: Intervention) -> bool:
    return a.edits.keys() == b.edits.keys() and all(
        torch.equal(a.edits[k].scale, b.edits[k].scale) and torch.equal(a.edits[k].shift, b.edits[k].shift)
        for k in a.edits
    )


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny("Llama")


@pytest.fixture(scope="module")
def found(llama: LoadedModel) -> Intervention:
    return run(llama, TinyTask())


def test_bias_falls_within_the_budget(llama: LoadedModel, found: Intervention) -> None:
    task = TinyTask()
    validation = list(task.split(0).validation)
    base = measured(llama, task, validation)
    with attach(llama, found):
        steered = measured(llama, task, validation)
    assert steered < 0.8 * base
    figures = found.provenance.config["validation"]
    assert figures["base"]["bias"] == pytest.approx(base, rel=1e-3)
    assert figures["fitted"]["bias"] == pytest.approx(steered, rel=1e-3)
    assert 0 < figures["fitted"]["kl"] <= 0.2
    assert figures["fitted"]["kl_unambiguous"] <= 5.0
    assert figures["fitted"]["accuracy"] >= figures["base"]["accuracy"] - 0.01


def test_a_tighter_budget_is_kept_too(llama: LoadedModel) -> None:
    tight = run(llama, TinyTask(), kl=0.002)
    assert tight.provenance.config["validation"]["fitted"]["kl"] <= 0.002


def test_at_zero_it_is_the_base_model_bit_for_bit(llama: LoadedModel, found: Intervention) -> None:
    ids = torch.tensor([llama.tokenizer("The nurse said that")["input_ids"]])
    with torch.no_grad():
        base = llama.model(input_ids=ids).logits
        with attach(llama, found, 0.0) as handle:
            assert torch.equal(llama.model(input_ids=ids).logits, base)
            handle.strength = 1.0
            assert not torch.equal(llama.model(input_ids=ids).logits, base)


def test_zeros_are_exact(llama: LoadedModel, found: Intervention) -> None:
    assert 0 < found.nonzero <= quick().density * found.size
    sparser = run(llama, TinyTask(), density=0.02)
    assert sparser.nonzero <= 0.02 * sparser.size


def test_a_seed_gives_one_result(llama: LoadedModel, found: Intervention) -> None:
    torch.rand(5)
    assert equal(run(llama, TinyTask()), found)
    assert not equal(run(llama, TinyTask(), seed=1), found)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_resumed_is_uninterrupted(
    llama: LoadedModel, found: Intervention, after: int, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    steps: list[int] = []

    def stop(progress: Progress) -> None:
        if progress.step == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(llama, TinyTask(), checkpoint=path, progress=stop)
    assert path.exists()
    with pytest.raises(InputError, match="another fit"):
        run(llama, TinyTask(), seed=1, checkpoint=path)
    assert equal(run(llama, TinyTask(), checkpoint=path, progress=lambda p: steps.append(p.step)), found)
    assert not path.exists()
    assert [step for step in steps if step] == list(range(after + 1, 4))


def test_a_broken_checkpoint_is_refused(llama: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="no readable checkpoint"):
        run(llama, TinyTask(), checkpoint=path)


@pytest.mark.parametrize("precision", ["model", "bfloat16"])
@pytest.mark.parametrize("interrupt", [False, True])
def test_the_callers_model_comes_back_as_it_was(precision: str, interrupt: bool) -> None:
    loaded = tiny("Llama", attention_dropout=0.5)
    loaded.model.train()
    loaded.model.lm_head.eval()
    frozen = loaded.model.model.layers[0].mlp.up_proj.weight
    frozen.requires_grad_(False)
    before = weights(loaded)
    flags = {name: p.requires_grad for name, p in loaded.model.named_parameters()}
    modes = {name: m.training for name, m in loaded.model.named_modules()}
    attention = loaded.model.config._attn_implementation
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules())

    def stop(progress: Progress) -> None:
        if interrupt and progress.step:
            raise Interrupted

    results = []
    for _ in range(2):
        try:
            results.append(run(loaded, TinyTask(), steps=1, precision=precision, progress=stop))
        except Interrupted:
            assert interrupt
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.model.state_dict().items())
    assert {name: p.requires_grad for name, p in loaded.model.named_parameters()} == flags
    assert all(p.grad is None for p in loaded.model.parameters())
    assert {name: m.training for name, m in loaded.model.named_modules()} == modes
    assert loaded.model.config._attn_implementation == attention
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules()) == hooks
    if not interrupt:
        # Dropout would make these two differ.
        assert equal(*results)


def test_a_copy_in_bf16_keeps_its_buffers_exact(llama: LoadedModel) -> None:
    with working_copy(llama, "bfloat16") as copy:
        assert copy.dtype == torch.bfloat16
        assert copy.model is not llama.model
        kept = dict(llama.model.named_buffers())
        assert kept
        for name, buffer in copy.model.named_buffers():
            assert torch.equal(buffer, kept[name])
    with working_copy(llama, "model") as same:
        assert same is llama


def test_the_papers_objective_works(llama: LoadedModel, found: Intervention) -> None:
    paper = run(llama, TinyTask(), objective="paper")
    figures = paper.provenance.config["validation"]
    assert figures["fitted"]["bias"] < 0.9 * figures["base"]["bias"]
    assert not equal(paper, found)


@pytest.mark.parametrize(
    "task",
    [
        TinyTask((" he", " she", " they"), ("a", "b", "c")),
        SeenTask((" the mechanic", " the cleaner")),
        TinyTask((" he", " she", " they", " nobody at all")),
        TinyTask(clear=False),
    ],
    ids=["three outcomes", "many tokens", "options that share an outcome", "no unambiguous part"],
)
def test_other_tasks(llama: LoadedModel, task: Task) -> None:
    fitted = run(llama, task, kl=0.5, kl_unambiguous=5.0)
    figures = fitted.provenance.config["validation"]
    assert figures["fitted"]["bias"] < figures["base"]["bias"]
    validation = list(task.split(0).validation)
    with attach(llama, fitted):
        assert measured(llama, task, validation) == pytest.approx(figures["fitted"]["bias"], rel=2e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_can_be_fitted(name: str) -> None:
    fitted = run(tiny(name), TinyTask(), steps=1, items=10, unambiguous=10, kl=0.5)
    figures = fitted.provenance.config["validation"]
    assert figures["fitted"]["bias"] <= figures["base"]["bias"]
    assert figures["fitted"]["kl"] <= 0.5
    assert all(bool(edit.scale.isfinite().all()) for edit in fitted.edits.values())


def test_right_answers_below_the_confidence_rise(llama: LoadedModel) -> None:
    task = TinyTask()
    clear = [item for item in task.split(0).train if item.part == "unambiguous"]

    def surest(confidence: float) -> float:
        edit = run(llama, task, confidence=confidence, steps=1, density=1.0, kl=10.0, kl_unambiguous=10.0)
        with attach(llama, edit, 1.0):
            scores = score_options(llama, clear)
        right = [row[item.answer] for row, item in zip(scores.probabilities, clear, strict=True)]
        return float(np.mean(np.log(right)))

    assert surest(0.9) > surest(0.0) + 0.01


def test_a_confidence_of_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"confidence=1\.0: it must be at least 0 and below 1"):
        quick(confidence=1.0)


def test_a_task_without_ambiguous_items_is_refused(llama: LoadedModel) -> None:
    class Clear(TinyTask):
        def items(self) -> list[Item]:
            return [item for item in super().items() if item.part == "unambiguous"]

    with pytest.raises(InputError, match="no ambiguous training item"):
        run(llama, Clear())


@pytest.mark.parametrize("how", ["attached", "folded", "live", "at strength 0"])
def test_a_steered_model_is_refused(llama: LoadedModel, found: Intervention, how: str) -> None:
    site, edit = next(iter(found.edits.items()))
    with (
        attach_live(llama, {site: LiveEdit(edit.scale)})
        if how == "live"
        else attach(
            llama,
            Intervention({site: AffineEdit(edit.scale)}),
            float(how != "at strength 0"),
            fold=how == "folded",
        )
    ):
        with pytest.raises(InputError, match=r"is steered.*detach") as exact:
            run(llama, TinyTask())
        with pytest.raises(InputError, match=r"is steered.*detach"):
            fit_sampled(llama, [], lambda texts, _: torch.zeros(len(texts)))
    assert "\n" not in str(exact.value)
    with pytest.raises(InputError, match="prompts"):  # the twin: after that it is refused for its data alone
        fit_sampled(llama, [], lambda texts, _: torch.zeros(len(texts)))
    refuse_steered(llama)


def test_balanced_takes_every_group_equally_often() -> None:
    items = [item for item in TinyTask().items() if item.part == "ambiguous"]
    groups = {item.groups[0] for item in items}
    for step in range(6):
        chosen = balanced(items, 60, 3, step)
        assert len(set(chosen)) == 60
        assert [sum(items[i].groups[0] == g for i in chosen) for g in groups] == [3] * len(groups)
    assert balanced(items, 60, 3, 1) == balanced(items, 60, 3, 1)
    assert balanced(items, 60, 4, 1) != balanced(items, 60, 3, 1)
    rounds = [i for step in range(5) for i in balanced(items, 40, 3, step)]
    assert sorted(rounds) == list(range(len(items)))


def test_groups_take_turns_where_they_are_more_than_the_items() -> None:
    items = [item for item in TinyTask().items() if item.part == "ambiguous"]
    groups = sorted({item.groups[0] for item in items})
    few = len(groups) // 2
    drawn = [balanced(items, few, 3, step, turns=True) for step in range(2)]
    assert [len(chosen) for chosen in drawn] == [few, few]
    assert len({items[i].groups[0] for chosen in drawn for i in chosen}) == 2 * few
    # The twin: without turns every group has one, in every step.
    assert {items[i].groups[0] for i in balanced(items, few, 3, 0)} == set(groups)


def test_the_last_two_steps_see_twice_the_items(llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    whole = Linearisation.rows

    def rows(self: Linearisation, step: int, here: torch.Tensor) -> object:
        found = whole(self, step, here)
        drawn.append(len(found.items))
        return found

    monkeypatch.setattr(Linearisation, "rows", rows)
    run(llama, TinyTask(), steps=4, items=40)
    assert drawn == [20, 20, 40, 40]


def test_a_single_step_is_drawn_out_while_that_lowers_bias(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Linearisation, "extent", lambda *_: 1.0)

    def validated(reach: float) -> dict[str, float]:
        edit = run(llama, SeenTask(), steps=1, reach=reach, kl=0.6)
        found: dict[str, float] = edit.provenance.config["validation"]["fitted"]
        return found

    near, far = validated(1.0), validated(4.0)
    assert 1.3 * near["kl"] < far["kl"] <= 0.6 and far["bias"] < near["bias"]


def test_accuracy_may_fall_as_far_as_it_is_told(llama: LoadedModel) -> None:
    def within(**more: float) -> bool:
        split = TinyTask().split(0)
        trainer = exact.ExactFit(
            llama, split.train, split.validation, ("pro", "anti"), TEXT, quick(**more), 0
        )
        base = Validated(0.5, 0.0, 0.0, 1.0)
        return trainer._better(Validated(0.1, 0.0, 0.0, 0.6), base, base)

    assert within(accuracy_drop=0.5) and not within()


def test_where_no_step_keeps_every_budget_the_last_one_is_shortened(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {"steps": 1, "kl": 0.5, "kl_unambiguous": 1e-5}
    found = run(llama, TinyTask(), **strict)
    figures = found.provenance.config["validation"]
    assert found.nonzero and 0 < figures["fitted"]["kl_unambiguous"] <= 1e-5
    assert figures["fitted"]["bias"] < figures["base"]["bias"]
    monkeypatch.setattr(exact, "_SHORTENINGS", 0)
    assert not run(llama, TinyTask(), **strict).nonzero  # the twin


def test_balanced_takes_items_of_two_groups_for_either() -> None:
    whole = [item for item in TinyTask().items() if item.part == "ambiguous"]
    names = {item.groups[0] for item in whole}
    # By first mention alone there would be one group, and which others come up would be left to chance.
    pairs = [replace(item, groups=("everybody", item.groups[0])) for item in whole]
    chosen = balanced(pairs, len(names) + 1, 0, 0)
    assert {pairs[i].groups[1] for i in chosen} == names


def test_validation_reads_the_least_mass_as_metrics_do(llama: LoadedModel) -> None:
    long = (" he" + " whatever comes after" * 2, " she" + " whatever comes after" * 2)
    task = TinyTask(long, clear=False)
    items = list(task.split(0).validation)
    mass = score_options(llama, items).probabilities.sum(1)
    assert mass.max() < 1e-30
    passages = encode_passages(llama, plain_text("fit")[:3], length=8)
    assert Validation(llama, items, task.outcomes, passages)(None).bias == pytest.approx(
        measured(llama, task, items), rel=1e-4
    )


def pairs_with_orders(each: int = 4) -> list[Item]:
    """Blocks of four: two orders and two pronouns of each pair of groups."""
    names = [f"o{number}" for number in range(10)]
    return [
        Item(
            f"{a}{b}{t}{k}",
            "x",
            ("1", "2"),
            ("pro", "anti"),
            "ambiguous",
            None,
            (a, b) if k % 2 else (b, a),
            f"t{t}",
        )
        for t in range(each)
        for a, b in zip(names[:5], names[5:], strict=True)
        for k in range(4)
    ]


def test_balanced_draws_whole_blocks() -> None:
    items = pairs_with_orders()
    blocks: dict[Any, int] = {}
    for index in balanced(items, 40, 0, 1, whole=True):
        key = (*sorted(items[index].groups), items[index].template)
        blocks[key] = blocks.get(key, 0) + 1
    assert set(blocks.values()) == {4}
    alone = [items[index] for index in balanced(items, 40, 0, 1)]
    assert any(sum(b.groups[0] in a.groups and b.template == a.template for b in alone) % 4 for a in alone)


def test_balanced_lets_groups_take_turns_where_blocks_are_fewer() -> None:
    items = pairs_with_orders(each=8)
    drawn = [balanced(items, 8, 0, step, whole=True) for step in range(10)]
    assert all(len(chosen) == 8 for chosen in drawn)
    served = [{group for i in chosen for group in items[i].groups} for chosen in drawn]
    assert set().union(*served) == {f"o{number}" for number in range(10)}
    assert drawn[0] != drawn[1]


def test_a_blocks_mean_cancels_what_is_counterbalanced() -> None:
    items = pairs_with_orders(each=1)
    mean, firsts = block_mean(items)
    position = torch.tensor([1.0 if number % 2 else -1.0 for number in range(len(items))])
    assert mean.shape == (5, 20) and len(firsts) == 5
    assert (mean @ position).abs().max() == 0 < (mean[:, 1:] @ position[1:]).abs().max()


def test_what_merely_shares_group_and_template_is_no_block() -> None:
    items = [
        Item(str(k), "x", ("1", "2"), ("pro", "anti"), "ambiguous", None, ("o",), "t") for k in range(40)
    ]
    assert len(balanced(items, 7, 0, 0, whole=True)) == 7
    assert torch.equal(block_mean(items)[0], torch.eye(40))


def test_the_first_step_is_lengthened_where_answers_fall_short_of_the_linear_model(
    llama: LoadedModel,
) -> None:
    task = TinyTask()
    split = task.split(0)
    parameters = NormParameters(llama)
    linear = Linearisation(parameters, split.train, task.outcomes, torch.zeros(0, 2), quick(reach=2.0), 0)
    rows = linear.rows(0, torch.zeros(parameters.size))
    towards = -rows.odds[0].T @ rows.odds_offset[0]
    small = 1e-3 * towards / towards.norm()
    # So near the base the linear model is right, and nothing needs lengthening.
    assert linear.extent(rows, small) == pytest.approx(1.0, abs=0.02)
    twice = replace(rows, odds=2 * rows.odds)
    assert linear.extent(twice, small) == pytest.approx(2.0, abs=0.04)
    # What goes the wrong way is no reason to go further.
    assert linear.extent(replace(rows, odds=-rows.odds), small) == 1.0


def test_values_without_gradients_are_those_with(llama: LoadedModel) -> None:
    task = TinyTask()
    items = [item for item in task.split(0).train if item.part == "ambiguous"][:7]
    parameters = NormParameters(llama)
    vector = 0.05 * torch.randn(parameters.size, generator=torch.Generator().manual_seed(0))
    encoded = encode_all(llama, items)
    heads = parity(items, task.outcomes)
    (values,) = answer_values(parameters, encoded, vector, heads)
    ((wanted, _),) = answer_gradients(parameters, encoded, vector, heads)
    torch.testing.assert_close(values, wanted)
    (base,) = answer_values(parameters, encoded, 0 * vector, heads)
    assert (base - values).abs().max() > 1e-3
