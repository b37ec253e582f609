"""How metrics are called and numbers are written, in tables, figures and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..metrics import Estimate
from .curves import TaskView
from .results import Results, Run

Kind = Literal["points", "percent", "nats", "plain"]


@dataclass(frozen=True)
class Metric:
    """A metric in words; ``kind`` says how its numbers are written."""

    key: str
    label: str
    short: str
    kind: Kind
    meaning: str = ""


METRICS = (
    Metric(
        "per_occupation_bias",
        "Bias",
        "bias",
        "points",
        "|P(pro) − P(anti)| of each occupation, averaged over occupations, from the answers' probabilities",
    ),
    Metric(
        "greedy_per_occupation_bias",
        "Bias of greedy answers",
        "greedy bias",
        "points",
        "the same, from the top answer",
    ),
    Metric(
        "stereotype_gap",
        "Stereotype gap",
        "gap",
        "points",
        "P(pro) − P(anti) over all items together; opposite leanings cancel",
    ),
    Metric(
        "greedy_stereotype_gap",
        "Gap of greedy answers",
        "greedy gap",
        "points",
        "the same, from the top answer",
    ),
    Metric(
        "fairness",
        "Answers in the fair class",
        "fair",
        "percent",
        "share of answers that there is no difference",
    ),
    Metric(
        "attribute_kl",
        "KL of the two values to one half each",
        "KL {½, ½}",
        "nats",
        "KL({p₁, p₂} ‖ {½, ½}) of the two values' probabilities, given either, mean over items",
    ),
    Metric(
        "unambiguous_accuracy",
        "Accuracy where one answer is right",
        "accuracy",
        "percent",
        "share of right answers where the text leaves only one",
    ),
    Metric(
        "trivial_accuracy",
        "Best trivial baseline",
        "trivial",
        "percent",
        "the accuracy that needs no understanding",
    ),
    Metric(
        "abstention_rate", "Abstention", "abstains", "percent", "probability that goes to none of the answers"
    ),
    Metric(
        "greedy_abstention_rate",
        "Greedy abstention",
        "greedy abst.",
        "percent",
        "share of items whose top continuation is none of the answers",
    ),
    Metric(
        "kl_to_base", "KL to the base model", "KL", "nats", "KL(steered ‖ base) on plain text, nats a token"
    ),
    Metric("perplexity", "Perplexity", "perplexity", "plain", "on plain text"),
    Metric(
        "perplexity_ratio",
        "Perplexity ratio",
        "ppl ratio",
        "nats",
        "perplexity over the base model's, paired",
    ),
)
_KNOWN = {known.key: known for known in METRICS}


def metric(key: str) -> Metric:
    """The metric of this key; an unknown one goes under its own name."""
    name = key.replace("_", " ")
    return _KNOWN.get(key) or Metric(key, name, name, "plain")


def metrics_in(runs: Iterable[Run]) -> tuple[Metric, ...]:
    """The metrics that at least one run measured: known ones in their order, then others under their own names."""
    measured = dict.fromkeys(
        name for run in runs for name, estimate in run.metrics.items() if is_known(estimate)
    )
    others = [metric(name) for name in measured if name not in _KNOWN]
    return (*(known for known in METRICS if known.key in measured), *others)


def units(metrics: Iterable[Metric]) -> str:
    """What the numbers of a table of ``metrics`` are in, as a sentence without its stop."""
    fair = any(one.key == "fairness" for one in metrics)
    return (
        "Bias in points, answers in the fair class, accuracy and abstention in %, KL in nats: of {½, ½} an answer, "
        "otherwise a token"
        if fair
        else "Bias and gap in points, accuracy and abstention in %, KL in nats a token"
    )


def is_known(estimate: Estimate | None) -> bool:
    """Whether there is a number."""
    return estimate is not None and not math.isnan(estimate.value)


def has_interval(estimate: Estimate) -> bool:
    """Whether both ends are known."""
    return not (math.isnan(estimate.low) or math.isnan(estimate.high))


def number(value: float, kind: Kind) -> str:
    """A number as it is written in tables: points and percents times 100."""
    if math.isnan(value):
        return "–"
    if kind in ("points", "percent"):
        return _signed(f"{100 * value:.1f}")
    if kind == "nats":
        return _signed(f"{value:.3f}")
    return _signed(f"{value:#.3g}" if 0.001 <= abs(value) < 100 else f"{value:.0f}")


def interval(estimate: Estimate, kind: Kind) -> str:
    """The interval in the same writing; empty if there is none."""
    if not has_interval(estimate):
        return ""
    return f"{number(estimate.low, kind)} to {number(estimate.high, kind)}"


def unit(kind: Kind) -> str:
    """What stands behind such a number."""
    return {"points": "points", "percent": "%", "nats": "", "plain": ""}[kind]


def strength(value: float | None) -> str:
    """λ as people write it."""
    return "–" if value is None else f"{value:g}"


def points(value: float) -> str:
    """A bias in points for a sentence, as exact as in tables: 31, 4.2."""
    return number(value, "points").removesuffix(".0")


def model_name(results: Results) -> str:
    """The model's name without the folder or organisation before it."""
    return str(results.model["name"]).rstrip("/").split("/")[-1]


def bias_of(run: Run | None) -> Estimate | None:
    """The primary metric of a run."""
    return None if run is None else run.metrics.get("per_occupation_bias")


def headline(results: Results, view: TaskView) -> str:
    """The result of one task in one plain sentence."""
    model, before = model_name(results), bias_of(view.base)
    if before is None or math.isnan(before.value):
        return f"{model} was not measured on {view.task} without a mitigation."
    size = points(before.value)
    start = f"{model} leans towards one answer by {size} point{'s' if size != '1' else ''}"
    several = len({run.task for run in results.runs if not run.extra.get("suite")}) > 1
    if several:
        start += f" on {view.task}"
    after = bias_of(view.chosen)
    if view.chosen is not None and view.chosen is not view.base and after is not None:
        setting = _setting(results, view.chosen)
        price = _price(view.chosen)
        return f"{start}; {setting}, by {points(after.value)}{price}."
    if not view.curves:
        return f"{start}."
    if view.chosen is view.base and view.base is not None:
        return f"{start}, and needs no intervention."
    if view.target is None:
        return f"{start}."
    # Another task, or the confidence that was asked for, may be what no strength satisfies.
    if (several or "guarantee" in results.extra) and _lowest(view) <= view.target:
        return f"{start}; no strength is recommended."
    return f"{start}; no strength brings that to {points(view.target)} within the budgets."


def _lowest(view: TaskView) -> float:
    found = [bias.value for _, run in view.runs if (bias := bias_of(run)) is not None and is_known(bias)]
    return min(found, default=math.inf)


def _setting(results: Results, run: Run) -> str:
    if run.strength is None:
        return f"with {run.mitigation}"
    lam = f"λ\u00a0=\u00a0{run.strength:g}"  # never broken over two lines
    several = len({other.mitigation for other in results.runs} - {None}) > 1
    return f"with {run.mitigation} at {lam}" if several else f"at {lam}"


def _price(run: Run) -> str:
    kl = run.metrics.get("kl_to_base")
    if kl is None or math.isnan(kl.value):
        return ""
    text = f"{kl.value:.2g}" if kl.value >= 0.0095 else f"{kl.value:.1g}"
    return f", for {text} nats a token"


def _signed(text: str) -> str:
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")
