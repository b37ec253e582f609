"""One category of bias: probes of every site, the detector, the steering vector, and what words alone would do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..analysis import (
    Detector,
    ProbeSettings,
    Reading,
    best_site,
    cross_validate,
    fit_linear,
    group_folds,
    held_out,
    judgements,
    probe_site,
)
from ..interventions import Intervention, Provenance
from ..methods.mean_difference import from_statements
from ..metrics import Bootstrap, Estimate, accuracy
from ..models import LoadedModel
from ..reports import CategoryProbes
from ..tasks import (
    Statement,
    statements_fingerprint,
)
from ..versions import versions

if TYPE_CHECKING:
    from numpy.typing import NDArray


HELD_OUT = 0.25


@dataclass(frozen=True, eq=False)
class Probing:
    """What all categories share."""

    loaded: LoadedModel
    states: Mapping[str, torch.Tensor]
    settings: ProbeSettings
    reading: Reading
    threshold: float
    steering: float
    seed: int
    level: float

    def category(
        self,
        category: str,
        statements: Sequence[Statement],
        rows: Sequence[Sequence[int]],
        place: Sequence[int],
    ) -> tuple[CategoryProbes, Detector, Intervention]:
        """Probes of all sites, the detector and the vector; ``place`` are the statements' rows in the states."""
        biased = np.array([one.label == "biased" for one in statements])
        groups = [one.group for one in statements]
        out = held_out(groups, HELD_OUT, self.seed)
        kept = [index for index in range(len(place)) if not out[index]]
        inside = [groups[index] for index in kept]

        def read(site: str) -> NDArray[np.float64]:
            return np.asarray(self.states[site][torch.tensor(place)].double().numpy())

        layers = tuple(
            probe_site(
                site, read(site)[~out], biased[~out], inside, self.settings, seed=self.seed, level=self.level
            )
            for site in self.states
        )
        best = best_site(layers).site
        residual = best_site([one for one in layers if one.site.endswith(".out")]).site
        linear = fit_linear(read(best)[~out], biased[~out], self.settings)
        origin = {"model": self.loaded.fingerprint, "seed": self.seed}
        data = f"sha256:{statements_fingerprint(statements[index] for index in kept)}"
        config = {"category": category, **vars(self.settings), "groups": len(set(inside))}
        detector = Detector(
            category,
            best,
            torch.from_numpy(linear.weight),
            linear.bias,
            self.threshold,
            self.reading,
            Provenance("probe", config, data=data, versions=versions(), **origin),  # type: ignore[arg-type]
        )
        vector = from_statements(
            self.loaded,
            [rows[index] for index in kept if not biased[index]],
            [rows[index] for index in kept if biased[index]],
            residual,
            strength=self.steering,
            config={"category": category, "groups": len(set(inside))},
            data=data,
            seed=self.seed,
        )
        words = word_indicators([one.text for one in statements])
        outside = [group for group, away in zip(groups, out, strict=True) if away]
        entry = CategoryProbes(
            category=category,
            groups=len(set(inside)),
            heldout_groups=len(set(outside)),
            layers=layers,
            words=self._estimate(
                cross_validate(
                    words[~out],
                    biased[~out],
                    group_folds(inside, self.settings.folds, self.seed),
                    self.settings,
                ),
                biased[~out],
                inside,
            ),
            best=best,
            heldout=self._estimate(
                linear.logits(read(best)[out]) - _logit(self.threshold), biased[out], outside
            ),
            heldout_words=self._estimate(
                fit_linear(words[~out], biased[~out], self.settings).logits(words[out]), biased[out], outside
            ),
            steered=residual,
            norm=float(vector.provenance.config["typical_norm"]),
        )
        return entry, detector, vector

    def _estimate(
        self, logits: NDArray[np.float64], biased: NDArray[np.bool_], groups: Sequence[str]
    ) -> Estimate:
        right = judgements((logits > 0) == biased, groups)
        return Bootstrap.over(right, seed=self.seed, level=self.level).estimate(accuracy, right)


def word_indicators(texts: Sequence[str]) -> NDArray[np.float64]:
    """[n, words] 1 where a text has a word: what a classifier without a model would look at."""
    split = [set(re.findall(r"[\w']+", text.lower())) for text in texts]
    words = sorted(set().union(*split))
    return np.array([[float(word in one) for word in words] for one in split])


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
