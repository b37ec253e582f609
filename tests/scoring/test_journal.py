"""A journal that several runs write at once."""

import warnings
from pathlib import Path

from equipoise.errors import InputWarning
from equipoise.scoring.journal import Journal


def test_two_runs_that_begin_a_file_together_leave_nothing_damaged(tmp_path: Path) -> None:
    one, other = (Journal(tmp_path / "a.jsonl", {"of": "something"}) for _ in range(2))
    one.add({0: {"nll": 1.5}})
    other.add({0: {"nll": 1.5}, 1: {"nll": 2.5}})
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        found = Journal(tmp_path / "a.jsonl", {})
    assert found.get([0, 1]) == [{"nll": 1.5}, {"nll": 2.5}]
