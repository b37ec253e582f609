"""Scoring: how probable closed answers and running text are, and seeded generation."""

from .answers import OptionScores, batch_logprobs, head_logprobs, run_backbone, score_options
from .batching import AnswerBatch, answer_batches, collate
from .encoding import EncodedItem, encode, encode_all, prompt_ids, prompt_text, text_ids
from .generation import BeforeStep, Step, generate, generate_ids
from .outcomes import by_outcome, decisions, responses
from .text import TextReference, TextScores, encode_passages, score_text, text_reference

__all__ = [
    "AnswerBatch",
    "BeforeStep",
    "EncodedItem",
    "OptionScores",
    "Step",
    "TextReference",
    "TextScores",
    "answer_batches",
    "batch_logprobs",
    "by_outcome",
    "collate",
    "decisions",
    "encode",
    "encode_all",
    "encode_passages",
    "generate",
    "generate_ids",
    "head_logprobs",
    "prompt_ids",
    "prompt_text",
    "responses",
    "run_backbone",
    "score_options",
    "score_text",
    "text_ids",
    "text_reference",
]
