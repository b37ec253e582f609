"""Linear probes of activations: what is fitted, how it is cross-validated, and how the layers compare.

After Dubey (arXiv 2508.09019): standardise, PCA, logistic regression on last-token activations of biased and neutral
statements. What is different: everything that looks at data is fitted inside each fold, the statements of a group stay
together, and shuffled labels go through the same procedure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ..errors import InputError
from ..metrics import Bootstrap, Estimate, Judgements, accuracy

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is fitted.

    Attributes:
        components: most principal components that the classifier sees.
        penalty: L2 penalty of the logistic regression: sklearn's C is 1 / penalty.
        folds: of the cross-validation.
        shuffles: how many times labels are shuffled for the control; 0 for no control.
    """

    components: int = 128
    penalty: float = 100.0
    folds: int = 5
    shuffles: int = 3

    def __post_init__(self) -> None:
        for name, least in (("components", 1), ("folds", 2), ("shuffles", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least {least}")
        if not 0 < self.penalty < float("inf"):
            raise InputError(f"the penalty is {self.penalty:g}, but must be above 0")


@dataclass(frozen=True, eq=False)
class Linear:
    """A logistic probe as one vector: P(biased) = σ(wᵀx + c), w [d], c a number."""

    weight: Floats
    bias: float

    def logits(self, x: Floats) -> Floats:
        """wᵀx + c for activations [n, d]."""
        return np.asarray(x @ self.weight + self.bias)


def fit_linear(x: Floats, biased: Flags, settings: ProbeSettings) -> Linear:
    """Standardise, project on the strongest principal components, fit a logistic regression, fold all into one vector.

    Args:
        x: activations [n, d].
        biased: labels [n].
        settings: see :class:`ProbeSettings`.

    Raises :class:`InputError` unless both labels occur, or for values that are not finite.
    """
    if len(set(biased.tolist())) < 2:
        raise InputError("a probe needs biased and neutral statements: give it both")
    if not np.isfinite(x).all():
        raise InputError("activations are not finite (NaN or infinite): load the model as float32")
    mean, spread = x.mean(0), x.std(0)
    # A feature that never moves says nothing; dividing by its rounding error would make it shout.
    scale = np.where(spread > 1e-6 * np.abs(x).max(initial=0), 1 / np.where(spread == 0, 1, spread), 0.0)
    axes = _principal_axes((x - mean) * scale, settings.components)
    model = LogisticRegression(C=1 / settings.penalty, max_iter=1000, tol=1e-6)
    model.fit(((x - mean) * scale) @ axes, biased)
    weight = scale * (axes @ model.coef_[0])
    return Linear(weight, float(model.intercept_[0] - mean @ weight))


def _principal_axes(z: Floats, most: int) -> Floats:
    """Unit columns [d, k] along the k ≤ ``most`` strongest directions of centred rows [n, d]."""
    if z.shape[0] < z.shape[1]:  # the Gram matrix has the same spectrum and is smaller
        values, left = np.linalg.eigh(z @ z.T)
        kept = _strongest(values, most)
        return np.asarray(z.T @ (left[:, kept] / np.sqrt(values[kept])))
    values, axes = np.linalg.eigh(z.T @ z)
    return np.asarray(axes[:, _strongest(values, most)])


def _strongest(values: Floats, most: int) -> Integers:
    """Indices of the largest of ascending ``values``, without those that are rounding."""
    kept = np.arange(len(values))[::-1][:most]
    return np.asarray(kept[values[kept] > 1e-9 * max(values[-1], 1e-300)])


def group_folds(groups: Sequence[str], folds: int, seed: int) -> Integers:
    """The fold [n] of every statement, from 0; those of a group share one, and folds differ by one group at most.

    Raises :class:`InputError` if there are fewer groups than folds.
    """
    names = sorted(set(groups))
    if len(names) < folds:
        raise InputError(f"{len(names)} groups can't be cut into {folds} folds: take fewer folds")
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: number % folds for number, place in enumerate(order)}
    return np.array([fold_of[group] for group in groups])


def held_out(groups: Sequence[str], share: float, seed: int) -> Flags:
    """Which statements [n] are held out: those of round(share · number of groups) groups."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[place] for place in order[: round(share * len(names))]}
    return np.array([group in chosen for group in groups])


def cross_validate(
    x: Floats, biased: Flags, folds: Integers, settings: ProbeSettings, *, truth: Flags | None = None
) -> Floats:
    """Out-of-fold logits [n]: each statement judged by a probe that never saw its fold, in no step.

    ``truth``: labels [n] to fit instead of ``biased`` (those of the shuffled control).
    """
    labels = biased if truth is None else truth
    logits = np.zeros(len(x))
    for fold in np.unique(folds):
        out = folds == fold
        logits[out] = fit_linear(x[~out], labels[~out], settings).logits(x[out])
    return logits


def shuffled(biased: Flags, groups: Sequence[str], seed: int) -> Flags:
    """Labels [n] shuffled within each group: the groups stay as balanced as they are, the meaning is gone."""
    generator = np.random.default_rng(seed)
    found = biased.copy()
    for name in sorted(set(groups)):
        rows = np.flatnonzero(np.array([group == name for group in groups]))
        found[rows] = found[generator.permutation(rows)]
    return found


@dataclass(frozen=True)
class LayerProbe:
    """What cross-validation says about one site.

    Attributes:
        site: its name.
        accuracy: share of statements judged right out of fold; the interval resamples whole groups.
        control: the same with shuffled labels, the mean over shuffles; None without a control.
        above_control: accuracy minus control, paired; None without a control.
        loss: mean out-of-fold cross-entropy, nats: what breaks ties between sites.
    """

    site: str
    accuracy: Estimate
    control: Estimate | None
    above_control: Estimate | None
    loss: float


def probe_site(
    site: str,
    x: Floats,
    biased: Flags,
    groups: Sequence[str],
    settings: ProbeSettings,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> LayerProbe:
    """Cross-validate a probe on activations [n, d] of one site.

    The folds and the shuffled labels depend on ``seed`` and ``groups`` alone, so sites are compared on the same ones.
    """
    folds = group_folds(groups, settings.folds, seed)
    logits = cross_validate(x, biased, folds, settings)
    right = judgements((logits > 0) == biased, groups)
    bootstrap = Bootstrap.over(right, seed=seed, level=level)
    control = above = None
    if settings.shuffles:
        hits = np.zeros(len(x))
        for number in range(settings.shuffles):
            labels = shuffled(biased, groups, seed * 1009 + number)
            hits += (cross_validate(x, biased, folds, settings, truth=labels) > 0) == labels
        chance = judgements(hits / settings.shuffles, groups)
        control = bootstrap.estimate(accuracy, chance)
        above = bootstrap.difference(accuracy, right, chance)
    loss = float(np.logaddexp(0, np.where(biased, -logits, logits)).mean())
    return LayerProbe(site, bootstrap.estimate(accuracy, right), control, above, loss)


def judgements(right: Flags | Floats, groups: Sequence[str]) -> Judgements:
    """Right and wrong [n] with groups as the only clusters."""
    return Judgements(right.astype(float), [(group,) for group in groups], ())


def best_site(probes: Sequence[LayerProbe]) -> LayerProbe:
    """The site with the highest accuracy; of equally accurate ones that with the smallest loss."""
    if not probes:
        raise InputError("there is no site to choose from: give at least one")
    return min(probes, key=lambda one: (-one.accuracy.value, one.loss))
