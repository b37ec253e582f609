"""Numbers from scores: bias, accuracy, text capability, their intervals, and the strength to recommend. NumPy alone."""

from .accuracy import accuracy, best_baseline
from .agreement import jaccard, krippendorff_alpha, nominal
from .bbq import bbq_accuracy_gap, bbq_ambiguous_bias, bbq_disambiguated_bias
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
from .coreference import anti_f1, f1_gap, pro_f1, share_correlation
from .guarantee import (
    KL_CAP,
    Guarantee,
    Risk,
    accuracy_risk,
    betting_p_value,
    bias_risk,
    kl_risk,
    learn_then_test,
)
from .intervals import Bootstrap, Estimate
from .many_tests import holm
from .operating_point import Budgets, OperatingPoint, Recommendation, recommend
from .repetition import repetition
from .responses import UNANSWERED, Judgements, Responses
from .shares import Shares, mean_share
from .stereotypes import preferred, stereoset_icat, stereoset_lms, stereoset_ss, stereotype_score
from .table import Table, mean_of
from .text import Texts, kl_to_base, perplexity
from .vqa import vqa_accuracy, vqa_answer
from .within_budget import Candidate, accuracy_drop, best_within, crossing, vertex

__all__ = [
    "FAIR",
    "KL_CAP",
    "UNANSWERED",
    "Bootstrap",
    "Budgets",
    "Candidate",
    "ChoiceScores",
    "Estimate",
    "Guarantee",
    "Judgements",
    "OperatingPoint",
    "Recommendation",
    "Responses",
    "Risk",
    "Sample",
    "Shares",
    "Statistic",
    "Table",
    "Texts",
    "TooFewClusters",
    "abstention_rate",
    "accuracy",
    "accuracy_drop",
    "accuracy_risk",
    "anti_f1",
    "attribute_kl",
    "bbq_accuracy_gap",
    "bbq_ambiguous_bias",
    "bbq_disambiguated_bias",
    "best_baseline",
    "best_within",
    "betting_p_value",
    "bias_risk",
    "bias_towards",
    "choice_scores",
    "crossing",
    "degenerate",
    "f1_gap",
    "fairness",
    "greedy_abstention_rate",
    "greedy_bias_towards",
    "greedy_per_occupation_bias",
    "greedy_stereotype_gap",
    "has_fair_class",
    "holm",
    "jaccard",
    "kl_risk",
    "kl_to_base",
    "krippendorff_alpha",
    "learn_then_test",
    "mean_of",
    "mean_share",
    "nominal",
    "per_group_bias",
    "per_occupation_bias",
    "perplexity",
    "preferred",
    "pro_f1",
    "recommend",
    "repetition",
    "share_correlation",
    "stereoset_icat",
    "stereoset_lms",
    "stereoset_ss",
    "stereotype_gap",
    "stereotype_score",
    "vertex",
    "vqa_accuracy",
    "vqa_answer",
]
