"""Public suites in an audit: asked once a setting, every number with its interval, paired with the base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from ..errors import InputError
from ..methods.mitigation import Mitigation, rewritten
from ..metrics import Bootstrap, Estimate, TooFewClusters
from ..models import LoadedModel
from ..scoring import (
    EncodedItem,
    Journal,
    OptionScores,
    encode_all,
    generate,
    head_tokens,
    plain_ids,
    prompt_ids,
    rolling_nll,
    score_options,
    window_length,
)
from ..tasks import ClosedSuite, Document, Evidence, FreeSuite, Item, Readings, Suite, TextSuite, fingerprint
from ..tasks.prompts import FreeTextItem
from .kept import Kind, data_of
from .ledger import Ledger
from .measure import Acting


@dataclass(frozen=True, eq=False)
class SuiteQuestions:
    """What of a suite is asked, drawn once; ``seed`` decides what a limit leaves."""

    suite: Suite
    drawn: Sequence[Item] | Sequence[Document] | Sequence[FreeTextItem]

    @classmethod
    def of(cls, suite: Suite, limit: int | None, seed: int) -> SuiteQuestions:
        """At most ``limit`` of each stratum. Raises :class:`InputError` if there is nothing."""
        assert isinstance(suite, (ClosedSuite, TextSuite, FreeSuite))
        drawn = suite.draw(limit, seed)
        if not drawn:
            raise InputError(f"task {suite.name!r}: there is nothing to ask")
        return cls(suite, drawn)

    def check(self, loaded: LoadedModel) -> None:
        """Raise :class:`InputError` for questions about images that the model can't see."""
        if not loaded.takes_images and any(getattr(one, "images", ()) for one in self.drawn):
            raise InputError(
                f"task {self.suite.name!r} asks about images, and {loaded.name} takes none: use a vision-language model"
            )

    @property
    def data(self) -> str:
        """A hash of what is asked."""
        if isinstance(self.suite, ClosedSuite):
            return f"sha256:{fingerprint(self.drawn)}"  # type: ignore[arg-type]
        images = [
            [image.digest for image in one.images] for one in self.drawn if isinstance(one, FreeTextItem)
        ]
        # A picture says where it lies; its digest is what is asked.
        asked = [replace(one, images=()) if isinstance(one, FreeTextItem) else one for one in self.drawn]
        return f"sha256:{_digest(asked, *([images] if any(images) else []))}"

    def ask(
        self,
        loaded: LoadedModel,
        mitigation: Mitigation | None = None,
        strength: float = 0.0,
        ledger: Ledger | None = None,
    ) -> Readings:
        """The suite's readings while ``mitigation`` is attached; it rewrites prompts and adjusts scores, too.

        ``ledger`` says where what is measured is kept, None that it isn't.
        """
        suite, drawn = self.suite, self.drawn

        def journal(kind: Kind, data: Callable[[], str]) -> Journal | None:
            return None if ledger is None else Acting(ledger, mitigation, strength).journal(kind, data)

        if isinstance(suite, ClosedSuite):
            items: Sequence[Item] = drawn  # type: ignore[assignment]
            asked = items if mitigation is None else rewritten(mitigation, items, strength)
            encoded = encode_all(loaded, asked)

            def adjusted(scores: OptionScores, rows: Sequence[int]) -> OptionScores:
                if mitigation is None:
                    return scores
                return mitigation.adjust(scores, [asked[row] for row in rows], strength)

            kept = journal("answers", lambda: f"{data_of(asked, encoded)} in chunks")
            return suite.readings(items, evidence(loaded, encoded, adjusted, kept))
        if isinstance(suite, TextSuite):
            documents: Sequence[Document] = drawn  # type: ignore[assignment]
            before = "" if mitigation is None else str(mitigation.rewrite("", strength))
            opening = plain_ids(loaded.tokenizer, before) if before else []
            whole = [document.text for document in documents]
            length = window_length(loaded)
            kept = journal(
                "text",
                lambda: _digest([plain_ids(loaded.tokenizer, text) for text in whole], opening, length),
            )
            nll = rolling_nll(loaded, whole, length=length, before=opening, journal=kept)
            return suite.text_readings(documents, nll)
        assert isinstance(suite, FreeSuite)
        prompts: Sequence[FreeTextItem] = drawn  # type: ignore[assignment]
        texts = [p.prompt if mitigation is None else mitigation.rewrite(p.prompt, strength) for p in prompts]
        kept = journal(
            "generations",
            lambda: _digest(self.data, [prompt_ids(loaded, text) for text in texts], suite.new_tokens),
        )
        said = generate(
            loaded,
            texts,
            images=[prompt.images for prompt in prompts],
            max_new_tokens=suite.new_tokens,
            journal=kept,
        )
        return suite.completion_readings(prompts, said)


