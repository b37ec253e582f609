"""Prompts and closed answers as tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..models import LoadedModel
from ..tasks import Item, Picture, Prompt
from .layout import Source, marked_text, prompt_text, tokenizer_of
from .readable import refuse_unreadable
from .sight import Sight, look, opens_itself

# How many of a prompt's last tokens are read again as text, to see what follows them.
_TAIL = 8


@dataclass(frozen=True)
class EncodedItem:
    """Token ids of a prompt and of what each option adds to it (one or more tokens each), and what images add."""

    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    sight: Sight | None = None

    @property
    def single(self) -> bool:
        """Whether one token tells all options apart from each other and from everything else."""
        return all(len(option) == 1 for option in self.options)

    def read(self) -> list[tuple[int, ...]]:
        """What is read for each option: prompt and answer, of which the last token is only predicted.

        None for prompts with images, which are the processor's affair.
        """
        return [] if self.sight is not None else [self.prompt + option[:-1] for option in self.options]

    def said(self, option: int) -> "EncodedItem":
        """The statement that prompt and option make together, as a prompt of its own, to be read at its last token."""
        more = self.options[option]
        sight = None if self.sight is None else self.sight.continued(len(more))
        return EncodedItem(self.prompt + more, ((0,),), sight)


def prompt_ids(source: Source, prompt: Prompt) -> list[int]:
    """Token ids of a prompt: with the tokenizer's opening token for text, as laid out for chats.

    A vision-language model's chats get the opening token too where their template doesn't write it, as its processor
    does it.
    """
    tokenizer = tokenizer_of(source)
    text = prompt_text(source, prompt)
    return _opening_of(source, prompt, text) + plain_ids(tokenizer, text)


def prompt_inputs(
    loaded: LoadedModel, prompt: Prompt, images: Sequence[Picture]
) -> tuple[list[int], Sight | None]:
    """Token ids of a prompt, and what its images add; None if it has none."""
    if not images:
        return prompt_ids(loaded, prompt), None
    return look(loaded, marked_text(loaded, prompt), images)


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of running text, with the tokenizer's opening token if it has one."""
    return opening_ids(tokenizer) + plain_ids(tokenizer, text)


def encode(source: Source, item: Item) -> EncodedItem:
    """Encode one item, for a loaded model (or by a tokenizer, if the item has no images).

    Prompt and option are tokenised together, as they would stand in a text, and then parted where the
    options begin to differ from the prompt: a token that straddles the border belongs to the option. Where one
    option's tokens begin another's, all of the item's options are closed with ``item.terminator`` (default: the
    model's end-of-text token for chats, a full stop for text).

    A vision-language model's chat template that leaves off at a word ("ASSISTANT:") gets a space before the option.

    Raises InputError, naming item and option, if an option adds no token, or two add the same; naming the image, if
    it can't be read; and if the item has images that the model doesn't take.
    """
    tokenizer = tokenizer_of(source)
    part = _seen(source, item) if item.images else _read(source, item)
    encoded = part(item.options)
    _refuse_indistinct(item, encoded)
    if _nested(encoded.options):
        if item.terminator is None and not isinstance(item.prompt, str):
            if tokenizer.eos_token_id is None:
                raise InputError(
                    f"item {item.id!r}: one option begins another and this tokenizer has no end-of-text token: "
                    "set the item's terminator"
                )
            closed = tuple((*option, int(tokenizer.eos_token_id)) for option in encoded.options)
            return EncodedItem(encoded.prompt, closed, encoded.sight)
        ending = item.terminator or "."
        encoded = part([o + ending for o in item.options])
        _refuse_indistinct(item, encoded)
        if _nested(encoded.options):
            raise InputError(
                f"item {item.id!r}: one option begins another and the terminator {ending!r} doesn't part them: "
                "set the item's terminator to something that can't continue an option"
            )
    return encoded


def encode_all(source: Source, items: Sequence[Item]) -> list[EncodedItem]:
    """:func:`encode` for each item.

    Raises InputError too, naming the item, for one that the loaded model can't read: longer than its positions reach.
    """
    found = [encode(source, item) for item in items]
    if isinstance(source, LoadedModel):
        names, texts = [], []
        for item, encoded in zip(items, found, strict=True):
            for ids in encoded.read():
                names.append(f"item {item.id!r}")
                texts.append(ids)
        refuse_unreadable(source, texts, what=names)
    return found


