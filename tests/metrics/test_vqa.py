"""VQAv2's accuracy: the leave-one-out average, and what counts as the same answer."""

import pytest

from equipoise.metrics import vqa_accuracy, vqa_answer


@pytest.mark.parametrize(("agree", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_the_average_over_the_others(agree: int, score: float) -> None:
    # k of ten say so: of the k, k − 1 others do, of the 10 − k, k do; each counts min(·/3, 1).
    assert vqa_accuracy("yes", ["yes"] * agree + ["no"] * (10 - agree)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Two.", "2"),
        ("The  red\ncar", "red car"),
        ("dont know", "don't know"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("yes, it is", "yes it is"),
        ("t-shirt", "t shirt"),
        ("None", "0"),
        ("", ""),
    ],
)
def test_answers_are_compared_in_one_form(text: str, answer: str) -> None:
    assert vqa_answer(text) == answer


def test_humans_lose_their_punctuation_only_where_they_differ() -> None:
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0.0  # as the official evaluation has it
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == 1.0
    with pytest.raises(ValueError, match="there are none"):
        vqa_accuracy("yes", [])
