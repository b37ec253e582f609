"""Scoring: how probable closed answers and running text are, and seeded generation."""

from .answers import OptionScores, batch_logprobs, head_logprobs, next_states, run_backbone, score_options
from .batching import AnswerBatch, answer_batches, collate
from .encoding import EncodedItem, encode, encode_all, prompt_ids, prompt_inputs, text_ids
from .features import ImageFeatures, image_features
from .generation import BeforeStep, Step, generate, generate_ids, generate_seeing
from .layout import prompt_text
from .outcomes import by_outcome, decisions, responses
from .sight import Sight
from .text import TextReference, TextScores, encode_passages, score_text, text_reference

__all__ = [
    "AnswerBatch",
    "BeforeStep",
    "EncodedItem",
    "ImageFeatures",
    "OptionScores",
    "Sight",
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
    "generate_seeing",
    "head_logprobs",
    "image_features",
    "next_states",
    "prompt_ids",
    "prompt_inputs",
    "prompt_text",
    "responses",
    "run_backbone",
    "score_options",
    "score_text",
    "text_ids",
    "text_reference",
]
