"""Images in a chat's turns: data URLs, decoded and checked before a model sees them."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from ..errors import InputError
from ..tasks import PLACEHOLDER, Picture, picture
from .refusal import Refusal

MOST_IMAGES, MOST_PIXELS = 8, 1 << 25
_DATA = re.compile(r"data:(?:image/[\w.+-]+)?;base64,", re.ASCII)


def read_parts(parts: list[Any], seen: int, *, takes_images: bool) -> tuple[str, list[Picture]]:
    """A turn's list of parts as text, in which ``<image>`` stands for each image, and the images.

    Args:
        parts: ``{"type": "text", "text": …}`` and ``{"type": "image_url", "image_url": {"url": "data:…"}}``.
        seen: images of the turns before.
        takes_images: whether the model does.

    Raises :class:`Refusal`.
    """
    said: list[str] = []
    images: list[Picture] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            said.append(part["text"])
        elif kind == "image_url":
            if not takes_images:
                raise Refusal(400, "this model takes text only: leave the image out", "messages")
            if seen + len(images) == MOST_IMAGES:
                raise Refusal(400, f"a request has at most {MOST_IMAGES} images", "messages")
            images.append(_image(part.get("image_url"), seen + len(images) + 1))
            said.append(PLACEHOLDER)
        else:
            raise Refusal(400, f"a turn's parts are text or image_url, not {kind!r}", "messages")
    return "".join(said), images


def _image(given: Any, number: int) -> Picture:
    url = given.get("url") if isinstance(given, dict) else given
    head = _DATA.match(url) if isinstance(url, str) else None
    if head is None or not isinstance(url, str):
        message = f"image {number}: its url must be data:image/…;base64,…: this server fetches nothing"
        raise Refusal(400, message, "messages")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"image {number}: its base64 is damaged ({error})", "messages") from None
    try:
        found = picture(data, f"image {number}")
        width, height = found.size
        # Before it is decoded: a small file may be a picture that fills the memory.
        if width * height > MOST_PIXELS:
            raise Refusal(
                400,
                f"image {number} has {width} × {height} pixels, more than {MOST_PIXELS}: make it smaller",
                "messages",
            )
        found.open()
    except InputError as error:
        raise Refusal(400, str(error), "messages") from None
    return found
