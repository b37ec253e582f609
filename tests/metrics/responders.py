"""Oracle responders: who answers how is known, so theory says what every metric must be."""

import numpy as np

from equipoise.metrics import UNANSWERED, Responses

OCCUPATIONS = tuple(f"occupation {i}" for i in range(12))
TEMPLATES = tuple(f"template {i}" for i in range(6))


def answering(shares, greedy, outcomes=("pro", "anti"), repeat=1):
    """Every occupation x template answered by the distribution ``shares`` [K] and the decision ``greedy``."""
    cells = [(o, t) for o in OCCUPATIONS for t in TEMPLATES for _ in range(repeat)]
    return Responses(
        np.tile(shares, (len(cells), 1)),
        outcomes,
        np.full(len(cells), greedy),
        [(occupation,) for occupation, _ in cells],
        [template for _, template in cells],
    )


def always_stereotypical():
    return answering([1.0, 0.0], 0)


def always_anti():
    return answering([0.0, 1.0], 1)


def always_silent():
    return answering([0.0, 0.0], UNANSWERED)


def evenly_split():
    """The random responder, as probabilities."""
    return answering([0.5, 0.5], 0)


def coin_flips(seed=0, repeat=200):
    """The random responder, as decisions: one fair coin an item."""
    cells = [(o, t) for o in OCCUPATIONS for t in TEMPLATES for _ in range(repeat)]
    heads = np.random.default_rng(seed).integers(0, 2, len(cells))
    return Responses(
        np.eye(2)[heads],
        ("pro", "anti"),
        heads,
        [(o,) for o, _ in cells],
        [template for _, template in cells],
    )


def planted(generator, biases, *, templates=10, template_sd=0.05, cell_sd=0.1, item_sd=0.05, repeat=2):
    """Answers whose signed difference is the occupation's planted bias plus template, cell and item noise."""
    count = len(biases)
    signed = (
        np.asarray(biases)[:, None, None]
        + template_sd * generator.standard_normal((1, templates, 1))
        + cell_sd * generator.standard_normal((count, templates, 1))
        + item_sd * generator.standard_normal((count, templates, repeat))
    ).clip(-1, 1)
    names = [((f"o{o}",), f"t{t}") for o in range(count) for t in range(templates) for _ in range(repeat)]
    flat = signed.reshape(-1)
    return Responses(
        np.stack([(1 + flat) / 2, (1 - flat) / 2], axis=1),
        ("pro", "anti"),
        (flat < 0).astype(int),
        [groups for groups, _ in names],
        [template for _, template in names],
    )
