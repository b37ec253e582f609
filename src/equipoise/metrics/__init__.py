"""Numbers from scores: bias, accuracy, text capability, their intervals, and the strength to recommend. NumPy alone."""

from .accuracy import accuracy, best_baseline
from .agreement import jaccard, krippendorff_alpha, nominal
from .bias import (
    abstention_rate,
    bias_towards,
    greedy_abstention_rate,
    greedy_bias_towards,
    greedy_per_occupation_bias,
    greedy_stereotype_gap,
    per_group_bias,
    per_occupation_bias,
    stereotype_gap,
)
from .choices import FAIR, ChoiceScores, attribute_kl, choice_scores, degenerate, fairness, has_fair_class
from .clusters import Sample, Statistic, TooFewClusters
from .intervals import Bootstrap, Estimate
from .operating_point import Budgets, OperatingPoint, Recommendation, recommend
from .responses import UNANSWERED, Judgements, Responses
from .shares import Shares, mean_share
from .text import Texts, kl_to_base, perplexity
from .vqa import vqa_accuracy, vqa_answer
from .within_budget import Candidate, best_within, crossing, vertex

__all__ = [
    "FAIR",
    "UNANSWERED",
    "Bootstrap",
    "Budgets",
    "Candidate",
    "ChoiceScores",
    "Estimate",
    "Judgements",
    "OperatingPoint",
    "Recommendation",
    "Responses",
    "Sample",
    "Shares",
    "Statistic",
    "Texts",
    "TooFewClusters",
    "abstention_rate",
    "accuracy",
    "attribute_kl",
    "best_baseline",
    "best_within",
    "bias_towards",
    "choice_scores",
    "crossing",
    "degenerate",
    "fairness",
    "greedy_abstention_rate",
    "greedy_bias_towards",
    "greedy_per_occupation_bias",
    "greedy_stereotype_gap",
    "has_fair_class",
    "jaccard",
    "kl_to_base",
    "krippendorff_alpha",
    "mean_share",
    "nominal",
    "per_group_bias",
    "per_occupation_bias",
    "perplexity",
    "recommend",
    "stereotype_gap",
    "vertex",
    "vqa_accuracy",
    "vqa_answer",
]
