"""Data turned into items: a prompt, its answer options, groups, and what each option would say about them."""

from .choices import Choices
from .coreference import Coreference
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
from .registry import load_any_task, load_prompt_task, load_task, task_names
from .synthbias import SynthBias
from .task import Split, Task, blocks
from .winobias import WinoBias
from .winogender import WinoGender

__all__ = [
    "PLACEHOLDER",
    "Choices",
    "Coreference",
    "FreeTextItem",
    "ImageSource",
    "Item",
    "Message",
    "Occupation",
    "OccupationPairs",
    "Part",
    "Picture",
    "Portrait",
    "Prompt",
    "PromptSplit",
    "PromptTask",
    "Pronouns",
    "Split",
    "SynthBias",
    "Task",
    "TextPart",
    "Toxicity",
    "Twins",
    "WinoBias",
    "WinoGender",
    "blocks",
    "fingerprint",
    "load_any_task",
    "load_people",
    "load_prompt_task",
    "load_task",
    "load_text",
    "occupations",
    "picture",
    "pictures",
    "placeholders",
    "plain_text",
    "task_names",
    "twins",
]
