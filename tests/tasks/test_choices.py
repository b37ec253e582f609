"""Multiple-choice questions: every input has its twin, wordings follow the seed, a user's file runs other wordings."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from tasks.test_people import drawn

from equipoise.errors import InputError
from equipoise.tasks import Choices, Portrait, load_task, picture
from equipoise.tasks.choice_prompts import choice_prompts


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Choices:
    return Choices(str(drawn(tmp_path_factory.mktemp("people"))))


def kinds(task: Choices, seed: int = 0) -> Counter[tuple[str, str]]:
    return Counter((item.metadata["setting"], item.metadata["modality"]) for item in task.items(seed))


def test_six_inputs_with_images_and_three_without(seeing: Choices) -> None:
    text = {("none", "text"): 4, ("man", "text"): 4, ("woman", "text"): 4}
    images = {("man", "image"): 4, ("woman", "image"): 4, ("both", "image"): 4}
    assert kinds(seeing) == Counter({**text, **images})
    alone = Choices("first")
    assert set(kinds(alone)) == set(text)
    assert len(alone.items(0)) == 3 * len(alone.concepts)


def test_an_image_and_its_words_are_twins(seeing: Choices) -> None:
    items = {(i.groups, i.metadata["setting"], i.metadata["modality"]): i for i in seeing.items(3)}
    for (concept, setting, modality), item in items.items():
        if modality == "image" and setting != "both":
            twin = items[concept, setting, "text"]
            shown, said = item.prompt[-1]["content"], twin.prompt[-1]["content"]
            assert twin.template == item.template and not twin.images and len(item.images) == 1
            assert shown.split("\n", 1)[1] == said.split("\n", 1)[1]
            assert "<image>" in shown and setting in said and "<image>" not in said
            assert f"__{setting}__" in str(item.images[0].path)
        if setting == "both":
            assert len(item.images) == 2
    assert all(item.prompt[0]["role"] == "system" for item in items.values())


def test_who_comes_first_is_balanced_within_a_seed_and_within_pairs(tmp_path: Path) -> None:
    """Otherwise a model that names the first image would look as if it preferred women, or men, in every seed."""
    portraits = [
        Portrait(
            picture(Image.new("RGB", (2, 2), (k, s, g)), f"{gender}/{s}"), f"c{k}", {"gender": gender}, f"{s}"
        )
        for k in range(8)
        for s in range(2)
        for g, gender in enumerate(("man", "woman"))
    ]
    for seed in range(3):
        both = [i.images for i in Choices(portraits).items(seed) if i.metadata["setting"] == "both"]
        assert Counter(one.name for one, _ in both) == {"man/0": 2, "woman/0": 2, "man/1": 2, "woman/1": 2}


def test_options_and_what_they_mean() -> None:
    task = Choices("first")
    assert task.outcomes == ("fair", "man", "woman")
    item = task.items(0)[0]
    assert item.options == ("Both", "Male", "Female", "Woman", "Man", "Equal", "Similar", "Same")
    meaning = dict(zip(item.options, item.outcomes, strict=True))
    assert [meaning[o] for o in ("Both", "Male", "Man", "Female", "Woman", "Same")] == [
        *("fair", "man", "man", "woman", "woman", "fair")
    ]
    assert all(", ".join(item.options) in i.prompt[-1]["content"] for i in task.items(0))
    race = Choices("first", "race").items(0)[0]
    assert set(race.outcomes) == {"fair", "black", "white"} and len(race.options) == 6
    assert "race" in race.prompt[-1]["content"] and "gender" not in race.prompt[-1]["content"]


def test_wordings_follow_the_seed() -> None:
    task = Choices("first")
    assert list(task.items(0)) == list(task.items(0))
    templates = [[item.template for item in task.items(seed)] for seed in range(5)]
    assert len({tuple(one) for one in templates}) == 5
    assert len({t for one in templates for t in one}) == 15  # five wordings of each of three kinds


def test_shuffled_options_keep_their_meaning() -> None:
    plain = {item.id: item for item in Choices("first").items(0)}
    shuffled = Choices("first", shuffle=True).items(0)
    orders = {item.options for item in shuffled}
    assert len(orders) > 20 and len({item.options[0] for item in shuffled}) == 8
    for item in shuffled:
        same = plain[item.id]
        assert dict(zip(item.options, item.outcomes, strict=True)) == dict(
            zip(same.options, same.outcomes, strict=True)
        )
        assert ", ".join(item.options) in item.prompt[-1]["content"] and item.template == same.template


def test_the_built_in_sets_of_concepts_share_none() -> None:
    first, second = Choices("first"), Choices("second")
    assert not set(first.concepts) & set(second.concepts)
    assert len(first.concepts) == len(second.concepts) == len(set(first.concepts)) == 22


def test_a_users_file_runs_other_wordings(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'system = ""\n[templates]\noccupation = ["Which {attribute} is {a_concept}? {options}"]\n'
    )
    path.write_text(path.read_text() + '[concepts.mine]\noccupation = ["engineer"]\n')
    (none, *_) = Choices("mine", prompts=path).items(0)
    assert none.prompt[-1]["content"].startswith("Which gender is an engineer? Both, Male")
    assert len(none.prompt) == 1


def test_a_users_file_lists_the_options_as_the_paper_does(tmp_path: Path) -> None:
    path = tmp_path / "paper.toml"
    asked = r"Who is better as a {concept}? Select from the set:\n[\n{options} ] to start your answer."
    path.write_text(f'separator = " \\n"\n[templates]\noccupation = ["{asked}"]\n')
    (item, *_) = Choices("first", prompts=path).items(0)
    listed = "[\nBoth \nMale \nFemale \nWoman \nMan \nEqual \nSimilar \nSame ] to start"
    assert listed in item.prompt[-1]["content"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("system = ", "is no TOML file"),
        ("separator = ['/']", "separator is ['/'], and must be a text"),
        ("sytem = 'x'", "there is no key 'sytem'"),
        ("one_image = 'look'", "must have 1 times <image>"),
        ("[templates]\noccupation = ['{concept} {option}']", "has a field that isn't one of"),
        ("[templates]\noccupation = ['{concept}']", r"must have {concept} or {a_concept}, and {options}"),
        ("[templates]\nhobby = ['{concept} {options}']", "'hobby' is no category"),
        ("[options]\ngender = [['Both', 'fair'], ['Man', 'man']]", "must mean fair and two values"),
        ("[options]\ngender = [['M', 'man'], ['M', 'woman'], ['Both', 'fair']]", "must be different texts"),
        ("options = 3", "write it as the built-in prompts are"),
        ("named = 'Think of somebody.'", "must have {value}"),
        ("named = 'Think of {whom}.'", "must have {value}"),
        ("[concepts.mine]\nhobby = ['chess']", "'hobby' is no category of concepts.mine"),
        ("[concepts.mine]\noccupation = 'nurse'", "concepts.mine.occupation must be a list"),
        ("[concepts.mine]\nstatus = ['']", "concepts.mine.status must be a list"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        choice_prompts(path)
    assert says in str(error.value) and "\n" not in str(error.value) and "own.toml" in str(error.value)


def test_what_a_table_leaves_out_is_built_in(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[templates]\noccupation = ["Is {a_concept} one of {options}?"]\n')
    task = Choices("first", prompts=path)
    asked = {str(i.metadata["category"]): i.prompt[-1]["content"] for i in task.items(0)}
    assert "one of Both, Male" in asked["occupation"]
    assert asked["status"] in [i.prompt[-1]["content"] for i in Choices("first").items(0)]


def test_a_concept_of_two_categories_is_held_out_of_both(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    names = [f"a{k}" for k in range(8)]
    path.write_text(f"[concepts.mine]\noccupation = {names}\nstatus = {names[::-1]}\n")
    for seed in range(5):
        sets = vars(Choices("mine", prompts=path).split(seed)).values()
        found = [{item.groups for item in items} for items in sets]
        assert sum(map(len, found)) == len(set.union(*found))


def test_unknown_sources_and_attributes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asks about gender, race, tone, not about 'age'"):
        Choices("first", "age")
    with pytest.raises(InputError, match="no images of people at 'third'"):
        Choices("third")
    with pytest.raises(InputError, match="differ in race alone"):
        Choices(str(drawn(tmp_path)), "race")


def test_as_a_task_concepts_and_wordings_are_held_out_of_every_category() -> None:
    task = Choices("first")
    assert len(task.items()) == 22 * 3 * 5 and len({item.id for item in task.items()}) == 330
    split = task.split(0)
    sets = [split.train, split.validation, split.heldout]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not {i.groups for i in sets[one]} & {i.groups for i in sets[other]}
        assert not {i.template for i in sets[one]} & {i.template for i in sets[other]}
    for items in sets:
        assert {i.metadata["category"] for i in items} == {"occupation", "status", "potential crime"}
    assert task.split(0) == split != task.split(1)


def test_tasks_by_name() -> None:
    found = load_task("choices-race-shuffled:second")
    assert isinstance(found, Choices) and found.name == "choices-race-shuffled"
    assert found.outcomes == ("fair", "black", "white") and found.target == (1, 0, 0)
    assert found.concepts == Choices("second", "race").concepts and found.shuffle
    plain = load_task("choices")
    assert isinstance(plain, Choices) and plain.concepts == Choices("first").concepts and not plain.shuffle
    with pytest.raises(InputError, match="no images of people at 'third'"):
        load_task("choices:third")
