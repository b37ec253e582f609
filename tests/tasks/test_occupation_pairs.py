"""Two people, one occupation: sides and orders are balanced, and the images are those of whom the item speaks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tasks.test_people import drawn
from vlms import tiny_vlm

from equipoise.errors import InputError
from equipoise.scoring import score_options
from equipoise.tasks import Item, OccupationPairs, Task, load_people, load_task

ROLES = (
    "cook",
    "police_officer",
    "pilot",
    "judge",
    "farmer",
    "singer",
    "teacher",
    "guard",
    "artist",
    "student",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("people"), ROLES)


@pytest.fixture(scope="module")
def task(folder: Path) -> Task:
    return load_task(f"occupation-pairs:{folder}")


def named(item: Item, option: int) -> tuple[str, ...]:
    """Role, gender and tone of whom an option names, by the file that is shown under that letter."""
    path = item.images["AB".index(item.options[option])].path
    assert path is not None
    return tuple(path.stem.split("__"))


def test_outcomes_are_those_of_the_images(task: Task) -> None:
    for item in task.items():
        people = [named(item, option) for option in (0, 1)]
        assert item.outcomes == tuple(gender for _, gender, _ in people)
        assert set(item.outcomes) == {"woman", "man"}
        if item.part == "ambiguous":
            assert len({(role, tone) for role, _, tone in people}) == 1
            assert item.groups == (people[0][0].replace("_", " "),)
        else:
            assert item.answer is not None
            assert item.groups == tuple(
                people[k][0].replace("_", " ") for k in (item.answer, 1 - item.answer)
            )
            assert item.groups[0] in str(item.prompt) and item.groups[1] not in str(item.prompt)


def test_everything_is_counterbalanced(task: Task) -> None:
    items = task.items()
    for part in ("ambiguous", "unambiguous"):
        found = [item for item in items if item.part == part]
        first = Counter((item.options[0], item.outcomes[0]) for item in found)
        assert len(first) == 4 and len(set(first.values())) == 1
        shown = Counter(named(item, item.options.index("A"))[1] for item in found)
        assert len(set(shown.values())) == 1
    clear = [item for item in items if item.answer is not None]
    right = Counter(
        (item.options[item.answer or 0], item.outcomes[item.answer or 0], item.answer) for item in clear
    )
    assert len(right) in (4, 8) and len(set(right.values())) == 1
    for name, hits in task.baselines(clear).items():
        assert float(np.mean(hits)) == 0.5, name


def test_every_style_and_tone_is_shown(task: Task) -> None:
    shown = {str(image.path) for item in task.items() for image in item.images}
    assert len(shown) == 2 * len(ROLES) * 2 * 2


@pytest.mark.parametrize("seed", [0, 1])
def test_sets_share_neither_occupation_nor_wording(task: Task, seed: int) -> None:
    split = task.split(seed)
    sets = [split.train, split.validation, split.heldout]
    for what in (lambda item: set(item.groups), lambda item: {item.template}):
        found = [set().union(*(what(item) for item in items)) for items in sets]
        assert not found[0] & found[1] and not found[1] & found[2] and not found[0] & found[2]
    assert all({item.part for item in items} == {"ambiguous", "unambiguous"} for items in sets)
    assert len({item.groups for item in split.heldout if item.part == "ambiguous"}) == 5
    assert task.split(seed, 16).heldout == task.split(seed, 16).heldout
    assert task.split(seed) != task.split(seed + 1)


def test_training_asks_for_occupations_that_nobody_has(task: Task) -> None:
    split = task.split(0)
    drawn_words = {word for role in ROLES for word in role.split("_")}
    inside = {group for item in task.items() for group in item.groups}
    absent = [item for item in split.train if item.groups[0] not in inside]
    assert len({item.groups for item in absent}) == 100 and len(absent) == 200
    of_train = {named(item, 0)[0] for item in split.train if item.groups[0] in inside}
    for item in absent:
        assert item.part == "ambiguous" and not drawn_words & set(item.groups[0].split())
        people = [named(item, option) for option in (0, 1)]
        assert len({(role, tone) for role, _, tone in people}) == 1 and people[0][0] in of_train
        assert item.groups[0] in str(item.prompt)
        assert item.outcomes == tuple(gender for _, gender, _ in people)
    # Which letter is the woman, and which is listed first, says nothing about the answer.
    sides = Counter((item.options[0], item.outcomes[0]) for item in absent)
    assert len(sides) == 4 and max(sides.values()) - min(sides.values()) <= 12
    assert all(item.groups[0] in inside for item in (*split.validation, *split.heldout))
    few = [item for item in task.split(0, 16).train if item.groups[0] not in inside]
    assert len(few) == 16 and max(Counter(item.groups for item in few).values()) == 2


def test_skin_tone_is_asked_in_the_same_way(folder: Path) -> None:
    tones = load_task(f"occupation-pairs-tone:{folder}")
    assert tones.outcomes == ("dark", "light")
    item = tones.items()[0]
    assert item.outcomes == tuple(named(item, option)[2] for option in (0, 1))
    assert len({named(item, option)[:2] for option in (0, 1)}) == 1


def test_an_unknown_attribute_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="occupation-pairs takes gender, tone, race, not 'age'"):
        OccupationPairs(str(folder), "age")


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are 2 occupations with images that differ in gender alone"):
        OccupationPairs(str(drawn(tmp_path, ("cook", "pilot"))))


def test_ids_are_unique_and_the_task_the_same_every_time(folder: Path, task: Task) -> None:
    items = task.items()
    assert len({item.id for item in items}) == len(items)
    again = OccupationPairs(load_people(str(folder)))
    assert list(again.items()) == list(items)


def test_a_model_answers_it(task: Task) -> None:
    loaded = tiny_vlm("Qwen2.5-VL")
    items = task.split(0, 8).heldout
    scores = score_options(loaded, items)
    assert scores.logp.shape == (len(items), 2) and np.isfinite(scores.logp).all()
    # Answers depend on who is shown: the same question about other people is answered otherwise.
    assert len({round(float(row[0]), 4) for row in scores.logp}) > len(items) // 4
