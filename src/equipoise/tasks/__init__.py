"""Data turned into items: a prompt, its answer options, groups, and what each option would say about them."""

from .item import Item, Message, Part, Prompt
from .occupations import Occupation, occupations
from .pronouns import Pronouns
from .task import Split, Task

__all__ = ["Item", "Message", "Occupation", "Part", "Prompt", "Pronouns", "Split", "Task", "occupations"]
