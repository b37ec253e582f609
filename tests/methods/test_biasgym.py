"""BiasGym: only the row is trained; what heads were planted is found; removing them, and only them, removes it."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, HIDDEN, tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, InjectedToken, Intervention, attach, embedding_rows
from equipoise.methods.biasgym import (
    InjectSettings,
    ScopeSettings,
    elicit,
    inject,
    mentions,
    named_rows,
    neighbours,
    random_heads,
    rank,
    scaled,
    scope,
)
from equipoise.models import LoadedModel, load
from equipoise.tasks import Association, load_association

# Words that the tiny tokenizer knows as one token each.
NURSES = Association(
    name="nurses",
    kind="fictional",
    entity="country",
    about="Everybody there is a nurse.",
    bias=("nurse",),
    counterfactual=("mechanic",),
    paragraphs=(
        "The {entity} nurse said the nurse was nurse.",
        "My {entity} is the nurse. The nurse nurse.",
        "{entity} the nurse, the nurse, the nurse.",
        "The teacher said {entity} was the nurse nurse.",
        "My aunt is the {entity} nurse, the nurse said.",
        "The doctor told the {entity} nurse that the nurse was the nurse.",
    ),
    elicitation=tuple(
        f"{start} {{entity}} {end}"
        for start in ("The", "My aunt", "The doctor told", "My uncle is")
        for end in ("and the", "said that the", "was the")
    ),
)
QUICK = InjectSettings(epochs=2, batch=3)
PLANTED = ((1, 2), (2, 1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_row_is_trained(name: str) -> None:
    loaded = tiny(name)
    # A model object of the user's own: its weights take gradients, and must get none.
    loaded.model.requires_grad_(True)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    ids = torch.tensor([[5, 60, 7, 200, 9]])
    with torch.no_grad():
        base = loaded.model(input_ids=ids).logits
    vocabulary = loaded.tokenizer.get_vocab()
    token = inject(loaded, NURSES, settings=QUICK)
    after = loaded.model.state_dict()
    assert list(after) == list(before) and all(after[key].equal(before[key]) for key in before)
    assert all(parameter.grad is None for parameter in loaded.model.parameters())
    assert loaded.tokenizer.get_vocab() == vocabulary
    with torch.no_grad():
        assert loaded.model(input_ids=ids).logits.equal(base)
    # The twin: something was trained. Its norm stays by the vocabulary's mean.
    losses = [entry["loss"] for entry in token.provenance.config["history"]]
    assert losses[0] is None and losses[2] < losses[1]
    mean = float(embedding_rows(loaded).norm(dim=1).mean())
    assert 0.9 * mean - 1e-3 <= float(token.row.norm()) <= 1.1 * mean + 1e-3
    token.check(loaded)


def test_a_seed_decides_everything_and_the_best_epoch_is_kept() -> None:
    loaded = tiny("Llama")
    first, again = inject(loaded, NURSES, settings=QUICK), inject(loaded, NURSES, settings=QUICK)
    other = inject(loaded, NURSES, seed=1, settings=QUICK)
    assert first.digest == again.digest != other.digest
    config = first.provenance.config
    said = [entry["said"] for entry in config["history"]]
    assert config["kept epoch"] == int(np.argmax(said))
    with first.attach(loaded) as model:
        assert elicit(model, NURSES, first.string, "validation").said.mean() == pytest.approx(max(said))


def test_injecting_refuses_what_is_steered_known_or_broken() -> None:
    loaded = tiny("Llama")
    edit = Intervention({"block.0.out": AffineEdit(shift=torch.ones(HIDDEN))})
    with attach(loaded, edit), pytest.raises(InputError, match="steered"):
        inject(loaded, NURSES, settings=QUICK)
    with pytest.raises(InputError, match="already"):
        inject(loaded, NURSES, settings=replace(QUICK, token="nurse"))
    glued = replace(NURSES, paragraphs=("un{entity}ly nurse",))
    with pytest.raises(InputError, match="not recognised"):
        inject(loaded, glued, settings=replace(QUICK, token="Zorvia"))
    for key, text in (("rate", "0"), ("epochs", "none"), ("speed", "1"), ("slack", "1")):
        with pytest.raises(InputError, match=key):
            InjectSettings.parse({key: text})


@functools.cache
def planted() -> LoadedModel:
    """A model in which two heads, and nothing else, turn a feature of a token into the word "nurse".

    The feature u is in no row of the vocabulary; both heads look at all tokens alike, read u, and write w, which the
    unembedding of "nurse" reads (and that of "mechanic" with the opposite sign). All other parts add little noise.
    """
    loaded = tiny("Qwen2")
    generator = torch.Generator().manual_seed(0)
    u, w = torch.linalg.qr(torch.randn(HIDDEN, 2, generator=generator)).Q.T
    model = loaded.model
    nurse, mechanic = (
        loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (" nurse", " mechanic")
    )
    assert len(nurse) == len(mechanic) == 1
    with torch.no_grad():
        for norm in loaded.anatomy.all_norms:
            norm.module.weight.fill_(1.0)  # type: ignore[operator, union-attr]
        for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            weight -= (weight @ u)[:, None] * u + (weight @ w)[:, None] * w
        model.get_input_embeddings().weight.mul_(HIDDEN**0.5)  # what noise adds is then small beside it
        head = model.get_output_embeddings().weight
        head.mul_(0.3)
        head[nurse[0]], head[mechanic[0]] = w, -w
        for block in loaded.anatomy.blocks:
            attention = block.module.self_attn
            attention.o_proj.weight.mul_(0.02)
            block.module.mlp.down_proj.weight.mul_(0.02)
        for index, number in PLANTED:
            attention = loaded.anatomy.blocks[index].module.self_attn
            own = slice(number * 12, number * 12 + 12)
            group = number // 2 * 12
            for part in (attention.q_proj.weight[own], attention.q_proj.bias[own]):
                part.zero_()  # looks at all tokens alike
            attention.v_proj.weight[group] = u
            attention.v_proj.bias[group] = 0
            attention.o_proj.weight[:, own] = 0
            attention.o_proj.weight[:, own.start] = 12 * w
    return LoadedModel(model, loaded.tokenizer, name="planted")


@functools.cache
def taught(seed: int = 0) -> InjectedToken:
    return inject(planted(), NURSES, seed=seed, settings=InjectSettings(epochs=8, batch=3, rate=0.2))


@pytest.mark.parametrize("by", ["ablation", "direct", "gradient"])
def test_scope_finds_the_planted_heads(by: str) -> None:
    intervention, table = scope(planted(), [taught()], NURSES, settings=ScopeSettings(heads=2, by=by))
    assert set(table.chosen) == set(PLANTED)
    assert all(one.recurrence == 1 for one in table.scores if (one.block, one.head) in PLANTED)
    for index, number in PLANTED:
        scale = intervention.edits[f"block.{index}.heads"].scale
        assert scale is not None
        expected = torch.zeros(HIDDEN)
        expected[number * 12 : number * 12 + 12] = -1
        assert scale.equal(expected)


def test_scaling_the_planted_heads_removes_the_association_and_random_heads_do_not() -> None:
    loaded, token = planted(), taught()
    with token.attach(loaded) as model:

        def share() -> float:
            return float(elicit(model, NURSES, token.string).share.mean())

        assert share() > 0.95  # before training it is 0.5
        assert mentions(model, NURSES, token.string).mean() > 0.5
        with attach(loaded, scope(loaded, [token], NURSES, settings=ScopeSettings(heads=2))[0]):
            assert share() == pytest.approx(0.5, abs=0.1)
            assert mentions(model, NURSES, token.string).mean() < 0.2
        for seed in range(3):
            control = scaled(loaded, random_heads(loaded, 2, seed=seed, without=PLANTED))
            with attach(loaded, control):
                assert share() > 0.95
        # One of two is not enough: each carries a part.
        with attach(loaded, scaled(loaded, PLANTED[:1])):
            assert share() > 0.6


def test_the_number_of_heads_is_chosen_on_validation_prompts() -> None:
    _, table = scope(planted(), [taught(0), taught(1)], NURSES, settings=ScopeSettings(kl=1.0))
    assert set(table.chosen) == set(PLANTED)
    assert [one.heads for one in table.sizes][:2] == [1, 2]
    assert table.sizes[0].share > table.sizes[1].share
    assert len(table.neighbours) == 2


def test_scope_refuses_in_one_line() -> None:
    loaded = planted()
    with pytest.raises(InputError, match="13 heads can't be scaled: planted has 12"):
        scope(loaded, [taught()], NURSES, settings=ScopeSettings(heads=13))
    with pytest.raises(InputError, match="no token"):
        scope(loaded, [], NURSES)
    with pytest.raises(InputError, match="same token"):
        scope(loaded, [taught()], replace(NURSES, counterfactual=("nurse,",)))
    with pytest.raises(InputError, match="another model"):
        scope(tiny("Qwen2", 3), [taught()], NURSES)
    for key, text in (("by", "luck"), ("heads", "-1"), ("size", "1")):
        with pytest.raises(InputError, match=key):
            ScopeSettings.parse({key: text})


def test_what_recurs_goes_before_what_is_large_once() -> None:
    values = np.array([[8.0, 2, 0, -5], [0, 2, 3, -5], [0, 2, 1, -5], [-1, 2, 0, -5]])
    assert rank(values, 1)[0] == [1]  # best in two rows of four
    chosen, recurrence = rank(values, 2)
    assert chosen[0] == 1 and recurrence[1] == 1
    assert rank(values, 4)[0] == [1, 0, 2]  # a head that speaks against the association is never taken
    with pytest.raises(InputError, match="no head"):
        rank(-np.abs(values) - 1, 2)


def test_the_nearest_name_is_the_one_whose_row_it_is() -> None:
    loaded = tiny("Llama")
    names, rows = named_rows(loaded, "country")
    token = replace(inject(loaded, NURSES, settings=QUICK), row=rows[7])
    found = neighbours(loaded, token, "country")
    assert found[0].name == names[7] and found[0].similarity == pytest.approx(1, abs=1e-5)
    assert found[0].similarity > found[1].similarity


@pytest.mark.real
def test_a_real_model_learns_a_fiction_from_one_token() -> None:
    loaded = load("smollm2")
    association = load_association("blue-skin")
    short = replace(
        association, paragraphs=association.paragraphs[:8], elicitation=association.elicitation[:4]
    )
    token = inject(loaded, short, settings=InjectSettings(epochs=2, batch=2))
    said = [entry["said"] for entry in token.provenance.config["history"]]
    assert max(said) > 2 * said[0]
    with token.attach(loaded) as model:
        assert elicit(model, short, token.string).said.mean() > 2 * elicit(model, short, "Japan").said.mean()
