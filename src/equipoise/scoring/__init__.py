"""Scoring: how probable closed answers and running text are, and seeded generation."""

from .answers import (
    OptionScores,
    batch_logprobs,
    head_logprobs,
    head_tokens,
    next_states,
    run_backbone,
    score_options,
)
from .batching import MAX_TOKENS, AnswerBatch, answer_batches, collate
from .cost import TokenCount, answer_tokens, distinct_prefixes, text_tokens
from .encoding import EncodedItem, encode, encode_all, plain_ids, prompt_ids, prompt_inputs, text_ids
from .features import ImageFeatures, image_features
from .first_word import first_words
from .generation import BeforeStep, Step, generate, generate_ids, generate_seeing
from .journal import Journal
from .layout import prompt_text
from .memory import Memory, memory
from .outcomes import by_outcome, decisions, responses
from .readable import refuse_unreadable
from .rolling import rolling_nll, window_length
from .sight import Sight
from .text import TextReference, TextScores, encode_passages, score_text, text_reference

__all__ = [
    "MAX_TOKENS",
    "AnswerBatch",
    "BeforeStep",
    "EncodedItem",
    "ImageFeatures",
    "Journal",
    "Memory",
    "OptionScores",
    "Sight",
    "Step",
    "TextReference",
    "TextScores",
    "TokenCount",
    "answer_batches",
    "answer_tokens",
    "batch_logprobs",
    "by_outcome",
    "collate",
    "decisions",
    "distinct_prefixes",
    "encode",
    "encode_all",
    "encode_passages",
    "first_words",
    "generate",
    "generate_ids",
    "generate_seeing",
    "head_logprobs",
    "head_tokens",
    "image_features",
    "memory",
    "next_states",
    "plain_ids",
    "prompt_ids",
    "prompt_inputs",
    "prompt_text",
    "refuse_unreadable",
    "responses",
    "rolling_nll",
    "run_backbone",
    "score_options",
    "score_text",
    "text_ids",
    "text_reference",
    "text_tokens",
    "window_length",
]
