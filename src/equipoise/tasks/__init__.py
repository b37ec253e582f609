"""Data turned into items: a prompt, its answer options, groups, and what each option would say about them."""

from .associations import Association, association_names, entity_names, load_association
from .bbq import BBQ
from .bold import BOLD
from .choices import Choices
from .coreference import Coreference
from .crows_pairs import CrowsPairs
from .culture import DIMENSIONS, Annotations, load_annotations
from .differences import Differences
from .fingerprint import fingerprint
from .free_choices import SILENT, UNCLEAR, free_items, meaning, said_words
from .image import PLACEHOLDER, ImageSource, Picture, picture, pictures
from .intersections import People
from .item import Item, Message, Part, Prompt, placeholders, target_shares
from .multiple_choice import ARC, MMLU, PIQA, MultipleChoice
from .occupation_pairs import OccupationPairs
from .occupations import Occupation, occupations
from .people import Twins, load_people, twins
from .plain_text import TextPart, load_text, plain_text
from .portrait import Portrait
from .prompts import FreeTextItem, PromptSplit, PromptTask, Toxicity
from .pronouns import LabourPronouns, Pronouns
from .questions import OpenQuestion, load_questions
from .registry import load_any_task, load_prompt_task, load_subject, load_task, suite_names, task_names
from .statements import Statement, categories_of, check_statements, load_statements, statements_fingerprint
from .stereoset import StereoSet
from .suite import (
    ALL,
    ClosedSuite,
    Document,
    Evidence,
    FreeSuite,
    Reading,
    Readings,
    Suite,
    TextSuite,
    axes_in,
    axis_of,
)
from .synthbias import SynthBias
from .task import Split, Task, blocks, limited, set_aside
from .things import Things
from .whole import Whole
from .wikitext import WikiText
from .winobias import WinoBias
from .winogender import WinoGender

__all__ = [
    "ALL",
    "ARC",
    "BBQ",
    "BOLD",
    "DIMENSIONS",
    "MMLU",
    "PIQA",
    "PLACEHOLDER",
    "SILENT",
    "UNCLEAR",
    "Annotations",
    "Association",
    "Choices",
    "ClosedSuite",
    "Coreference",
    "CrowsPairs",
    "Differences",
    "Document",
    "Evidence",
    "FreeSuite",
    "FreeTextItem",
    "ImageSource",
    "Item",
    "LabourPronouns",
    "Message",
    "MultipleChoice",
    "Occupation",
    "OccupationPairs",
    "OpenQuestion",
    "Part",
    "People",
    "Picture",
    "Portrait",
    "Prompt",
    "PromptSplit",
    "PromptTask",
    "Pronouns",
    "Reading",
    "Readings",
    "Split",
    "Statement",
    "StereoSet",
    "Suite",
    "SynthBias",
    "Task",
    "TextPart",
    "TextSuite",
    "Things",
    "Toxicity",
    "Twins",
    "Whole",
    "WikiText",
    "WinoBias",
    "WinoGender",
    "association_names",
    "axes_in",
    "axis_of",
    "blocks",
    "categories_of",
    "check_statements",
    "entity_names",
    "fingerprint",
    "free_items",
    "limited",
    "load_annotations",
    "load_any_task",
    "load_association",
    "load_people",
    "load_prompt_task",
    "load_questions",
    "load_statements",
    "load_subject",
    "load_task",
    "load_text",
    "meaning",
    "occupations",
    "picture",
    "pictures",
    "placeholders",
    "plain_text",
    "said_words",
    "set_aside",
    "statements_fingerprint",
    "suite_names",
    "target_shares",
    "task_names",
    "twins",
]
