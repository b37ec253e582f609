"""Settings come from texts, and what doesn't fit is refused in one line that names it."""

import pytest

from equipoise.errors import InputError
from equipoise.methods.dso import DsoSettings


def test_texts_become_values() -> None:
    found = DsoSettings.parse({"kl": "0.03", "steps": "2", "objective": "paper", "density": "1"})
    assert found == DsoSettings(kl=0.03, steps=2, objective="paper", density=1.0)
    assert DsoSettings.parse({}) == DsoSettings()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("strength", "1"),
        ("kl", "much"),
        ("kl", "nan"),
        ("kl", "0"),
        ("kl_unambiguous", "-1"),
        ("steps", "2.5"),
        ("steps", "0"),
        ("items", "-3"),
        ("passage_tokens", "1"),
        ("density", "0"),
        ("density", "1.1"),
        ("density", "nan"),
        ("mass_weight", "-0.1"),
        ("item_weight", "inf"),
        ("objective", "rough"),
        ("precision", "int8"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, text: str) -> None:
    with pytest.raises(InputError) as error:
        DsoSettings.parse({key: text})
    assert key in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="objective, steps, items"):
        DsoSettings.parse({"step": "1"})
