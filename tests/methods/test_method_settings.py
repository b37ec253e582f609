"""Settings of the steering methods: texts become values, and what doesn't fit is one line that names it."""

from typing import Any

import pytest
from methods.samples import TEXT, TinyTask
from tiny import tiny

from equipoise.errors import InputError
from equipoise.methods import METHODS
from equipoise.methods.biasgym import ScopeSettings
from equipoise.methods.caa import CaaSettings
from equipoise.methods.iti import ItiSettings
from equipoise.methods.leace import LeaceSettings
from equipoise.methods.mean_difference import MeanDifferenceSettings
from equipoise.methods.prompting import PromptingSettings
from equipoise.models import LoadedModel
from equipoise.workflows.fit import fitter_of, parse


def settings(method: str, **given: str) -> Any:
    return parse(fitter_of(method, TinyTask()), given)


def test_a_number_that_is_not_finite_is_called_that() -> None:
    with pytest.raises(InputError, match="scale=inf: it must be a finite number of at least -10"):
        ScopeSettings(scale=float("inf"))


def test_texts_become_values() -> None:
    assert settings("caa", layer="12", multiplier="0.5") == CaaSettings(layer=12, multiplier=0.5)
    assert settings("caa", layer="all", kl="0.1") == CaaSettings(layer="all", kl=0.1)
    assert settings("mean_difference", site="heads") == MeanDifferenceSettings(site="heads")
    assert settings("iti", heads="48", alpha="15") == ItiSettings(heads=48, alpha=15)
    assert settings("leace", site="norm.0", layer="3") == LeaceSettings(site="norm.0", layer=3)
    assert settings("prompting", instruction="12") == PromptingSettings(instruction="12")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "dso"])
def test_defaults_choose_on_validation_data(method: str) -> None:
    found = settings(method)
    assert type(found)() == found
    with pytest.raises(InputError, match=rf"{method} has no setting 'colour'"):
        settings(method, colour="red")


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("caa", {"layer": "last"}),
        ("caa", {"layer": "-1"}),
        ("caa", {"layer": "1.5"}),
        ("caa", {"multiplier": "0"}),
        ("caa", {"multiplier": "-2"}),
        ("caa", {"multiplier": "nan"}),
        ("caa", {"multiplier": "much"}),
        ("caa", {"pairs": "0"}),
        ("caa", {"kl": "0"}),
        ("caa", {"accuracy_drop": "-1"}),
        ("mean_difference", {"site": "everywhere"}),
        ("mean_difference", {"strength": "inf"}),
        ("iti", {"heads": "0"}),
        ("iti", {"heads": "2.5"}),
        ("iti", {"alpha": "0"}),
        ("leace", {"site": "norm"}),
        ("leace", {"site": "auto"}),
        ("leace", {"concept": "colour"}),
        ("leace", {"strength": "-1"}),
        ("leace", {"background": "-1"}),
        ("mean_projection", {"items": "1"}),
        ("random", {"like": "dso"}),
        ("random", {"like": "nothing"}),
        ("prompting", {"items": "1"}),
    ],
)
def test_what_does_not_fit_is_refused(method: str, given: dict[str, str]) -> None:
    with pytest.raises(InputError) as error:
        settings(method, **given)
    assert method in str(error.value) and next(iter(given)) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny("Llama")


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("caa", {"layer": "3"}, "blocks 0 to 2"),
        ("mean_difference", {"layer": "30"}, "blocks 0 to 2"),
        ("leace", {"layer": "3"}, "blocks 0 to 2"),
        ("leace", {"site": "norm.7"}, "no block of tiny-Llama-0 has a site 'norm.7'"),
        ("leace", {"site": "norm.7", "layer": "1"}, "block 1 of tiny-Llama-0 has no site 'norm.7'"),
        ("iti", {"heads": "13"}, "has 12 heads: give at most 12"),
        ("leace", {"concept": "mention"}, "concept=statement"),
    ],
)
def test_what_the_model_or_task_has_not_is_refused(
    llama: LoadedModel, method: str, given: dict[str, str], words: str
) -> None:
    fit = fitter_of(method, TinyTask())
    with pytest.raises(InputError, match=words) as error:
        fit(llama, TinyTask(), settings=parse(fit, given), text=TEXT)
    assert "\n" not in str(error.value)