def evidence(
    loaded: LoadedModel,
    encoded: Sequence[EncodedItem],
    adjusted: Callable[[OptionScores, Sequence[int]], OptionScores] = lambda scores, rows: scores,
    journal: Journal | None = None,
) -> Evidence:
    """What the model gives for encoded items, in batches that bound the tokens of answers.

    ``adjusted`` has the last word on the scores of the items at ``rows``; ``journal`` keeps what they were before.
    """
    tokens = np.ones((len(encoded), max(len(item.options) for item in encoded)), dtype=np.int64)
    for row, item in enumerate(encoded):
        tokens[row, : len(item.options)] = [len(option) for option in item.options]
    # Items of like length run together, so that one long answer does not make every batch small.
    order = np.argsort(tokens.max(1), kind="stable")
    logp = np.full(tokens.shape, -np.inf)
    begins = np.zeros(len(encoded), dtype=bool)
    for rows in np.array_split(order, max(1, len(order) // 256)):
        part = [encoded[row] for row in rows]
        # Answers of several tokens need the whole vocabulary at each of them.
        most = max(1, head_tokens(loaded) // int(tokens[rows].max() * tokens.shape[1]))
        own = None if journal is None else journal.part(rows.tolist())
        scores = adjusted(score_options(loaded, part, max_rows=most, journal=own), rows.tolist())
        logp[rows, : scores.logp.shape[1]], begins[rows] = scores.logp, scores.begins
    return Evidence(logp, tokens, begins)


def _digest(*parts: object) -> str:
    return sha256(" ".join(map(repr, parts)).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class SuiteIntervals:
    """The draws of one suite, shared by all its settings; ``readings`` are a first measurement's."""

    draws: Mapping[str, Bootstrap | None]

    @classmethod
    def of(cls, readings: Readings, level: float) -> SuiteIntervals:
        """Draws for every reading; readings of the same clusters share theirs, and too few give none."""
        made: dict[tuple[frozenset[str], frozenset[str]], Bootstrap | None] = {}
        draws = {}
        for name, reading in readings.items():
            groups = frozenset(group for names in reading.sample.groups for group in names)
            templates = frozenset(reading.sample.templates)
            if (groups, templates) not in made:
                try:
                    made[groups, templates] = Bootstrap(set(groups), set(templates), level=level)
                except TooFewClusters:
                    made[groups, templates] = None
            draws[name] = made[groups, templates]
        return cls(draws)

    def metrics(self, now: Sequence[Readings]) -> dict[str, Estimate | None]:
        """Every number, ``now`` one entry a seed; without enough clusters a number stands without interval."""
        return {name: self._estimate(name, now) for name in now[0]}

    def changes(self, now: Sequence[Readings], base: Sequence[Readings]) -> dict[str, Estimate | None]:
        """Paired differences; None where there are too few clusters."""
        return {
            name: None
            if draws is None
            else draws.difference(now[0][name].statistic, _samples(now, name), _samples(base, name))
            for name, draws in self.draws.items()
        }

    def p_values(self, now: Sequence[Readings], base: Sequence[Readings]) -> dict[str, float]:
        """Of "nothing changed"; NaN where that can't be tested."""
        return {
            name: float("nan")
            if draws is None
            else draws.p_value(now[0][name].statistic, _samples(now, name), _samples(base, name))
            for name, draws in self.draws.items()
        }

    def _estimate(self, name: str, now: Sequence[Readings]) -> Estimate | None:
        draws = self.draws[name]
        if draws is not None:
            return draws.estimate(now[0][name].statistic, _samples(now, name))
        values = [each[name].statistic(each[name].sample) for each in now]
        known = [value for value in values if value is not None]
        if not known:
            return None
        return Estimate.alone(float(np.mean(known)), sum(len(each[name].sample) for each in now))


def _samples(now: Sequence[Readings], name: str) -> list[object]:
    return [each[name].sample for each in now]
