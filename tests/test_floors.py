"""The house stands on its floors: a room imports only from the rooms below it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "equipoise"

# From the ground up. Rooms of one floor don't import each other.
FLOORS = (
    ("errors", "versions"),
    ("files",),
    ("metrics",),
    ("models",),
    ("interventions",),
    ("tasks",),
    ("scoring",),
    ("analysis",),
    ("reports", "export", "methods"),
    ("workflows",),
    ("__init__",),  # `import equipoise as eq`
    ("serve", "dso", "harness"),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path, package: Path) -> str:
    """The room a file belongs to: the first part of its path below the package."""
    return path.relative_to(package).with_suffix("").parts[0]


def imported_rooms(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import from the package in one file, those inside functions included."""
    folder = ["equipoise", *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            targets = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for parts in targets:
            if parts[0] == "equipoise":
                yield node.lineno, parts[1] if len(parts) > 1 and parts[1] in FLOOR else "__init__"


def violations(package: Path) -> list[str]:
    """Every import that doesn't go down, as ``file:line: room imports room``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        room, name = room_of(path, package), path.relative_to(package)
        if room not in FLOOR:
            found.append(f"{name}: the room {room} has no floor")
            continue
        for line, other in imported_rooms(path, package):
            if other != room and FLOOR[other] >= FLOOR[room]:
                found.append(f"{name}:{line}: {room} imports {other}")
            elif room == "metrics" and other not in ("metrics", "errors", "files"):
                found.append(f"{name}:{line}: metrics imports {other}")
    return found


def test_every_room_imports_only_from_the_floors_below() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("models/a.py", "from ..scoring import score_options", "models imports scoring"),
        ("models/a.py", "from equipoise.scoring.closed import x", "models imports scoring"),
        ("models/deep/a.py", "from ...tasks import Item", "models imports tasks"),
        ("models/a.py", "def f():\n    from equipoise import methods", "models imports methods"),
        ("models/a.py", "import equipoise.cli", "models imports cli"),
        ("models/a.py", "import equipoise", "models imports __init__"),
        ("reports/a.py", "from ..methods import dso", "reports imports methods"),
        ("metrics/a.py", "from ..models import load", "metrics imports models"),
        ("attic/a.py", "", "the room attic has no floor"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, line: str, message: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert any(message in found for found in violations(tmp_path))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("workflows/a.py", "from ..methods import dso\nfrom ..metrics import Estimate"),
        ("metrics/a.py", "from .b import c\nfrom ..errors import InputError\nimport numpy"),
        (
            "models/deep/a.py",
            "from . import b\nfrom ..outputs import hidden_of\nfrom ...files import write_atomic",
        ),
    ],
)
def test_an_import_from_below_is_allowed(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert violations(tmp_path) == []


# A folder of the machine on which something was written; it means nothing anywhere else.
MACHINE_FOLDERS = ("work", "root", "home", "Users", "tmp/venv", "tmp/wt", "tmp/plan")
MACHINE_PATH = re.compile(rf"(?<![\w.}}:-])/(?:{'|'.join(MACHINE_FOLDERS)})/[\w.-]")


def test_no_tracked_file_names_a_folder_of_some_machine() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{name}:{number}")
    assert found == []


@pytest.mark.parametrize("folder", MACHINE_FOLDERS)
def test_the_folder_pattern_finds_one_and_leaves_the_rest(folder: str) -> None:
    inside = f"{folder}/data.csv"
    for line in (f"open('/{inside}')", f"cd /{inside}"):
        assert MACHINE_PATH.search(line)
    for line in (f"https://example.org/{inside}", f"./{inside}", f"tests/{inside}"):
        assert not MACHINE_PATH.search(line)
