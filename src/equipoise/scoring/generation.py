"""Seeded generation in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from ..errors import InputError
from ..interventions import answers_start
from ..models import LoadedModel, speaker
from ..tasks import PLACEHOLDER, Picture, Prompt, placeholders
from .encoding import prompt_inputs
from .features import Row, image_features
from .journal import Journal
from .memory import memory
from .readable import refuse_unreadable
from .sight import Sight


@dataclass(frozen=True, eq=False)
class Step:
    """What the model is about to compute while it writes: the last thing known before the next token.

    Attributes:
        index: [B] which prompt of the caller's each row continues.
        number: 0 for the prompts, then how many tokens have been written.
        ids: [B, T] the tokens about to be computed: the prompts, padded on the left, then one token a row. A row that
            has ended goes on with padding.
        mask: [B, columns so far] 1 where a column is no padding.
        inputs: everything that the model is called with.
    """

    index: tuple[int, ...]
    number: int
    ids: Tensor
    mask: Tensor
    inputs: Mapping[str, Any]


BeforeStep = Callable[[Step], None]
"""Called before every forward pass of a generation; it may turn the strength of what is attached."""


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    batch_rows: int = 32,
    images: Sequence[Sequence[Picture]] | None = None,
    journal: Journal | None = None,
) -> list[str]:
    """Continue every prompt with whatever steers now; returns the new text alone.

    Args:
        prompts: texts or chats.
        images: those of each prompt, which stand where it says ``<image>``.
        max_new_tokens: most tokens of an answer.
        temperature: 0 (the default) is greedy; otherwise sampled from the whole vocabulary at this temperature.
        seed: decides the samples; the global generators are left as they were.
        batch_rows: prompts at a time, sorted by length and padded on the left.
        journal: of these very prompts and as many new tokens, continued greedily by this model with what steers it now;
            see :func:`equipoise.scoring.score_options`.

    Raises InputError for a prompt without a token, or with more or fewer places for images than images.
    """
    shown = images if images is not None else [()] * len(prompts)
    for number, (prompt, own) in enumerate(zip(prompts, shown, strict=True)):
        if own and placeholders(prompt) != len(own):
            raise InputError(
                f"prompt {number} has {len(own)} images and says {PLACEHOLDER} {placeholders(prompt)} times: it must"
                " stand once where each image belongs"
            )
    rows = [prompt_inputs(loaded, prompt, own) for prompt, own in zip(prompts, shown, strict=True)]
    ids = [row for row, _ in rows]
    if not all(ids):
        raise InputError(
            f"prompt {[bool(row) for row in ids].index(False)} tokenises to nothing: give it a word"
        )
    found = generate_ids(
        loaded,
        ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        batch_rows=batch_rows,
        sights=[sight for _, sight in rows],
        journal=journal,
    )
    return [str(loaded.tokenizer.decode(new, skip_special_tokens=True)) for new in found]


def generate_ids(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_rows: int = 32,
    sights: Sequence[Sight | None] | None = None,
    before_step: BeforeStep | None = None,
    journal: Journal | None = None,
) -> list[list[int]]:
    """As :func:`generate`, from tokens to tokens: up to and with the end token, without padding after it.

    ``sights`` says what images add to each prompt (see :func:`equipoise.scoring.prompt_inputs`).

    A text's log-probability under the tokens that it would be encoded to is not that of the tokens it was drawn as, so
    whoever needs it keeps these.

    ``before_step`` is called before each forward pass. The keys and values of earlier tokens stay in the cache as they
    were computed: a strength that it sets acts on the tokens of that pass and later ones. It reads text alone: with
    images it raises InputError.
    """
    if journal is not None and temperature > 0:
        raise ValueError("what is drawn depends on what was drawn before: only greedy text can be kept")
    seen = sights if sights is not None else [None] * len(prompts)
    if before_step is not None and any(sight is not None for sight in seen):
        raise InputError(
            "steering where a detector fires reads text alone: leave out the images or the detector"
        )
    refuse_unreadable(
        loaded,
        ([] if sight is not None else row for row, sight in zip(prompts, seen, strict=True)),
        more=max_new_tokens - 1,
        what="prompt",
    )
    kinds = ["" if sight is None else sight.kind for sight in seen]
    if not memory(loaded).pads:
        # A recurrent state that knows nothing of masks would remember the padding, and positions may count it.
        kinds = [f"{kind} {len(prompt)}" for kind, prompt in zip(kinds, prompts, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: (kinds[i], len(prompts[i])))
    answers: list[list[int]] = [[] for _ in prompts]
    ends = _end_tokens(loaded)
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for index in _batches(order, kinds, batch_rows):
            known = None if journal is None else journal.get(index)
            if known is not None:
                for i, entry in zip(index, known, strict=True):
                    answers[i] = list(entry["new"])
                continue
            rows = [(prompts[i], seen[i]) for i in index]
            with _before_each_pass(loaded, index, [len(row) for row, _ in rows], before_step):
                found = _continue(loaded, rows, max_new_tokens, temperature)
            for i, new in zip(index, found, strict=True):
                stop = next((place for place, token in enumerate(new) if token in ends), len(new) - 1)
                answers[i] = new[: stop + 1]
            if journal is not None:
                journal.add({i: {"new": answers[i]} for i in index})
    return answers


Choose = Callable[[Tensor], Sequence[int | None]]
"""From logits [B, vocabulary], fp32, to each row's next token; None ends the row."""


