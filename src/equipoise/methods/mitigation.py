"""What every mitigation can do, whatever it acts on: what ``audit`` and ``compare`` need of a method's result."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..errors import InputError
from ..interventions import Intervention, Provenance, added, attach
from ..models import LoadedModel
from ..scoring import OptionScores
from ..tasks import Item, Prompt


class Mitigation(Protocol):
    """A way to make a model fairer.

    Strength 0 is the base model. Without a dial any strength above 0 is on.
    """

    @property
    def method(self) -> str:
        """The method's name in results."""

    @property
    def size(self) -> int:
        """The number of values that aren't zero."""

    @property
    def dial(self) -> bool:
        """Whether strengths between off and on differ."""

    @property
    def digest(self) -> str | None:
        """A name for what it does to the model and to prompts, equal exactly for two that do the same.

        Empty for one that leaves both alone; None where that can't be told, so that nothing is kept for it.
        """

    @property
    def adjusts(self) -> bool:
        """Whether :meth:`adjust` ever changes a score."""

    def check(self, loaded: LoadedModel) -> None:
        """Raise :class:`equipoise.InputError`, in words, if it can't act on this model."""

    def attach(self, loaded: LoadedModel, strength: float) -> AbstractContextManager[None]:
        """Act on the model inside the context; strength 0 is the base model, bit for bit."""

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """The prompt as this mitigation wants it asked; strength 0 leaves it alone."""

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """The options' scores as this mitigation has them; strength 0 leaves them alone."""


@dataclass(frozen=True, eq=False)
class Steering:
    """An intervention as a mitigation: its strength is λ, prompts stay."""

    intervention: Intervention

    @property
    def method(self) -> str:
        """The method that fitted it."""
        return self.intervention.provenance.method

    @property
    def size(self) -> int:
        """Entries that are not zero."""
        return self.intervention.nonzero

    @property
    def dial(self) -> bool:
        """True."""
        return True

    @property
    def digest(self) -> str:
        """The intervention's."""
        return self.intervention.digest

    @property
    def adjusts(self) -> bool:
        """False."""
        return False

    def check(self, loaded: LoadedModel) -> None:
        """See :meth:`Intervention.check`."""
        self.intervention.check(loaded)

    @contextmanager
    def attach(self, loaded: LoadedModel, strength: float) -> Iterator[None]:
        """Steer inside the context."""
        with attach(loaded, self.intervention, strength):
            yield

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """The prompt as it is."""
        return prompt

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """The scores as they are."""
        return scores


@dataclass(frozen=True)
class Prompting:
    """An instruction in the system prompt; it has no dial. A plain-text prompt gets it as a paragraph before it.

    Raises :class:`equipoise.InputError` for an instruction without a word.
    """

    instruction: str
    provenance: Provenance = field(default_factory=lambda: Provenance("prompting"), compare=False)

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise InputError("the instruction is empty: write what the model should mind")

    @property
    def method(self) -> str:
        """``prompting``."""
        return "prompting"

    @property
    def size(self) -> int:
        """0: nothing is learned."""
        return 0

    @property
    def dial(self) -> bool:
        """False."""
        return False

    @property
    def digest(self) -> str:
        """A hash of the instruction."""
        return f"prompting {hashlib.sha256(self.instruction.encode()).hexdigest()}"

    @property
    def adjusts(self) -> bool:
        """False."""
        return False

    def check(self, loaded: LoadedModel) -> None:
        """Any model will do."""

    @contextmanager
    def attach(self, loaded: LoadedModel, strength: float) -> Iterator[None]:
        """Nothing of the model changes."""
        yield

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """The instruction joins a chat's system turn, or makes one; strength 0 leaves the prompt alone."""
        if strength == 0:
            return prompt
        if isinstance(prompt, str):
            return f"{self.instruction}\n\n{prompt}"
        rest = prompt[1:] if prompt and prompt[0]["role"] == "system" else prompt
        given = prompt[0]["content"] + "\n\n" if len(rest) < len(prompt) else ""
        return ({"role": "system", "content": given + self.instruction}, *rest)

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """The scores as they are."""
        return scores

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file without tensors: the text and its origin are in the header."""
        from .files import save_prompting

        return save_prompting(self, path, force=force)


@dataclass(frozen=True, eq=False)
class Together:
    """Several mitigations at once, all at the same strength; make it with :func:`together`."""

    parts: tuple[Mitigation, ...]

    @property
    def method(self) -> str:
        """``sum``."""
        return "sum"

    @property
    def size(self) -> int:
        """The parts' sizes, added up."""
        return sum(part.size for part in self.parts)

    @property
    def dial(self) -> bool:
        """Whether any part has one; what has none is on at every strength above 0."""
        return any(part.dial for part in self.parts)

    @property
    def digest(self) -> str | None:
        """The parts' digests, in order; None if one has none."""
        found = [part.digest for part in self.parts]
        return None if None in found else " + ".join(str(one) for one in found if one)

    @property
    def adjusts(self) -> bool:
        """Whether any part does."""
        return any(part.adjusts for part in self.parts)

    def check(self, loaded: LoadedModel) -> None:
        """Every part must be able to act on the model."""
        for part in self.parts:
            part.check(loaded)

    @contextmanager
    def attach(self, loaded: LoadedModel, strength: float) -> Iterator[None]:
        """All of them act in parallel, so that their order does not matter."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.attach(loaded, strength))
            yield

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """Each in turn."""
        for part in self.parts:
            prompt = part.rewrite(prompt, strength)
        return prompt

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """Each in turn."""
        for part in self.parts:
            scores = part.adjust(scores, items, strength)
        return scores


def together(parts: Sequence[Mitigation]) -> Mitigation:
    """The sum: interventions of one token scope become one, and what can't is kept beside it.

    Raises :class:`equipoise.InputError` for interventions of different models.
    """
    steering = added([part.intervention for part in parts if isinstance(part, Steering)])
    whole = (*map(Steering, steering), *(part for part in parts if not isinstance(part, Steering)))
    return whole[0] if len(whole) == 1 else Together(whole)


def as_mitigation(found: Intervention | Mitigation) -> Mitigation:
    """What a method returns, as a mitigation."""
    return Steering(found) if isinstance(found, Intervention) else found


def rewritten(mitigation: Mitigation, items: Sequence[Item], strength: float) -> list[Item]:
    """The items with their prompts as the mitigation wants them asked."""
    return [replace(item, prompt=mitigation.rewrite(item.prompt, strength)) for item in items]
