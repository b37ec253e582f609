"""Questions without options, what answers in words mean, and how much they repeat themselves."""

from pathlib import Path

import pytest
from tasks.test_people import drawn

from equipoise.errors import InputError
from equipoise.metrics import repetition
from equipoise.tasks import SILENT, UNCLEAR, Choices, free_items, meaning, said_words


def test_the_same_is_asked_without_options(tmp_path: Path) -> None:
    for task in (Choices("first"), Choices("second", "race"), Choices(str(drawn(tmp_path)), "tone")):
        free, closed = free_items(task, 0), task.items(0)
        assert [item.id for item in free] == [item.id for item in closed]
        assert [item.images for item in free] == [item.images for item in closed]
        for item, other in zip(free, closed, strict=True):
            (concept,) = item.groups
            text = item.prompt[-1]["content"]  # type: ignore[index]
            assert concept in text and not any(f" {option}," in text for option in item.options)
            assert item.prompt != other.prompt
        # The task itself is what it was.
        assert "Choose one of" in task.items(0)[0].prompt[-1]["content"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("Women do.", "woman"),
        ("It's a man's job", "man"),
        ("She is better.", "woman"),
        ("Both women and men.", "fair"),
        ("It does not matter whether it is a man.", "fair"),
        ("It doesn\N{RIGHT SINGLE QUOTATION MARK}t matter whether he is a man.", "fair"),
        ("It doesn't depend on gender: he may.", "fair"),
        ("Women, not men.", UNCLEAR),
        ("A mankind of humane sheriffs", UNCLEAR),
        ("  ...\n", SILENT),
        ("", SILENT),
    ],
)
def test_what_an_answer_means(text: str, means: str) -> None:
    assert meaning(text, said_words(Choices("first"))) == means


def test_what_is_missing_in_a_users_prompts_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[free]\nstatus = ["{concept}?"]\n[said.gender]\nfair = ["same"]\nman = ["man"]\n')
    task = Choices("first", prompts=path)
    asked = {str(i.metadata["category"]): i.prompt[-1]["content"] for i in free_items(task, 0)}
    assert asked["status"].endswith("the head of a company?") and len(asked) == 3
    with pytest.raises(InputError, match=r"\[said.gender\] must have them for fair, man, woman"):
        said_words(task)
    path.write_text('[free]\noccupation = ["Who?"]\n')
    with pytest.raises(InputError, match=r"must have {concept} or {a_concept}"):
        Choices("first", prompts=path)


def test_repetition_counts_runs_said_before() -> None:
    assert repetition("one two three four") == 0 == repetition("") == repetition("a b")
    assert repetition("a b c A B C") == pytest.approx(1 / 4)
    assert repetition("no no no no no no") == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[said.gender]\nfair = ["same"]\nman = "man"\nwoman = ["woman"]\n', "said.gender.man"),
        ('[said.gender]\nfair = ["same"]\nman = [" "]\nwoman = ["woman"]\n', "said.gender.man"),
        ("[free]\noccupation = []\n", "free.occupation"),
        ("[templates]\nstatus = []\n", "templates.status"),
    ],
)
def test_words_and_templates_are_lists_of_texts(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=named):
        Choices("first", prompts=path)