def generate_seeing(
    loaded: LoadedModel,
    rows: Sequence[Row],
    choose: Choose,
    *,
    most: int,
    before_pass: Callable[[], None] = lambda: None,
) -> None:
    """Continue prompts with images of one kind together, token by token as ``choose`` says, until all rows have ended.

    Args:
        loaded: a vision-language model.
        rows: token ids and sights of the prompts (see :func:`equipoise.scoring.prompt_inputs`).
        choose: called once a token; a row that it has ended goes on with padding, and what it says of it is ignored.
        most: tokens after which all rows end.
        before_pass: called before every forward pass of the model.
    """
    pad = loaded.tokenizer.pad_token_id or 0
    features = image_features(loaded)
    ended = [False] * len(rows)

    def forced(ids: Tensor, scores: Tensor) -> Tensor:
        for index, token in enumerate(choose(scores)):
            ended[index] = ended[index] or token is None
            scores[index] = float("-inf")
            scores[index, pad if token is None or ended[index] else token] = 0.0
        return scores

    def over(ids: Tensor, scores: Any, **more: Any) -> Tensor:
        return torch.tensor(ended, device=ids.device)

    hook = speaker(loaded.model).register_forward_pre_hook(lambda *_: before_pass())
    try:
        with torch.inference_mode(), _own_defaults(loaded.model):
            inputs = features.whole_inputs(rows, padding=pad)
            with features.given(rows):
                loaded.model.generate(  # type: ignore[operator]
                    **inputs,
                    max_new_tokens=most,
                    pad_token_id=pad,
                    do_sample=False,
                    logits_processor=[forced],
                    stopping_criteria=[over],
                )
    finally:
        hook.remove()


@contextmanager
def _before_each_pass(
    loaded: LoadedModel, index: Sequence[int], lengths: Sequence[int], call: BeforeStep | None
) -> Iterator[None]:
    """Call ``call`` before every forward pass of the whole model (passes of its backbone alone are its own affair)."""
    if call is None:
        yield
        return
    number, mask = 0, torch.empty(len(lengths), 0, dtype=torch.long)

    def hook(module: Any, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        nonlocal number, mask
        ids = inputs["input_ids"]
        # Made here: transformers leaves the mask out where nothing is padded.
        new = torch.ones_like(ids)
        if number == 0:
            columns = torch.arange(ids.shape[1], device=ids.device)
            new = (columns >= ids.shape[1] - torch.tensor(lengths, device=ids.device)[:, None]).long()
        mask = torch.cat([mask.to(ids.device), new], 1)
        call(Step(tuple(index), number, ids, mask, inputs))
        number += 1

    handle = speaker(loaded.model).register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _end_tokens(loaded: LoadedModel) -> set[int]:
    config = getattr(loaded.model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = loaded.tokenizer.eos_token_id
    return set() if ends is None else {int(end) for end in (ends if isinstance(ends, list) else [ends])}


def _batches(order: Sequence[int], kinds: Sequence[str], rows: int) -> Iterator[list[int]]:
    """Indices in this order, at most ``rows`` of one kind together."""
    for _, same in groupby(order, key=lambda i: kinds[i]):
        index = list(same)
        for start in range(0, len(index), rows):
            yield index[start : start + rows]


def _continue(
    loaded: LoadedModel,
    rows: Sequence[tuple[Sequence[int], Sight | None]],
    max_new_tokens: int,
    temperature: float,
) -> list[list[int]]:
    width = max(len(ids) for ids, _ in rows)
    pad = loaded.tokenizer.pad_token_id
    pad = 0 if pad is None else pad
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
    options = {"max_new_tokens": max_new_tokens, "pad_token_id": pad, **sampling}
    looking = [(ids, sight) for ids, sight in rows if sight is not None]
    with torch.inference_mode(), _own_defaults(loaded.model):
        if looking:
            return _continue_seeing(loaded, looking, width, options)
        inputs = torch.tensor([[*[pad] * (width - len(ids)), *ids] for ids, _ in rows], device=loaded.device)
        mask = torch.tensor(
            [[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in rows], device=loaded.device
        )
        # Said, because a model without a cache is handed the whole text in every pass.
        with answers_start(loaded, width - 1):
            out = speaker(loaded.model).generate(inputs, attention_mask=mask, **options)
    return [row[width:].tolist() for row in out]


def _continue_seeing(
    loaded: LoadedModel, rows: Sequence[Row], width: int, options: dict[str, Any]
) -> list[list[int]]:
    features = image_features(loaded)
    inputs = features.whole_inputs(rows, padding=options["pad_token_id"])
    with features.given(rows):
        out = loaded.model.generate(**inputs, **options)  # type: ignore[operator]
    # Some models hand back the prompt with its continuation, some the continuation alone.
    whole = out.shape[1] > width and torch.equal(out[:, :width], inputs["input_ids"])
    return [row[width if whole else 0 :].tolist() for row in out]


@contextmanager
def _own_defaults(model: Any) -> Iterator[None]:
    """Only the special tokens of the checkpoint's generation settings.

    Its sampling defaults (top-p, penalties, forbidden words, …) would make seeds and greedy answers mean something
    else, and what isn't given to ``generate`` is taken from there.
    """
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    with ExitStack() as stack:
        for one in {model, speaker(model)}:
            theirs = one.generation_config
            kept: dict[str, Any] = {name: getattr(theirs, name, None) for name in tokens}
            one.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]
            stack.callback(setattr, one, "generation_config", theirs)
        yield