_Part = Callable[[Sequence[str]], EncodedItem]


def _read(source: Source, item: Item) -> _Part:
    """Parts prompt and options of an item without images."""
    tokenizer, text = tokenizer_of(source), prompt_text(source, item.prompt)
    opening = _opening_of(source, item.prompt, text)
    if not opening and item.prompt == "":
        opening = document_start(tokenizer)
    spaced = _wants_space(source, item.prompt, text)

    def part(options: Sequence[str]) -> EncodedItem:
        options = _spaced(options) if spaced else options
        return _part(
            opening + plain_ids(tokenizer, text), [opening + plain_ids(tokenizer, text + o) for o in options]
        )

    return part


def _seen(source: Source, item: Item) -> _Part:
    """Parts prompt and options of an item with images.

    The processor lays out the prompt alone, and what the options do to the prompt's last tokens is seen on the text.
    Where the processor ends a prompt in its own way (PaliGemma), on those last tokens read as text.
    """
    if not isinstance(source, LoadedModel):
        raise InputError(f"item {item.id!r} has images: encode it for a loaded model, not by a tokenizer")
    tokenizer = source.tokenizer
    try:
        text = marked_text(source, item.prompt)
        ids, sight = look(source, text, item.images)
    except InputError as error:
        raise InputError(f"item {item.id!r}: {error}") from error
    plain = plain_ids(tokenizer, text)
    same = next((n for n in range(len(plain)) if n == len(ids) or plain[-1 - n] != ids[-1 - n]), len(plain))

    spaced = _wants_space(source, item.prompt, text)

    def part(options: Sequence[str]) -> EncodedItem:
        options = _spaced(options) if spaced else options
        parted = _part(plain, [plain_ids(tokenizer, text + o) for o in options])
        dropped = len(plain) - len(parted.prompt)
        if dropped < same:
            kept = len(ids) - dropped
            return EncodedItem(tuple(ids[:kept]), parted.options, sight.cut(kept))
        special = set(tokenizer.all_special_ids)
        tail = ids[-_TAIL:]
        while tail and special & set(tail):
            tail = tail[1:]
        words = str(tokenizer.decode(tail))
        if not tail or plain_ids(tokenizer, words) != tail:
            return EncodedItem(tuple(ids), tuple(tuple(plain_ids(tokenizer, o)) for o in options), sight)
        parted = _part(tail, [plain_ids(tokenizer, words + o) for o in options])
        kept = len(ids) - (len(tail) - len(parted.prompt))
        return EncodedItem(tuple(ids[:kept]), parted.options, sight.cut(kept))

    return part


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


def _wants_space(source: Source, prompt: Prompt, text: str) -> bool:
    """Whether a model's chat template leaves off at a word or a colon ("ASSISTANT:", "[/INST]").

    Then the space before the answer belongs to the answer; after a special token or a line's end there is none. Items
    can't know which, so their options come without.
    """
    if isinstance(prompt, str):
        return False
    tokenizer = tokenizer_of(source)
    last = plain_ids(tokenizer, text)[-1:]
    return not text[-1:].isspace() and not set(last) & set(getattr(tokenizer, "added_tokens_decoder", ()))


def _spaced(options: Sequence[str]) -> list[str]:
    return [option if option[:1].isspace() else f" {option}" for option in options]


def _opening_of(source: Source, prompt: Prompt, text: str) -> list[int]:
    tokenizer = tokenizer_of(source)
    if isinstance(prompt, str):
        return opening_ids(tokenizer)
    seeing = isinstance(source, LoadedModel) and source.processor is not None
    return opening_ids(tokenizer) if seeing and not opens_itself(tokenizer, text) else []


def opening_ids(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before running text, if it has one."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is None:
        return []
    ids = list(tokenizer("a")["input_ids"])
    return [bos] if ids and ids[0] == bos else []


def document_start(tokenizer: Any) -> list[int]:
    """The token after which running text begins, where all of it is to be scored.

    The tokenizer's beginning-of-text token, or without one the end of the text before, as in ``lm_eval``.
    """
    found = getattr(tokenizer, "bos_token_id", None)
    found = getattr(tokenizer, "eos_token_id", None) if found is None else found
    return [] if found is None else [int(found)]
