"""DSO on closed answers: the expectation over the answers is exact, and each step solves a convex problem.

One step linearises, at the present parameters, the log-odds of ambiguous items (they should be zero), those of
unambiguous items and the probability of answering (they should stay), by per-sample gradients from one backward pass a
batch. Their residuals, a quadratic price on KL from the Fisher information of plain text, and an ℓ1 penalty make a
convex problem that is solved to its end: a Gauss-Newton step without a learning rate. The price of KL is a Lagrange
multiplier, raised while the measured KL is above its budget and lowered while it is below (dual ascent on its
logarithm); that of unambiguous answers likewise. The state that is kept is the best on validation data within budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...interventions import Intervention, Provenance
from ...metrics import accuracy_drop
from ...models import LoadedModel
from ...scoring import encode_passages
from ...tasks import Item
from ..batches import balanced
from ..progress import Progress, Report
from ..validation import Validated, Validation
from .checkpoint import Checkpoint
from .linearisation import Linearisation, Rows
from .parameters import NormParameters, text_gradients
from .settings import DsoSettings
from .subproblem import Subproblem, solve_sparse, sparse_mean

# Weights relative to the ambiguous residuals, chosen on validation data of SmolLM2-135M; the multipliers move on.
_KL_PRICE = 0.08
_TEXT_PRICE = 6.0
_SECANT_PRICE = 1.0
_CLEAR_PRICE = 0.3
_PERPLEXITY_PRICE = 300.0
# How much the second and later steps stay near the last state, and how far the metric is kept from zero.
_TRUST = 1.0
_DAMPING = 0.05
# Entries are dearer than their Fisher information by this power of it: at the same linear effect on the answers the
# divergence on other text was half.
_CAUTION = 0.5
# Earlier steps are linear near here too: their items serve again, at a weight that falls with each step.
_MEMORY = 0.5
_REMEMBERED = 2
# Validation passages are several pieces long.
_PIECES = 4
_VALIDATION_PASSAGES = 20
_VALIDATION_ITEMS = {"ambiguous": 172, "unambiguous": 86}
# How much longer the mean of the last two states may become, and how near to the budget a length aims.
_LONGEST = 1.2
_ASIDE = 0.99
# Where no state is kept: how often the last one is shortened, and to what share where that isn't a matter of KL.
_SHORTENINGS = 4
_SHORTER = 0.6


class ExactFit:
    """The trainer; :meth:`run` gives the best vector [P] and what it did on validation data."""

    def __init__(
        self,
        loaded: LoadedModel,
        train: Sequence[Item],
        validation: Sequence[Item],
        outcomes: Sequence[str],
        text: Sequence[str],
        settings: DsoSettings,
        seed: int,
        target: Sequence[float] | None = None,
    ) -> None:
        self.settings, self.seed = settings, seed
        self.parameters = NormParameters(loaded)
        held, self._passages = _divide(loaded, text, settings, seed)
        self.linear = Linearisation(self.parameters, train, outcomes, self._passages, settings, seed, target)
        shown = [
            part[i]
            for name, number in _VALIDATION_ITEMS.items()
            if (part := [item for item in validation if item.part == name])
            for i in balanced(part, number, seed, 0, whole=name == "ambiguous")
        ]
        self.validation = Validation(loaded, shown, outcomes, held, target)
        self._drop = settings.accuracy_drop or accuracy_drop(sum(i.part == "unambiguous" for i in shown))

    def run(
        self, checkpoint: Checkpoint | None, report: Report | None
    ) -> tuple[Tensor, Validated, Validated]:
        """Fit, from the checkpoint's state if there is one.

        Returns:
            the kept vector [P], its validation figures and the unsteered model's.
        """
        settings, steps = self.settings, self.settings.steps
        say = report or (lambda _: None)
        say(Progress(0, steps, "measuring the metric of KL on plain text"))
        sampled, observed = text_gradients(
            self.parameters,
            self._passages,
            torch.Generator().manual_seed(self.seed),
        )
        tokens = len(self._passages) * (settings.passage_tokens - 1)
        fisher = sampled.square().sum(0) / tokens
        fisher += _DAMPING * fisher.mean()
        metric = fisher * (fisher / fisher.median()) ** _CAUTION
        base = self.validation(None)
        say(Progress(0, steps, "measured the unsteered model", base.bias, 0.0))
        done, states, kl_price, clear_price = 0, [torch.zeros(self.parameters.size)], 1.0, 1.0
        extents = [1.0] * steps
        best, best_figures = states[0], base
        if checkpoint is not None and (saved := checkpoint.load()) is not None:
            done, best_figures = saved.step, saved.figures
            kl_price, clear_price, extents[0] = saved.prices
            states, best = list(saved.vectors[:-1]), saved.vectors[-1]
        first = max(0, done - _REMEMBERED + 1)
        memory = [self.linear.rows(step, states[step]) for step in range(first, done)] if done < steps else []
        for step in range(done, steps):
            memory = [*memory[1 - _REMEMBERED :], self.linear.rows(step, states[-1])]
            known = extents[step + 1 - len(memory) : step + 1]
            problem = self._problem(
                list(zip(memory, known, strict=True)),
                states[-1],
                sampled / math.sqrt(tokens),
                observed,
                metric,
                kl_price,
                clear_price,
            )
            solved = solve_sparse(problem, settings.density)
            if step == 0 and settings.reach > 1:
                extents[0] = self.linear.extent(memory[-1], solved)
            states.append(extents[step] * solved)
            figures = self._measure(states[-1])
            for vector, now in self._candidates(states, figures, metric):
                if self._better(now, best_figures, base):
                    best, best_figures = vector, now
            kl_price *= _ascent(figures.kl / settings.kl)
            clear_price *= _ascent(figures.kl_unambiguous / settings.kl_unambiguous)
            if checkpoint is not None:
                checkpoint.save(step + 1, [*states, best], (kl_price, clear_price, extents[0]), best_figures)
            say(
                Progress(
                    step + 1,
                    steps,
                    f"solved a step ({best_figures.bias:.3f} kept)",
                    figures.bias,
                    figures.kl,
                )
            )
        if not best.any() and states[-1].any():
            say(Progress(steps, steps, "no step is kept: shortening the last", base.bias, 0.0))
            best, best_figures = self._shortened(states[-1], base)
        return best, best_figures, base

    def _shortened(self, vector: Tensor, base: Validated) -> tuple[Tensor, Validated]:
        """The vector as short as it must be to be better than nothing within every budget; else zero."""
        settings, found = self.settings, self._measure(vector)
        for _ in range(_SHORTENINGS):
            # KL grows with the square of the length; what accuracy does, or a step too far, nobody knows.
            room = min(
                settings.kl / max(found.kl, 1e-9),
                settings.kl_unambiguous / max(found.kl_unambiguous, 1e-9),
            )
            blind = found.accuracy < base.accuracy - self._drop or found.bias >= base.bias
            vector = vector * min(_SHORTER if blind else 1.0, _ASIDE * math.sqrt(room))
            found = self._measure(vector)
            if self._better(found, base, base):
                return vector, found
        return torch.zeros_like(vector), base

    def _measure(self, vector: Tensor) -> Validated:
        return self.validation(self._intervention(vector))

    def _intervention(self, vector: Tensor) -> Intervention:
        return Intervention(self.parameters.edits(vector), "all", Provenance(method="dso"))

    def _candidates(
        self, states: Sequence[Tensor], figures: Validated, metric: Tensor
    ) -> Iterator[tuple[Tensor, Validated]]:
        """The last state, if it is within the budget; in the end also the mean of the last two, as long as it may be.

        What two states, fitted on different items, don't share is noise that costs divergence and moves nothing on
        other items. The mean is drawn out until it spends the budget; its density is that of a state. A single step,
        of which there is no mean, is drawn out likewise, ``reach`` times at most. Where a state is
        beyond the budget, its mean is shortened until it is within.
        """
        budget = self.settings.kl
        if figures.kl <= budget:
            yield states[-1], figures
            if len(states) <= self.settings.steps:
                return
        vector, kl, longest = states[-1], figures.kl, max(_LONGEST, self.settings.reach)
        if len(states) > 2:
            longest = _LONGEST
            vector = sparse_mean(states[-1], states[-2], metric, self.settings.density)
            kl = self.validation.kl(self._intervention(vector))
        for _ in range(2):
            # KL grows with the square of the length.
            vector = vector * min(longest, _ASIDE * math.sqrt(budget / max(kl, 1e-9)))
            found = self._measure(vector)
            if found.kl <= budget:
                yield vector, found
                return
            kl = found.kl

    def _better(self, now: Validated, best: Validated, base: Validated) -> bool:
        within = (
            now.kl <= self.settings.kl
            and now.kl_unambiguous <= self.settings.kl_unambiguous
            and now.accuracy >= base.accuracy - self._drop
        )
        return within and now.bias < best.bias

    def _problem(
        self,
        memory: Sequence[tuple[Rows, float]],
        here: Tensor,
        text: Tensor,
        observed: Tensor,
        diagonal: Tensor,
        kl_price: float,
        clear_price: float,
    ) -> Subproblem:
        matrix: list[Tensor] = []
        targets: list[Tensor] = []
        groups = len(memory[-1][0].members)

        def add(block: Tensor, target: Tensor, weight: float) -> None:
            root = math.sqrt(weight)
            matrix.append(block * root)
            targets.append(target * root)

        weights = [_MEMORY**age for age in range(len(memory))][::-1]
        for (part, extent), weight in zip(memory, (w / sum(weights) for w in weights), strict=True):
            for odds, offset in zip(part.odds, part.odds_offset, strict=True):
                emphasis = self._emphasis(part.members @ (odds @ here + offset))
                averaged = part.members * emphasis[:, None].sqrt()
                add(averaged @ odds, -extent * (averaged @ offset), weight)
                if self.settings.item_weight > 0:
                    share = weight * self.settings.item_weight * groups / len(offset)
                    add(odds, -extent * offset, share)
            if len(part.secant):
                add(part.secant, torch.zeros(1), _SECANT_PRICE * kl_price * groups)
            for held, target, price in (
                (part.clear, self._rise(part.clear_offset), _CLEAR_PRICE * clear_price),
                (part.mass, torch.zeros(len(part.mass)), self.settings.mass_weight),
            ):
                if len(held):
                    add(held, target, weight * price * groups / len(held))
        add(text, torch.zeros(len(text)), _TEXT_PRICE * kl_price * groups)
        add(observed[None], torch.zeros(1), _PERPLEXITY_PRICE * groups)
        price = _KL_PRICE * kl_price
        trust = _TRUST if bool(here.any()) else 0.0
        metric = groups * (price + trust) * diagonal
        return Subproblem(torch.cat(matrix), torch.cat(targets), metric, here * (trust / (price + trust)))

    def _rise(self, margins: Tensor) -> Tensor:
        """By how much log-odds of right answers [m] should rise: to those of ``confidence``, where they are below."""
        confidence = self.settings.confidence
        if not confidence:
            return torch.zeros_like(margins)
        return (math.log(confidence / (1 - confidence)) - margins).clamp(min=0.0)

    def _emphasis(self, odds: Tensor) -> Tensor:
        """Weights [groups] that turn squares into the chosen objective near these log-odds.

        |g| ≤ g²/(2|g₀|) + |g₀|/2 with equality at g₀: minimising the weighted square again and again minimises the
        paper's −E[r] = |P(pro) − P(anti)|, whatever sign each group has at the moment.
        """
        if self.settings.objective == "smooth":
            return torch.ones(len(odds))
        gap = torch.tanh(odds / 2).abs()
        return 1 / gap.clamp(min=0.05) * gap.mean().clamp(min=0.05)


def _divide(
    loaded: LoadedModel, text: Sequence[str], settings: DsoSettings, seed: int
) -> tuple[Tensor, Tensor]:
    """Passages to validate on, [n, T], and pieces of the others for the metric, [m, passage_tokens].

    Many short pieces say more about the metric than few long ones at the same cost; but what is measured in the end
    is the divergence in longer contexts, so validation passages have several pieces' length where the text allows.
    """
    length = settings.passage_tokens
    try:
        passages = encode_passages(loaded, text, length=_PIECES * length, all_windows=True)
    except InputError:
        passages = encode_passages(loaded, text, length=length, all_windows=True)
    passages = passages[torch.randperm(len(passages), generator=torch.Generator().manual_seed(seed))]
    held = min(_VALIDATION_PASSAGES, max(1, len(passages) // 4))
    rest = passages[held:] if len(passages) > 1 else passages
    pieces = rest.reshape(-1, length)
    drawn = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed))
    return passages[:held], pieces[drawn[: settings.passages]]


def _ascent(ratio: float) -> float:
    """One step of dual ascent on the logarithm of a price, bounded so that no single measurement decides.

    It rises faster than it falls: the way back from above the budget costs a step, the way up to it does not.
    """
    return math.exp(min(1.5, max(-0.25, 2 * (ratio - 1.0))))
