"""Tasks by name: what is found, and one clear line for what is not."""

import re
from pathlib import Path

import pytest

from equipoise import tasks
from equipoise.errors import InputError
from equipoise.tasks import (
    Coreference,
    Item,
    Pronouns,
    SynthBias,
    Task,
    Toxicity,
    WinoBias,
    WinoGender,
    fingerprint,
    load_prompt_task,
    load_task,
    task_names,
)


def test_built_in_tasks_by_name() -> None:
    assert isinstance(load_task("pronouns"), Pronouns)
    assert isinstance(load_task("coreference"), Coreference)
    assert isinstance(load_prompt_task("toxicity"), Toxicity)


def test_items_are_always_the_same() -> None:
    for name in ("pronouns", "coreference"):
        assert fingerprint(load_task(name).items()) == fingerprint(load_task(name).items())
    assert fingerprint(load_task("pronouns").items()) != fingerprint(load_task("coreference").items())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("pronoun", "unknown task 'pronoun': use one of pronouns, coreference, pronouns-labour, people"),
        ("", "unknown task ''"),
        ("pronouns:data", "takes no path"),
        ("winobias", "write --task winobias:PATH"),
        ("synthbias:", "write --task synthbias:PATH"),
        ("toxicity", "free text without closed answers"),
        ("winogender:/no/such/folder", "can't read /no/such/folder/occupations-stats.tsv"),
    ],
)
def test_a_wrong_name_or_path_is_one_line(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_task(spec)
    assert "\n" not in str(caught.value)


def test_an_unknown_free_text_task_lists_the_known() -> None:
    with pytest.raises(InputError, match="use one of toxicity"):
        load_prompt_task("pronouns")


def test_all_names_are_listed() -> None:
    assert task_names() == (
        "pronouns",
        "coreference",
        "pronouns-labour",
        "people",
        "people-gender",
        "people-race",
        "winobias:PATH",
        "winogender:PATH",
        "synthbias:PATH",
        "occupation-pairs[:PATH]",
        "occupation-pairs-tone[:PATH]",
        "choices[:SOURCE]",
        "choices-shuffled[:SOURCE]",
        "choices-race[:SOURCE]",
        "choices-race-shuffled[:SOURCE]",
        "choices-tone[:SOURCE]",
        "choices-tone-shuffled[:SOURCE]",
    )


def test_every_task_tells_what_it_asks() -> None:
    for kind in (Pronouns, Coreference, WinoBias, WinoGender, SynthBias):
        assert kind.about.endswith((".", "?"))
    assert load_task("pronouns").summary() == Pronouns.about


def test_a_users_task_is_told_by_its_docstrings_first_line() -> None:
    class Mine(Task):
        """Cats or dogs?

        More.
        """

        name = "mine"

        def items(self) -> list[Item]:
            return []

    class Silent(Mine):
        pass

    assert Mine().summary() == "Cats or dogs?"
    assert Silent().summary() == ""


def test_only_rewards_need_torch() -> None:
    room = Path(tasks.__file__).parent
    users = [
        file.name
        for file in room.glob("*.py")
        if re.search(r"^ *(import|from) torch", file.read_text(), re.M)
    ]
    assert users == ["rewards.py"]
