"""The unit of every task: one prompt and the closed answers that may follow it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args

from ..errors import InputError
from .image import PLACEHOLDER, Picture, pictures

Message = Mapping[str, str]
"""One turn of a chat: ``{"role": ..., "content": ...}``."""

Prompt = str | tuple[Message, ...]
"""Plain text that is continued literally (empty: the options are whole texts), or chat turns that the model's own
template lays out."""

Part = Literal["ambiguous", "unambiguous"]
"""``ambiguous``: every answer is equally right, parity is ideal. ``unambiguous``: exactly one is right."""


@dataclass(frozen=True)
class Item:
    """A prompt, its answer options, and what each option would say about whom.

    Attributes:
        id: unique within the task.
        prompt: see :data:`Prompt`.
        options: texts appended literally to the prompt (the leading space belongs to them); two or more.
        outcomes: one an option; ``"pro"``/``"anti"`` (for or against the stereotype) in two-way tasks, group
            names otherwise. Several options may share one outcome; those of an ambiguous item have two or more.
        part: see :data:`Part`.
        answer: index of the right option; None exactly when the item is ambiguous.
        groups: whom the item measures (here: occupations), at least one.
        template: id of the wording that the item shares with others; a cluster for splits and intervals.
        terminator: text that closes an option, scored with it where one option's tokens begin another's.
        metadata: anything else, as JSON values; part of the data fingerprint.
        images: what stands where the prompt says ``<image>``, in this order: paths, bytes of image files, or Pillow
            images, which are kept as :class:`Picture`. Without images ``<image>`` is text like any other.
        target: the share of the answers that each outcome should have, above 0 and summing to 1; None for equal shares.
            Of ambiguous items only.

    Raises :class:`InputError`, naming the item, if these do not fit together.
    """

    id: str
    prompt: Prompt
    options: tuple[str, ...]
    outcomes: tuple[str, ...]
    part: Part
    answer: int | None
    groups: tuple[str, ...]
    template: str
    terminator: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Picture, ...] = ()
    target: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.images:
            object.__setattr__(self, "images", pictures(self.images))
        problem = self._problem()
        if problem:
            raise InputError(f"item {self.id!r}: {problem}")

    def __hash__(self) -> int:
        return hash((self.id, self.part, self.template))

    def _problem(self) -> str | None:
        if (ill := self._ill_formed()) is not None:
            return ill
        if len(self.options) < 2 or len(set(self.options)) != len(self.options) or "" in self.options:
            return f"needs two or more distinct, non-empty options, got {list(self.options)}"
        if len(self.outcomes) != len(self.options):
            return f"needs one outcome an option, got {len(self.outcomes)} for {len(self.options)} options"
        if self.part not in get_args(Part):
            return f"part must be one of {list(get_args(Part))}, got {self.part!r}"
        if (self.answer is None) != (self.part == "ambiguous"):
            return "an unambiguous item needs the index of its right answer, an ambiguous one must have None"
        if self.answer is None and len(set(self.outcomes)) == 1:
            return f"all options of an ambiguous item mean {self.outcomes[0]!r}, so that it can show no bias"
        if self.answer is not None and not 0 <= self.answer < len(self.options):
            return f"answer {self.answer} is no index into {len(self.options)} options"
        if self.target is not None and (self.answer is not None or not self._has_whole_target()):
            return (
                "a target gives each outcome of an ambiguous item a share above 0, summing to 1; got "
                f"{self.target} for {sorted(set(self.outcomes))}"
            )
        if not self.groups:
            return "needs at least one group (whom does it measure?)"
        if self.images and placeholders(self.prompt) != len(self.images):
            return (
                f"has {len(self.images)} images, and its prompt says {PLACEHOLDER} {placeholders(self.prompt)} times:"
                " it must stand once where each image belongs"
            )
        return None

    def _ill_formed(self) -> str | None:
        """What is of another type than it says: a text is a sequence too, so one for several would be taken apart."""
        for name in ("options", "outcomes", "groups"):
            texts = getattr(self, name)
            several = isinstance(texts, Sequence) and not isinstance(texts, str)
            if not several or not all(isinstance(text, str) for text in texts):
                return f"{name} must be a tuple of texts, got {texts!r} (a tuple of one needs a comma: ('cook',))"
        template: object = self.template
        if not isinstance(template, str):
            return f"template must be a text, got {template!r}"
        if self.answer is not None and not _is_index(self.answer):
            return f"answer must be the index of the right option, or None, got {self.answer!r}"
        return _ill_formed_prompt(self.prompt)

    def _has_whole_target(self) -> bool:
        if not isinstance(self.target, Mapping) or set(self.target) != set(self.outcomes):
            return False
        shares = list(self.target.values())
        return (
            all(isinstance(share, Real) for share in shares)
            and min(shares) > 0
            and abs(sum(shares) - 1) < 1e-6
        )


def _is_index(answer: object) -> bool:
    return isinstance(answer, Integral) and not isinstance(answer, bool)


def _ill_formed_prompt(prompt: object) -> str | None:
    if isinstance(prompt, str):
        return None
    if isinstance(prompt, Sequence) and prompt and all(_is_turn(turn) for turn in prompt):
        return None
    return (
        f"prompt must be a text, or a tuple of messages with the texts 'role' and 'content', got {prompt!r}"
    )


def _is_turn(turn: object) -> bool:
    return isinstance(turn, Mapping) and all(isinstance(turn.get(key), str) for key in ("role", "content"))


def placeholders(prompt: Prompt) -> int:
    """How many images the prompt has places for."""
    if isinstance(prompt, str):
        return prompt.count(PLACEHOLDER)
    return sum(turn["content"].count(PLACEHOLDER) for turn in prompt)


def target_shares(
    items: Sequence[Item], outcomes: Sequence[str], target: Sequence[float] | None = None
) -> list[list[float]] | None:
    """[n, K] the shares that are fair for each item: its own, else the task's ``target``, else equal ones.

    None where nothing but equal shares is wanted.
    """
    if not items or (target is None and all(item.target is None for item in items)):
        return None
    usual = dict(zip(outcomes, target or [1 / len(outcomes)] * len(outcomes), strict=True))
    return [[(item.target or usual).get(outcome, 0.0) for outcome in outcomes] for item in items]
