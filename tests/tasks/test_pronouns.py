"""The pronoun task: what must balance for a number from it to mean bias."""

from collections import Counter

import pytest

from equipoise.tasks import Item, Pronouns, occupations


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return list(Pronouns().items())


def test_sizes(items: list[Item]) -> None:
    for part in ("ambiguous", "unambiguous"):
        assert len({item.template for item in items if item.part == part}) >= 30
        assert len({item.groups for item in items if item.part == part}) >= 60
    assert len({item.id for item in items}) == len(items)


def test_templates_of_the_parts_share_no_wording(items: list[Item]) -> None:
    prompts = {part: {i.prompt for i in items if i.part == part} for part in ("ambiguous", "unambiguous")}
    assert not prompts["ambiguous"] & prompts["unambiguous"]
    for prompt in prompts["unambiguous"]:
        assert prompt.rsplit(". ", 1)[-1] not in prompts["ambiguous"]


def test_every_unambiguous_wording_has_both_genders_with_opposite_answers(items: list[Item]) -> None:
    cells: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item.part == "unambiguous":
            cells.setdefault((item.groups[0], item.template), []).append(item)
    for pair in cells.values():
        assert len(pair) == 2
        right = {item.options[item.answer] for item in pair if item.answer is not None}
        assert right == {" he", " she"}
        assert pair[0].prompt != pair[1].prompt


def test_pro_is_the_pronoun_of_the_majority(items: list[Item]) -> None:
    share = {o.name: o.percent_women for o in occupations()}
    for item in items:
        expected = " she" if share[item.groups[0]] > 50 else " he"
        assert item.options[item.outcomes.index("pro")] == expected


def test_option_orders_balance_exactly(items: list[Item]) -> None:
    for part in ("ambiguous", "unambiguous"):
        orders = Counter(item.options for item in items if item.part == part)
        assert set(orders) == {(" he", " she"), (" she", " he")}
        assert len(set(orders.values())) == 1


def test_articles_fit(items: list[Item]) -> None:
    for item in items:
        assert isinstance(item.prompt, str)
        assert not set("{}[]|") & set(item.prompt)
        name = item.groups[0]
        wrong = f" {'a' if name[0] in 'aeiou' else 'an'} {name}"
        assert wrong not in item.prompt


def test_guessing_scores_half(items: list[Item]) -> None:
    scores = {name: hits.mean() for name, hits in Pronouns().baselines(items).items()}
    assert scores == {"majority option": 0.5, "always the stereotype": 0.5}
