"""Questions about images with known answers: VQAv2's files, and MMMU's. What a mitigation must not cost."""

from __future__ import annotations

import ast
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import InputError, tell_left_out
from ..files import read_text
from ..metrics import Table, mean_of, vqa_accuracy
from .image import PLACEHOLDER, Picture, picture, pictures
from .item import Item
from .multiple_choice import MultipleChoice
from .prompts import FreeTextItem
from .suite import FreeSuite, Reading, Readings

_VQA_PROMPT = f"{PLACEHOLDER}\n{{question}}\nAnswer with a single word or a short phrase."
_MMMU_PROMPT = "{question}\n{options}\nAnswer with the letter of the right option."
_MMMU_IMAGE = re.compile(r"<image (\d)>")
_MMMU_SPLIT = re.compile(r"(dev|validation|test)-")
LETTERS = "ABCDEFGHIJ"
NEW_TOKENS = 8
"""Of an open answer."""


class OpenQuestion(FreeTextItem):
    """A question answered freely, with the humans' answers; ``group`` is what resembles it (its image)."""

    @property
    def humans(self) -> tuple[str, ...]:
        """What people answered."""
        return tuple(self.metadata["humans"])


class VQA(FreeSuite):
    """VQAv2 as a suite: greedy short answers, judged by its own accuracy; see :func:`load_questions` for the folder."""

    name = "vqa"
    about = "VQAv2: questions about photographs, answered freely; accuracy is the set's own, by ten people's answers."
    new_tokens = NEW_TOKENS

    def __init__(self, path: str | PathLike[str]) -> None:
        self._questions = load_questions(f"vqa:{os.fspath(path)}")[1]

    def prompts(self) -> Sequence[FreeTextItem]:
        """Every question whose image is there."""
        return [one for one in self._questions if isinstance(one, OpenQuestion)]

    def completion_readings(self, prompts: Sequence[FreeTextItem], completions: Sequence[str]) -> Readings:
        """``accuracy``, and the rate of empty answers; images are the clusters."""
        said = [first_line(text) for text in completions]
        right = [vqa_accuracy(text, one.metadata["humans"]) for text, one in zip(said, prompts, strict=True)]
        table = Table(
            {"accuracy": right, "empty": [not text for text in said]}, [(one.group,) for one in prompts]
        )
        return {
            "accuracy": Reading(mean_of("accuracy"), table),
            "empty_rate": Reading(mean_of("empty"), table),
        }


class MMMU(MultipleChoice):
    """MMMU as a suite: multiple-choice questions, subjects as clusters; see :func:`load_questions` for the files."""

    name = "mmmu"
    about = "MMMU: multiple-choice questions of college subjects with images."
    letters = True

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(one for one in load_questions(f"mmmu:{os.fspath(path)}")[1] if isinstance(one, Item))


def first_line(answer: str) -> str:
    """What counts of a generated answer."""
    return answer.strip().split("\n")[0]


def load_questions(spec: str) -> tuple[str, list[OpenQuestion] | list[Item]]:
    """The questions of ``vqa:PATH`` or ``mmmu:PATH``, and their kind.

    - ``vqa:PATH``: a folder with VQAv2's ``*questions.json`` and ``*annotations.json`` of one split, and its images in
      any folder below, named ``..._000000123456.jpg`` by their id, one each. Questions whose image isn't there are left
      out.
    - ``mmmu:PATH``: a parquet file of the hub's ``MMMU/MMMU``, or a folder with several; needs pyarrow. Where there are
      files ``validation-*`` these alone are read: ``dev`` has examples to show, and ``test``'s answers are withheld.
      Multiple-choice questions alone; a subject (the folder of such a file, otherwise the file's name) is a group.

    Raises :class:`InputError` for another name, files that are missing or damaged, or no question at all.
    """
    name, colon, path = spec.partition(":")
    if name not in ("vqa", "mmmu") or not colon or not path:
        raise InputError(f"unknown questions {spec!r}: use vqa:PATH or mmmu:PATH")
    found: list[OpenQuestion] | list[Item]
    found = list(_vqa(Path(path))) if name == "vqa" else list(_mmmu(Path(path)))
    if not found:
        raise InputError(f"{spec}: there is no question whose images are there")
    return name, found


