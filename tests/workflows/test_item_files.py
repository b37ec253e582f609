"""scores.jsonl read back."""

import json
from pathlib import Path

from equipoise.workflows.item_files import ItemScores


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    head = {"seeds": [0], "settings": [{"mitigation": None, "keep": None, "strength": 0}]}
    rows = [
        {"task": None, "text": "one\u2028passage\u0085here"},
        {"task": "own", "item": "a", "part": "ambiguous"},
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in (head, *rows)]
    file.write_text("".join(lines), encoding="utf-8")
    found = ItemScores.read(file)
    assert found.passages() == [rows[0]["text"]] and found.items("own") == {("a", "ambiguous")}
