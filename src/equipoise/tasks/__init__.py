"""Data turned into items: a prompt, its answer options, groups, and what each option would say about them."""

from .associations import Association, association_names, entity_names, load_association
from .choices import Choices
from .coreference import Coreference
from .culture import DIMENSIONS, Annotations, load_annotations
from .fingerprint import fingerprint
from .image import PLACEHOLDER, ImageSource, Picture, picture, pictures
from .item import Item, Message, Part, Prompt, placeholders
from .occupation_pairs import OccupationPairs
from .occupations import Occupation, occupations
from .people import Twins, load_people, twins
from .plain_text import TextPart, load_text, plain_text
from .portrait import Portrait
from .prompts import FreeTextItem, PromptSplit, PromptTask, Toxicity
from .pronouns import Pronouns
from .questions import OpenQuestion, load_questions
from .registry import load_any_task, load_prompt_task, load_task, task_names
from .statements import Statement, categories_of, check_statements, load_statements, statements_fingerprint
from .synthbias import SynthBias
from .task import Split, Task, blocks
from .winobias import WinoBias
from .winogender import WinoGender

__all__ = [
    "DIMENSIONS",
    "PLACEHOLDER",
    "Annotations",
    "Association",
    "Choices",
    "Coreference",
    "FreeTextItem",
    "ImageSource",
    "Item",
    "Message",
    "Occupation",
    "OccupationPairs",
    "OpenQuestion",
    "Part",
    "Picture",
    "Portrait",
    "Prompt",
    "PromptSplit",
    "PromptTask",
    "Pronouns",
    "Split",
    "Statement",
    "SynthBias",
    "Task",
    "TextPart",
    "Toxicity",
    "Twins",
    "WinoBias",
    "WinoGender",
    "association_names",
    "blocks",
    "categories_of",
    "check_statements",
    "entity_names",
    "fingerprint",
    "load_annotations",
    "load_any_task",
    "load_association",
    "load_people",
    "load_prompt_task",
    "load_questions",
    "load_statements",
    "load_task",
    "load_text",
    "occupations",
    "picture",
    "pictures",
    "placeholders",
    "plain_text",
    "statements_fingerprint",
    "task_names",
    "twins",
]
