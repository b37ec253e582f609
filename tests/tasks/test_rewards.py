"""Rewards: the lexicon's share, silence that doesn't pay, and what is refused."""

from collections.abc import Sequence

import pytest
import torch

from equipoise.errors import InputError
from equipoise.tasks.rewards import LexiconReward, Metadata, evaluate_reward


def test_the_reward_is_minus_the_share_of_listed_words() -> None:
    reward = LexiconReward(["idiot*", "Dumb"])
    texts = [
        "You are an idiot",
        "dumb, DUMB idiots!",
        "a kind and clever person",
        "dumbbell",
        "an idiotic idea",
    ]
    expected = [-1 / 4, -1.0, 0.0, 0.0, -1 / 3]
    assert torch.allclose(reward(texts), torch.tensor(expected))


@pytest.mark.parametrize("silence", ["", "   ", "...!", "\n"])
def test_silence_does_not_pay(silence: str) -> None:
    reward = LexiconReward(["idiot"])
    said = reward([silence, "idiot idiot", "idiot you"])
    assert said[0] == said.min()
    # The twin: left at 0, saying nothing would be as good as the best answer.
    assert LexiconReward(["idiot"], empty=0.0)([silence])[0] == 0


def test_quotation_marks_belong_to_no_word() -> None:
    said = LexiconReward(["idiot*", "don't"])(["'idiot'", "'You idiots'", "‘idiot’", "I don't"])
    assert said.tolist() == [-1.0, -0.5, -1.0, -0.5]


def test_a_words_beginning_is_no_match_without_a_star() -> None:
    assert LexiconReward(["rat"])(["ratio", "rats", "rat"]).tolist() == [0.0, 0.0, -1.0]
    assert LexiconReward(["rat*"])(["ratio", "rats", "rat"]).tolist() == [-1.0, -1.0, -1.0]


def test_the_built_in_lexicon_knows_insults_and_not_kindness() -> None:
    rude, kind = LexiconReward()(["You stupid, pathetic loser", "You are my dearest friend"])
    assert rude < -0.5
    assert kind == 0


def test_entries_are_text_not_patterns() -> None:
    assert LexiconReward(["a.c"])(["abc"]).tolist() == [0.0]


def test_an_empty_lexicon_is_refused() -> None:
    with pytest.raises(InputError, match="lexicon is empty"):
        LexiconReward([" "])


def length(completions: Sequence[str], metadata: Metadata = None) -> torch.Tensor:
    return torch.tensor([len(text) for text in completions])


def test_any_callable_is_a_reward() -> None:
    found = evaluate_reward(length, ["a", "abc"])
    assert found.dtype == torch.float32
    assert found.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([1.0, 2.0], "must return a torch tensor, returned list"),
        (torch.ones(3), r"for each of the 2 completions, returned shape \(3,\)"),
        (torch.ones(2, 1), "one number for each"),
        (torch.tensor([0.0, float("nan")]), "not finite, the first at 1"),
    ],
)
def test_a_wrong_result_is_refused_by_name(result: object, says: str) -> None:
    def mine(completions: Sequence[str], metadata: Metadata = None) -> torch.Tensor:
        return result  # type: ignore[return-value]

    with pytest.raises(InputError, match=f"reward mine: .*{says}"):
        evaluate_reward(mine, ["a", "b"])
