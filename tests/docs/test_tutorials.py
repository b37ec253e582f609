"""The tutorials' code runs as printed; blocks marked ``python skip`` need a model and are left to the reader."""

import re
from pathlib import Path
from typing import Any

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(path: Path) -> dict[str, Any]:
    """Execute a page's blocks one after the other in one namespace, and return it."""
    namespace: dict[str, Any] = {"__name__": path.stem}
    for block in BLOCK.findall(path.read_text(encoding="utf-8")):
        exec(compile(block, str(path), "exec"), namespace)
    return namespace


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.md")), ids=lambda path: path.stem)
def test_the_code_runs(path: Path) -> None:
    run(path)


def test_the_new_task_is_counterbalanced_and_splits() -> None:
    task = run(TUTORIALS / "new-task.md")["Age"]()
    items = task.items()
    assert len({item.id for item in items}) == len(items)
    split = task.split(seed=0)
    for part in (split.train, split.validation, split.heldout):
        assert {item.part for item in part} == {"ambiguous", "unambiguous"}
    assert not {i.groups for i in split.train} & {i.groups for i in split.heldout}
    # Counterbalanced: no way of answering without reading beats chance.
    baselines = task.baselines(items)
    assert {name: float(hits.mean()) for name, hits in baselines.items()} == dict.fromkeys(baselines, 0.5)
