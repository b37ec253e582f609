"""Prompts and closed answers as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..tasks import Item, Prompt


@dataclass(frozen=True)
class EncodedItem:
    """Token ids of a prompt and of what each option adds to it (one or more tokens each)."""

    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]

    @property
    def single(self) -> bool:
        """Whether one token tells all options apart from each other and from everything else."""
        return all(len(option) == 1 for option in self.options)


def prompt_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt as the model reads it: chat turns laid out by the model's own template, text as it is.

    Raises InputError if the prompt is a chat and the tokenizer has no chat template.
    """
    if isinstance(prompt, str):
        return prompt
    if getattr(tokenizer, "chat_template", None) is None:
        raise InputError(
            "the prompt is a chat and this model's tokenizer has no chat template: "
            "set tokenizer.chat_template, or use a task of plain text"
        )
    turns = [dict(turn) for turn in prompt]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt: with the tokenizer's opening token for text, as laid out for chats."""
    text = prompt_text(tokenizer, prompt)
    ids = plain_ids(tokenizer, text)
    return opening_ids(tokenizer) + ids if isinstance(prompt, str) else ids


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of running text, with the tokenizer's opening token if it has one."""
    return opening_ids(tokenizer) + plain_ids(tokenizer, text)


def encode(tokenizer: Any, item: Item) -> EncodedItem:
    """Encode one item.

    Prompt and option are tokenised together, as they would stand in a text, and then parted where the
    options begin to differ from the prompt: a token that straddles the border belongs to the option. Where one
    option's tokens begin another's, all of the item's options are closed with ``item.terminator`` (default: the
    model's end-of-text token for chats, a full stop for text).

    Raises InputError, naming item and option, if an option adds no token, or two add the same.
    """
    text = prompt_text(tokenizer, item.prompt)
    opening = opening_ids(tokenizer) if isinstance(item.prompt, str) else []
    encoded = _part(
        opening + plain_ids(tokenizer, text), [opening + plain_ids(tokenizer, text + o) for o in item.options]
    )
    _refuse_indistinct(item, encoded)
    if _nested(encoded.options):
        if item.terminator is None and not isinstance(item.prompt, str):
            if tokenizer.eos_token_id is None:
                raise InputError(
                    f"item {item.id!r}: one option begins another and this tokenizer has no end-of-text token: "
                    "set the item's terminator"
                )
            closed = tuple((*option, int(tokenizer.eos_token_id)) for option in encoded.options)
            return EncodedItem(encoded.prompt, closed)
        ending = item.terminator or "."
        encoded = _part(
            opening + plain_ids(tokenizer, text),
            [opening + plain_ids(tokenizer, text + o + ending) for o in item.options],
        )
        _refuse_indistinct(item, encoded)
        if _nested(encoded.options):
            raise InputError(
                f"item {item.id!r}: one option begins another and the terminator {ending!r} doesn't part them: "
                "set the item's terminator to something that can't continue an option"
            )
    return encoded


def encode_all(tokenizer: Any, items: Sequence[Item]) -> list[EncodedItem]:
    """:func:`encode` for each item."""
    return [encode(tokenizer, item) for item in items]


def _part(prompt: list[int], whole: list[list[int]]) -> EncodedItem:
    shared = 0
    for column in zip(prompt, *whole, strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    # The first scored token needs a state to be read from, so a prompt keeps at least one token.
    return EncodedItem(tuple(prompt[:shared]), tuple(tuple(ids[shared:]) for ids in whole))


def _refuse_indistinct(item: Item, encoded: EncodedItem) -> None:
    if not encoded.prompt:
        raise InputError(
            f"item {item.id!r}: the prompt has no token that stays the same before every option: "
            "give it at least one more word"
        )
    seen: dict[tuple[int, ...], str] = {}
    for text, ids in zip(item.options, encoded.options, strict=True):
        if not ids:
            raise InputError(f"item {item.id!r}: the option {text!r} tokenises to nothing: give it a token")
        if ids in seen:
            raise InputError(
                f"item {item.id!r}: the options {seen[ids]!r} and {text!r} tokenise to exactly the same: "
                "make them differ"
            )
        seen[ids] = text


def _nested(options: Sequence[tuple[int, ...]]) -> bool:
    return any(a != b and b[: len(a)] == a for a in options for b in options)


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text without anything that the tokenizer adds."""
    # Chat templates write special tokens as text; a text's own mention of one is rare and means the same.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def opening_ids(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before running text, if it has one."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is None:
        return []
    ids = list(tokenizer("a")["input_ids"])
    return [bos] if ids and ids[0] == bos else []
