"""What the model writes to a few held-out prompts, without and with the recommended mitigation."""

from __future__ import annotations

from ..metrics import Recommendation
from ..reports import Generation
from .generate import generate, sample_items
from .grid import kept_share
from .kept import data_of
from .ledger import Ledger
from .measure import Acting
from .runs import Subject

NEW_TOKENS = 24
TEMPERATURE = 0.8
_EACH = 3


def sampled(
    subject: Subject, advice: Recommendation | None, ledger: Ledger
) -> tuple[tuple[Generation, ...], str]:
    """Three greedy and three sampled ones, at the recommended strength, and a sentence that says so."""
    if not subject.asked:
        return (), "no generations: public suites alone were measured"
    seed = subject.seeds[0]
    first = subject.asked[0].questions
    rows = first.of_part("ambiguous", seed)
    chosen = sample_items([first.items[row] for row in rows], count=2 * _EACH)
    strength = (None if advice is None else advice.strength) or 0.0
    keep = None if advice is None else advice.keep
    steered = kept_share(subject.contenders[0].mitigations[seed], keep) if strength else None
    encoded = [subject.asked[0].encoded[first.items.index(item)] for item in chosen]
    journal = Acting(ledger, steered, strength).journal(
        "generations",
        # What steers may leave the model alone (a temperature of answers): then both texts are the base model's.
        lambda: (
            f"{data_of(chosen, encoded)} {NEW_TOKENS} {TEMPERATURE} {seed}" + (" beside" if steered else "")
        ),
    )
    known = None if journal is None else journal.get(range(len(chosen)))
    if known is not None:
        found = [Generation(row["prompt"], row["base"], row["steered"]) for row in known]
    else:
        found = [
            one
            for items, temperature in ((chosen[:_EACH], 0.0), (chosen[_EACH:], TEMPERATURE))
            for one in generate(
                subject.loaded,
                [item.prompt for item in items],
                images_of=[item.images for item in items],
                intervention=steered,
                strength=strength,
                max_new_tokens=NEW_TOKENS,
                temperature=temperature,
                seed=seed,
            )
        ]
    if journal is not None and known is None:
        journal.add({number: one.to_dict() for number, one in enumerate(found)})
    greedy = len(chosen[:_EACH])
    said = f"generations: the first {greedy} greedy, the others at temperature {TEMPERATURE}, seed {seed}"
    return tuple(found), said
