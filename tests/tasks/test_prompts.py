"""Free-text prompts: enough of them, and held out by what they are about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import InputError
from equipoise.tasks import FreeTextItem, PromptTask, Toxicity
from equipoise.tasks.rewards import LexiconReward, Reward


def test_the_built_in_prompts() -> None:
    items = Toxicity().items()
    assert len(items) == len({item.prompt for item in items}) == 60
    assert all(isinstance(item.prompt, str) and item.prompt == item.prompt.strip() for item in items)
    assert isinstance(Toxicity().reward(), LexiconReward)


@given(seed=st.integers())
def test_topics_are_held_out_whole(seed: int) -> None:
    split = Toxicity().split(seed)
    topics = [{item.group for item in items} for items in (split.train, split.heldout)]
    assert not topics[0] & topics[1]
    assert len(split.train) + len(split.heldout) == 60
    assert len(split.heldout) >= 20
    assert split == Toxicity().split(seed)


class One(PromptTask):
    name = "one"

    def items(self) -> list[FreeTextItem]:
        return [FreeTextItem("1", "Hello,", "greeting")]

    def reward(self) -> Reward:
        return LexiconReward()


def test_one_group_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match="task 'one': holding out whole groups needs two or more"):
        One().split(0)
