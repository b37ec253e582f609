"""Prompts as text: chats by the model's own template, images where the processor wants its marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union
from weakref import WeakKeyDictionary

from ..errors import InputError
from ..models import LoadedModel
from ..tasks import PLACEHOLDER, Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Source: TypeAlias = Union[LoadedModel, "PreTrainedTokenizerBase", Any]
"""A loaded model, or a tokenizer where there are no images."""


def tokenizer_of(source: Source) -> Any:
    """The tokenizer of a loaded model, or the tokenizer itself."""
    return source.tokenizer if isinstance(source, LoadedModel) else source


def prompt_text(source: Source, prompt: Prompt) -> str:
    """A prompt without images as the model reads it: chat turns laid out by its own template, text as it is.

    Raises InputError if the prompt is a chat and there is no chat template.
    """
    return prompt if isinstance(prompt, str) else _chat(source, prompt, marked=False)


def marked_text(loaded: LoadedModel, prompt: Prompt) -> str:
    """A prompt with images as the processor takes it: each ``<image>`` of ours is the processor's own mark.

    Raises InputError if the model takes no images, or the prompt is a chat and there is no chat template.
    """
    own = mark(loaded)
    if not isinstance(prompt, str):
        text = _chat(loaded, prompt, marked=True)
        return text.replace(own, "") if places_images_itself(loaded) else text
    return prompt.replace(PLACEHOLDER, "" if places_images_itself(loaded) else own)


def mark(loaded: LoadedModel) -> str:
    """What the processor replaces by an image's tokens. Raises InputError for a model without images."""
    if not loaded.takes_images:
        raise InputError(
            f"{loaded.name} takes no images (it has no processor): use a vision-language model, loaded with its"
            " processor, or items of text alone"
        )
    found = getattr(loaded.processor, "image_token", None)
    if found is None:
        raise InputError(f"the processor of {loaded.name} names no image_token: set processor.image_token")
    return str(getattr(found, "content", found))


_PLACES_THEM: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def places_images_itself(loaded: LoadedModel) -> bool:
    """Whether the processor puts an image's tokens before the text by itself, and needs no mark (BLIP-2)."""
    processor: Any = loaded.processor
    if processor not in _PLACES_THEM:
        from PIL import Image

        image, text = Image.new("RGB", (32, 32), "white"), "a"

        def length(text: str) -> int:
            return len(processor(text=[text], images=[[image]], return_tensors="pt")["input_ids"][0])

        try:
            bare = length(text)
        except Exception:  # each processor has its own error for a text without marks
            bare = 0
        _PLACES_THEM[processor] = (
            bare > len(loaded.tokenizer(text)["input_ids"]) and length(mark(loaded) + text) > bare
        )
    return _PLACES_THEM[processor]


def _chat(source: Source, prompt: Sequence[Message], *, marked: bool) -> str:
    tokenizer = tokenizer_of(source)
    processor = source.processor if isinstance(source, LoadedModel) else None
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if template is None:
        raise InputError(
            "the prompt is a chat and this model's tokenizer has no chat template: "
            "set tokenizer.chat_template, or use a task of plain text"
        )
    turns = [dict(turn) for turn in prompt]
    if processor is None:
        return _laid_out(tokenizer, turns)
    if isinstance(template, dict):
        template = template.get("default", next(iter(template.values())))
    # Templates of vision-language models want a turn as a list of parts; some know plain strings only, and of those
    # that don't fit some drop the text without a word.
    split = [_parts(turn["content"], marked) for turn in turns]
    own = mark(source) if marked and isinstance(source, LoadedModel) else PLACEHOLDER
    inline = [turn["content"].replace(PLACEHOLDER, own) for turn in turns]
    said = [part["text"].strip() for parts in split for part in parts if part["type"] == "text"]
    images = sum(part["type"] == "image" for parts in split for part in parts)
    problem = "it leaves out some of the text"
    for contents in (split, inline):
        laid = [{**turn, "content": content} for turn, content in zip(turns, contents, strict=True)]
        try:
            text = str(
                tokenizer.apply_chat_template(
                    laid, chat_template=template, tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # whatever the template raises
            problem = str(error) or type(error).__name__
            continue
        if all(part in text for part in said) and (not images or text.count(own) >= images):
            return text
    raise InputError(f"the chat template of {source.name} can't lay out this prompt: {problem}")


def _laid_out(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    """A text model's chat. Where a template knows no system turn (Gemma's), its text leads the user's first."""
    problem = ""
    for offered in (turns, _without_system(turns)):
        try:
            return str(tokenizer.apply_chat_template(offered, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # whatever the template raises
            problem = problem or str(error) or type(error).__name__
    raise InputError(f"the tokenizer's chat template can't lay out this prompt: {problem}")


def _without_system(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in turns if turn["role"] != "system"]
    if not system or not rest or rest[0]["role"] != "user":
        return list(turns)
    return [{**rest[0], "content": "\n\n".join([*system, rest[0]["content"]])}, *rest[1:]]


def _parts(content: str, marked: bool) -> list[dict[str, str]]:
    texts = content.split(PLACEHOLDER) if marked else [content]
    found: list[dict[str, str]] = []
    for number, text in enumerate(texts):
        found += [{"type": "image"}] * bool(number)
        found += [{"type": "text", "text": text}] * bool(text)
    return found