def _vqa(folder: Path) -> Iterator[OpenQuestion]:
    asked = _json(folder, "*questions.json", "questions")
    answered = {_id(folder, one): one for one in _json(folder, "*annotations.json", "annotations")}
    pattern = re.compile(r"_?0*(\d+)\.(?:jpg|jpeg|png)$", re.IGNORECASE)
    images: dict[int, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if (m := pattern.search(path.name)) and not path.name.startswith("."):
            images[int(m[1])].append(path)
    unseen = 0
    for one in asked:
        number, shown_in = _id(folder, one), _id(folder, one, "image_id")
        known = answered.get(number)
        place = f"{folder}: question {number}"
        if known is None:
            raise InputError(f"{place} has no annotation: give questions and annotations of one split")
        if shown_in not in images:
            unseen += 1
            continue
        if len(images[shown_in]) > 1:
            one_of, another = images[shown_in][:2]
            raise InputError(f"{folder}: {one_of} and {another} are both image {shown_in}: leave one of them")
        try:
            humans = tuple(str(answer["answer"]) for answer in known["answers"])
            text = _VQA_PROMPT.format(question=str(one["question"]))
        except (KeyError, TypeError) as error:
            raise InputError(f"{place}: {error} is missing: these must be VQAv2's files") from None
        if not humans:
            raise InputError(f"{place} has no answers")
        shown = pictures(images[shown_in])
        prompt = ({"role": "user", "content": text},)
        yield OpenQuestion(str(number), prompt, str(shown_in), {"humans": list(humans)}, shown)
    if unseen < len(asked):
        tell_left_out("vqa: questions", unseen, len(asked), "their images are not there")


def _id(folder: Path, one: Any, key: str = "question_id") -> int:
    found: Any = one.get(key) if isinstance(one, dict) else None
    try:
        return int(found)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{folder}: the {key} of a question or annotation is {found!r}, no number: these must be VQAv2's files"
        ) from None


def _json(folder: Path, pattern: str, key: str) -> Sequence[Mapping[str, Any]]:
    files = sorted(folder.glob(pattern))
    remedy = f"give the folder with VQAv2's {pattern} of one split"
    if len(files) != 1:
        raise InputError(f"{folder} has {len(files)} files {pattern}: {remedy}")
    try:
        found = json.loads(read_text(files[0], "vqa", remedy))[key]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{files[0]} can't be read ({error}): {remedy}") from None
    if not isinstance(found, list):
        raise InputError(f"{files[0]}: {key} is no list: {remedy}")
    return found


def _mmmu(path: Path) -> Iterator[Item]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError("mmmu reads parquet files by pyarrow: pip install 'equipoise[hub]'") from None
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError(f"mmmu: there is no parquet file at {path}")
    files = [file for file in files if file.name.startswith("validation-")] or files
    count = open_ = 0
    for file in files:
        try:
            rows = parquet.read_table(file).to_pylist()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} is no parquet file of MMMU ({' '.join(str(error).split())[:120]})"
            ) from None
        for row in rows:
            count += 1
            if row.get("question_type") == "multiple-choice":
                yield _choice(file, row, _subject(path, file))
            else:
                open_ += 1
    if open_ < count:
        tell_left_out("mmmu: questions", open_, count, "they are no multiple-choice questions")


def _subject(given: Path, file: Path) -> str:
    """The hub has a folder for each subject, with files named by their split; others a file for each."""
    alone = file == given or file.parent == given
    return file.stem if alone and not _MMMU_SPLIT.match(file.name) else file.absolute().parent.name


def _choice(file: Path, row: Mapping[str, Any], subject: str) -> Item:
    place = f"{file}: {row.get('id')}"
    try:
        options = list(
            ast.literal_eval(row["options"]) if isinstance(row["options"], str) else row["options"]
        )
        letter = row["answer"]
        question = str(row["question"])
    except (KeyError, ValueError, SyntaxError, TypeError) as error:
        raise InputError(f"{place}: {error}: these must be MMMU's columns") from None
    if letter not in tuple(LETTERS):
        raise InputError(
            f"{place}: the answer {letter!r} is no single letter: it may be withheld, as those of the test set are; "
            "give the validation set"
        )
    answer = LETTERS.index(letter)
    if not 2 <= len(options) <= len(LETTERS) or answer >= len(options):
        raise InputError(f"{place}: {len(options)} options and the answer {letter!r} don't fit")
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    text = _MMMU_PROMPT.format(question=question, options=listed)
    numbers = _MMMU_IMAGE.findall(text)
    shown: list[Picture] = []
    for number in numbers:
        image = row.get(f"image_{number}")
        if not isinstance(image, Mapping) or not image.get("bytes"):
            raise InputError(f"{place}: image_{number} is missing")
        shown.append(picture(image["bytes"], f"{place}: image_{number}"))
    letters = tuple(LETTERS[: len(options)])
    return Item(
        id=str(row.get("id")),
        prompt=({"role": "user", "content": _MMMU_IMAGE.sub(PLACEHOLDER, text)},),
        options=letters,
        outcomes=letters,
        part="unambiguous",
        answer=answer,
        groups=(subject,),
        template=str(row.get("id")),
        images=tuple(shown),
    )
