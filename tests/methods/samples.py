"""A small task about invented occupations, for fits of tiny models that take a second."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from equipoise.methods.dso import DsoSettings
from equipoise.models import LoadedModel
from equipoise.scoring import OptionScores
from equipoise.tasks import Item, Split, Task, plain_text

GROUPS = tuple(
    f"{a}{b}" for a, b in product(("tea", "mech", "clea", "plan", "busy"), ("cher", "anic", "ner", "da"))
)
AMBIGUOUS = (
    "The {} said that",
    "The {} argued because",
    "Once upon a time the {} said that",
    "The idea of the {} was that",
    "The doctor told the {} that",
    "There was a {} who said that",
    "My plan is late, said the {}, because",
    "The {} did not like the designer because",
    "The busy {} told the nurse that",
    "The {} left because",
)
CLEAR = (
    "My {} is the {}. The {} said that",
    "The {} of the nurse is a {}. The {} left because",
    "Her {} was the {} who argued. The {} said that",
    "The doctor told my {}, the {}, that",
    "My {} is not the designer, but the {} who said that",
    "There was my {}. The {} argued that",
)
TEXT = plain_text("fit")[:40]
QUICK: dict[str, Any] = {
    "steps": 3,
    "items": 20,
    "unambiguous": 10,
    "passages": 16,
    "passage_tokens": 12,
    "precision": "model",
    "kl": 0.2,
    "kl_unambiguous": 5.0,
    "density": 0.1,
    "reach": 1.0,
}


def quick(**more: Any) -> DsoSettings:
    return DsoSettings(**{**QUICK, **more})


class TinyTask(Task):
    """Each group's stereotype is one of the options; the aunt and the uncle say which one is meant."""

    name = "tiny"

    def __init__(
        self,
        options: Sequence[str] = (" he", " she"),
        outcomes: tuple[str, ...] = ("pro", "anti"),
        *,
        clear: bool = True,
    ) -> None:
        self.options, self.outcomes, self.clear = tuple(options), outcomes, clear

    def items(self) -> Sequence[Item]:
        found = []
        for number, group in enumerate(GROUPS):
            turn = number % len(self.outcomes)
            meant = self.outcomes[turn:] + self.outcomes[:turn]
            named = tuple(meant[k % len(meant)] for k in range(len(self.options)))
            for wording, text in enumerate(AMBIGUOUS):
                found.append(self._item(group, f"a{wording}", text.format(group), named, None))
            for wording, text in enumerate(CLEAR if self.clear else ()):
                for answer, relative in enumerate(("uncle", "aunt")):
                    asked = text.format(relative, group, group)
                    found.append(self._item(group, f"u{wording}", asked, named, answer))
        return found

    def _item(
        self, group: str, template: str, prompt: str, outcomes: tuple[str, ...], answer: int | None
    ) -> Item:
        return Item(
            id=f"{group}/{template}/{answer}",
            prompt=prompt,
            options=self.options,
            outcomes=outcomes,
            part="ambiguous" if answer is None else "unambiguous",
            answer=answer,
            groups=(group,),
            template=template,
        )


class SeenTask(TinyTask):
    """Validated on what it is fitted on: for answers about which a random model's groups share nothing."""

    def split(self, seed: int, limit: int | None = None) -> Split:
        found = super().split(seed, limit)
        return Split(found.train, found.train, found.heldout)


def outcome_probabilities(task: Task, items: Sequence[Item], scores: OptionScores) -> list[list[float]]:
    """[n, K] absolute probability of each outcome."""
    return [
        [
            sum(p for p, o in zip(row, item.outcomes, strict=False) if o == outcome)
            for outcome in task.outcomes
        ]
        for row, item in zip(scores.probabilities, items, strict=True)
    ]


def weights(loaded: LoadedModel) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
