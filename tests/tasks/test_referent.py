"""The wording that sentences share: occupations and pronouns masked, nothing else."""

import pytest

from equipoise.tasks.referent import wording


@pytest.mark.parametrize(
    ("sentence", "names", "pronouns", "expected"),
    [
        (
            "The CEO told the ceos that he saw the chef.",
            ("ceo", "chef"),
            ("he",),
            "The {} told the ceos that _ saw the {}.",
        ),
        ("She asked her nurse. Her.", ("nurse", "guard"), ("She", "her"), "_ asked _ {}. Her."),
        ("A c.e.o. and a cheo met.", ("c.e.o", "x"), ("he",), "A {}. and a cheo met."),
    ],
)
def test_only_what_changes_between_sentences_is_masked(
    sentence: str, names: tuple[str, ...], pronouns: tuple[str, ...], expected: str
) -> None:
    assert wording(sentence, names, pronouns) == expected
