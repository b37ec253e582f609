"""Statements: our own pairs are what their data statement says, and every bad file is one line."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.analysis import ProbeSettings, cross_validate, group_folds
from equipoise.errors import InputError
from equipoise.tasks import (
    Statement,
    categories_of,
    check_statements,
    load_statements,
    statements_fingerprint,
)
from equipoise.workflows.probing import word_indicators

SIX = ("gender", "race", "age", "religion", "disability", "socioeconomic")


def pairs(category: str) -> list[tuple[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in load_statements("builtin"):
        if one.category == category:
            found.setdefault(one.group, {})[one.label] = one.text
    return [(both["biased"], both["neutral"]) for both in found.values()]


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def test_six_categories_of_at_least_sixty_pairs_that_are_all_different() -> None:
    found = load_statements("builtin")
    assert categories_of(found) == SIX
    counts = Counter((one.category, one.group) for one in found)
    assert set(counts.values()) == {2}
    assert all(count >= 60 for count in Counter(category for category, _ in counts).values())
    assert len({one.text for one in found}) == len(found)


@pytest.mark.parametrize("category", SIX)
def test_the_twins_share_most_of_their_words_and_their_length(category: str) -> None:
    shared, longer = [], []
    for biased, neutral in pairs(category):
        a, b = Counter(words(biased)), Counter(words(neutral))
        shared.append((a & b).total() / max(a.total(), b.total()))
        longer.append(len(biased) - len(neutral))
    assert np.mean(shared) > 0.6 and min(shared) > 0.1
    # The length alone tells nothing: about as many biased twins are the longer as the shorter one.
    assert abs(np.mean(np.sign(longer))) < 0.25 and abs(np.mean(longer)) < 2


@pytest.mark.parametrize("category", SIX)
def test_which_words_occur_hardly_tells_the_label(category: str) -> None:
    found = [one for one in load_statements("builtin") if one.category == category]
    biased = np.array([one.label == "biased" for one in found])
    groups = [one.group for one in found]
    x = word_indicators([one.text for one in found])
    settings = ProbeSettings(shuffles=0)
    right = [
        ((cross_validate(x, biased, group_folds(groups, 5, seed), settings) > 0) == biased).mean()
        for seed in range(3)
    ]
    assert np.mean(right) < 0.62
    # The twin: one key word that gives the label away shows.
    tell = np.column_stack([x, biased + 0.0])
    assert ((cross_validate(tell, biased, group_folds(groups, 5, 0), settings) > 0) == biased).mean() > 0.8


ROWS = [
    {"statement": f"{word} number {n}", "category": "size", "label": label, "group": f"g{n}"}
    for n in range(20)
    for word, label in (("Bad", "biased"), ("Good", "neutral"))
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_plain_files_are_read(tmp_path: Path, name: str) -> None:
    found = load_statements(
        write(tmp_path / name, [*ROWS[:-1], {**ROWS[-1], "statement": 'He said:\n"No, 7"'}])
    )
    assert len(found) == 40
    assert found[0] == Statement("Bad number 0", "size", "biased", "g0")
    assert found[-1].text == 'He said:\n"No, 7"'
    assert statements_fingerprint(found) != statements_fingerprint(found[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "rude"}, r"entry 1: unknown label 'rude'"),
        ({"statement": "  "}, r"entry 1: the statement is empty"),
        ({"group": "other"}, r"group 'other' of 'size' has only biased"),
        ({"statement": "Good number 3"}, r"stands in the groups 'g0' and 'g3'"),
    ],
)
def test_a_bad_entry_is_one_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = write(tmp_path / "bad.json", [{**ROWS[0], **change}, *ROWS[1:]])
    with pytest.raises(InputError, match=message) as caught:
        load_statements(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_csv_row_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.csv", [*ROWS[:4], {**ROWS[4], "label": ""}, *ROWS[5:]])
    with pytest.raises(InputError, match=r"line 6: unknown label ''"):
        load_statements(path)


def test_what_cannot_be_statements_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size' has 19 groups, and a probe needs at least 20"):
        load_statements(write(tmp_path / "few.json", ROWS[:-2]))
    with pytest.raises(InputError, match="'group' is missing"):
        load_statements(
            write(tmp_path / "a.json", [{k: v for k, v in r.items() if k != "group"} for r in ROWS])
        )
    with pytest.raises(InputError, match="no column 'label'"):
        load_statements(
            write(tmp_path / "b.csv", [{k: v for k, v in r.items() if k != "label"} for r in ROWS])
        )
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        load_statements(tmp_path / "c.json")
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(InputError, match="must be a list"):
        load_statements(tmp_path / "d.json")
    with pytest.raises(InputError, match="can't read"):
        load_statements(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"use builtin, crows_pairs:PATH"):
        load_statements("nonsense")
    with pytest.raises(InputError, match="needs data"):
        load_statements("crows_pairs:")
    with pytest.raises(InputError, match="there are no statements"):
        check_statements([])


def test_crows_pairs_joins_pairs_that_share_a_sentence(tmp_path: Path) -> None:
    rows = [
        {
            "sent_more": f"More {n}.",
            "sent_less": f"Less {n}.",
            "stereo_antistereo": "stereo",
            "bias_type": "age",
        }
        for n in range(22)
    ]
    rows[7]["sent_more"] = rows[3]["sent_less"]
    rows[9]["sent_more"] = "More 7b."
    rows[9]["sent_less"] = rows[7]["sent_less"]
    rows.append({**rows[0], "bias_type": "rare"})
    path = write(tmp_path / "crows.csv", rows)
    found = load_statements(f"crows_pairs:{path}")
    assert categories_of(found) == ("age",) and len(found) == 44
    group = {one.text: one.group for one in found}
    assert group["Less 3."] == group["More 3."] == group["Less 7."] == group["More 7b."]
    assert len(set(group.values())) == 20
    numbered = write(tmp_path / "hub.csv", [{**row, "bias_type": "8"} for row in rows[:-1]])
    assert categories_of(load_statements(f"crows_pairs:{numbered}")) == ("age",)
    with pytest.raises(InputError, match="no column 'sent_more'"):
        load_statements(f"crows_pairs:{write(tmp_path / 'x.csv', ROWS)}")
