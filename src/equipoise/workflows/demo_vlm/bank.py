"""Image features of every drawing, plain and changed a little: computed once, as the vision encoder isn't trained."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ...files import write_atomic
from ...models.small_vlm import features
from ...tasks import Picture
from ...tasks.emoji import load_emoji, load_things
from ..progress import Report, silent
from .questions import Drawn
from .settings import TrainSettings

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@dataclass(frozen=True)
class Bank:
    """Drawings, and the features of each [drawings, variants, tokens, width] in bfloat16; variant 0 is as drawn."""

    drawn: tuple[Drawn, ...]
    features: Tensor


def make_bank(
    vision: Any, processor: Any, settings: TrainSettings, kept: Path, report: Report = silent
) -> Bank:
    """The features of all people and things of the settings' styles.

    They are written to ``kept`` and read from there again by a training that goes on.
    """
    drawn: list[Drawn] = []
    shown: list[Picture] = []
    for style in settings.styles:
        for portrait in load_emoji(style):
            labels = portrait.labels
            drawn.append(Drawn(len(drawn), style, portrait.concept, labels["gender"], labels["tone"]))
            shown.append(portrait.picture)
        for name, thing in load_things(style)[style].items():
            drawn.append(Drawn(len(drawn), style, name))
            shown.append(thing)
    recipe = {"recipe": f"{settings.styles} {settings.variants} {settings.seed}"}
    if kept.is_file():
        with safe_open(kept, "pt") as file:
            if file.metadata() == recipe:
                return Bank(tuple(drawn), file.get_tensor("features"))
    found = []
    for number, picture in enumerate(shown):
        chance = random.Random(f"{settings.seed}/{number}")
        image = picture.open()
        images = [image, *(changed(image, chance) for _ in range(settings.variants - 1))]
        pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        found.append(features(vision, pixels).to(torch.bfloat16))
        report((number + 1) / len(shown), "image features")
    bank = Bank(tuple(drawn), torch.stack(found))
    write_atomic(kept, save({"features": bank.features}, metadata=recipe), force=True)
    return bank


def changed(image: PillowImage, chance: random.Random) -> PillowImage:
    """Turned, moved, sized, mirrored and recoloured a little, so that skin tones stay what they are."""
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps

    size = image.size[0]
    if chance.random() < 0.5:
        image = ImageOps.mirror(image)
    scale = chance.uniform(0.8, 1.1)
    large = image.resize((round(size * scale),) * 2, Image.Resampling.BICUBIC)
    large = large.rotate(chance.uniform(-10, 10), Image.Resampling.BICUBIC, fillcolor="white")
    canvas = Image.new("RGB", image.size, "white")
    room = size - large.size[0]
    offset = [room // 2 + round(size * chance.uniform(-0.07, 0.07)) for _ in range(2)]
    canvas.paste(large, (offset[0], offset[1]))
    canvas = ImageEnhance.Color(canvas).enhance(chance.uniform(0.5, 1.4))
    canvas = ImageEnhance.Contrast(canvas).enhance(chance.uniform(0.85, 1.2))
    if chance.random() < 0.25:
        canvas = canvas.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 0.9)))
    elif chance.random() < 0.25:
        canvas = canvas.filter(ImageFilter.EDGE_ENHANCE)
    return canvas
