"""What a request asks for, read from JSON and checked. Whatever would change the answer and isn't done is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tasks import PLACEHOLDER, Picture, Prompt
from .batch import Sampling
from .pictures import read_parts
from .refusal import Refusal

# A value other than these would change the answer, and the server doesn't do it.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1, None),
    "best_of": (1, None),
    "echo": (False, None),
    "suffix": ("", None),
    "logprobs": (False, None),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "presence_penalty": (0, None),
    "frequency_penalty": (0, None),
    "tools": (None, []),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
}
MOST_PROMPTS, MOST_STOPS = 16, 4


@dataclass(frozen=True)
class Asked:
    """One request. ``prompts`` are texts, chats or token ids; ``strengths`` has λ for each intervention served.

    ``images`` stand where the one chat says ``<image>``; without images that is text like any other.
    """

    prompts: tuple[Prompt | list[int], ...]
    images: tuple[Picture, ...]
    strengths: tuple[float, ...]
    model: str
    most: int
    sampling: Sampling
    stops: tuple[str, ...]
    stream: bool
    usage: bool


def read_request(
    body: Any,
    *,
    chat: bool,
    model: str,
    names: Sequence[str],
    default: float,
    most: int,
    takes_images: bool = False,
) -> Asked:
    """Check a decoded body.

    Args:
        chat: whether it came to chat/completions.
        model: what the served model is called; a request says that, or that with a suffix (see :func:`strengths_of`).
        names: the interventions that are served.
        default: λ of each where the request says nothing.
        most: tokens of an answer where the request says nothing.
        takes_images: whether the model does.

    Raises :class:`Refusal`.
    """
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    for name, allowed in _NEUTRAL.items():
        if name in body and body[name] not in allowed:
            raise Refusal(400, f"{name} is not supported here: leave it out", name)
    strengths = strengths_of(body, model=model, names=names, default=default)
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    options = body.get("stream_options")
    turns, images = _messages(body, takes_images) if chat else ((), ())
    return Asked(
        prompts=(turns,) if chat else _prompts(body),
        images=images,
        strengths=strengths,
        model=str(body.get("model", model)),
        most=most if limit is None else _integer(limit, "max_tokens", 1, 1_000_000),
        sampling=Sampling(
            _number(body, "temperature", 1.0, 0.0, 100.0),
            _number(body, "top_p", 1.0, 0.0, 1.0),
            None if body.get("seed") is None else _integer(body["seed"], "seed", -(2**63), 2**63 - 1),
        ),
        stops=_stops(body.get("stop")),
        stream=_flag(body, "stream"),
        usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def strengths_of(
    body: Mapping[str, Any], *, model: str, names: Sequence[str], default: float
) -> tuple[float, ...]:
    """λ of every served intervention.

    A request says ``"equipoise": {"strength": 0.7}`` for all of them, ``{"strength": 0.7, "intervention": "dso"}`` for
    one and 0 for the others, or ``{"strengths": {"dso": 0.7, "caa": 0.2}}``, 0 for those left out. Clients that can
    only choose a model append it to the model's name: ``smollm2:0.7``, ``smollm2:dso=0.7,caa=0.2``.
    """
    asked = body.get("model", model)
    if not isinstance(asked, str) or not (asked == model or asked.startswith(f"{model}:")):
        raise Refusal(404, f"there is no model {asked!r} here: it is {model!r}", "model")
    suffix = asked[len(model) + 1 :]
    field = body.get("equipoise")
    if field is None:
        field = _from_suffix(suffix) if suffix else {"strength": default}
    elif suffix:
        raise Refusal(
            400, "the strength stands both in the model's name and in equipoise: choose one", "equipoise"
        )
    if not isinstance(field, dict) or not field or set(field) - {"strength", "strengths", "intervention"}:
        raise Refusal(400, 'equipoise is an object such as {"strength": 0.7}', "equipoise")
    if "strengths" in field:
        wanted = field["strengths"]
        if not isinstance(wanted, dict) or len(field) > 1:
            raise Refusal(400, 'strengths is an object such as {"NAME": 0.7}, and stands alone', "equipoise")
    elif "intervention" in field:
        if not isinstance(field["intervention"], str):
            raise Refusal(400, "intervention is the name of one", "equipoise")
        wanted = {field["intervention"]: field.get("strength", default)}
    else:
        wanted = dict.fromkeys(names, field["strength"])
        _strength(field["strength"])
    for name, value in wanted.items():
        if name not in names:
            known = ", ".join(names) or "none"
            raise Refusal(400, f"there is no intervention {name!r} here: there is {known}", "equipoise")
        _strength(value)
    return tuple(float(wanted.get(name, 0.0)) for name in names)


def _from_suffix(suffix: str) -> dict[str, Any]:
    try:
        if "=" not in suffix:
            return {"strength": float(suffix)}
        pairs = [piece.partition("=") for piece in suffix.split(",")]
        return {"strengths": {name: float(value) for name, _, value in pairs}}
    except ValueError:
        message = f"the model's name ends in {suffix!r}: append a strength such as :0.7 or :NAME=0.7"
        raise Refusal(404, message, "model") from None


def _strength(value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 100:
        raise Refusal(400, f"a strength is a number from 0 to 100, not {value!r}", "equipoise")


def _messages(body: Mapping[str, Any], takes_images: bool) -> tuple[Prompt, tuple[Picture, ...]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "messages must be a list of turns, with at least one", "messages")
    turns: list[dict[str, str]] = []
    images: list[Picture] = []
    for turn in messages:
        role, content = _role(turn), turn.get("content")
        if isinstance(content, list):
            content, more = read_parts(content, len(images), takes_images=takes_images)
            images += more
        if not isinstance(content, str):
            raise Refusal(400, "a turn's content must be text, or a list of parts", "messages")
        turns.append({"role": role, "content": content})
    if images and sum(turn["content"].count(PLACEHOLDER) for turn in turns) != len(images):
        raise Refusal(400, f"beside images a text can't say {PLACEHOLDER}: it marks their places", "messages")
    return tuple(turns), tuple(images)


def _role(turn: Any) -> str:
    role = turn.get("role") if isinstance(turn, dict) else None
    if role not in ("system", "developer", "user", "assistant"):
        raise Refusal(400, f"a turn's role is system, user or assistant, not {role!r}", "messages")
    return "system" if role == "developer" else str(role)


def _prompts(body: Mapping[str, Any]) -> tuple[str | list[int], ...]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(p, str) for p in prompt):
            if len(prompt) > MOST_PROMPTS:
                raise Refusal(
                    400, f"a request has at most {MOST_PROMPTS} prompts, not {len(prompt)}", "prompt"
                )
            return tuple(prompt)
        if all(isinstance(p, int) and not isinstance(p, bool) and p >= 0 for p in prompt):
            return (prompt,)
    raise Refusal(400, "prompt must be a text, a list of texts, or a list of token ids", "prompt")


def _stops(stop: Any) -> tuple[str, ...]:
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(isinstance(s, str) for s in stops):
        raise Refusal(400, f"stop must be a text or a list of up to {MOST_STOPS} texts", "stop")
    return tuple(s for s in stops if s)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if value is not None and not isinstance(value, bool):
        raise Refusal(400, f"{name} is true or false", name)
    return bool(value)


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refusal(400, f"{name} must be a number from {low:g} to {high:g}", name)
    return float(value)


def _integer(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(400, f"{name} must be a whole number of at least {low}", name)
    return value
