"""An item's image: from a path, bytes or a Pillow image, known by its bytes."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from ..errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

PLACEHOLDER = "<image>"
"""Where an image stands in a prompt, once for each of the item's images, in their order."""

# What becomes RGB without losing what it shows. Others (16 bits, floating point, Lab) have no one conversion.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "La", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Picture:
    """An image file, by its path or its bytes.

    Attributes:
        path: where it is; None for one given as bytes or as a Pillow image.
        data: its bytes; None for one given as a path, which is read when it is needed.
        name: what messages call it.
        source: gives its bytes, for one that lies inside a larger file.

    Equal pictures have equal bytes. Making one checks that it can be read, and reads no more than its header.
    Raises :class:`InputError`, naming it, for what is no image, is empty or has a mode that doesn't become RGB.
    """

    path: Path | None = field(default=None, compare=False)
    data: bytes | None = field(default=None, compare=False, repr=False)
    name: str = field(default="", compare=False)
    source: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        with _opened(self) as image:
            if image.mode not in _MODES:
                raise InputError(
                    f"{self.name}: an image of mode {image.mode} can't be shown in colours: convert it to RGB"
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of its bytes."""
        return hashlib.sha256(self.bytes).hexdigest()

    @property
    def bytes(self) -> bytes:
        """The file's bytes."""
        return _read(self)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as its header says."""
        with _opened(self) as image:
            return int(image.width), int(image.height)

    def open(self) -> PillowImage:
        """The image in RGB; what is transparent shows white.

        Raises :class:`InputError` if it is damaged or too large.
        """
        try:
            with _opened(self) as image:
                return _rgb(image)
        except InputError:
            raise
        except Exception as error:  # Pillow raises whatever its decoders do
            raise InputError(f"{self.name}: the image can't be read ({error}): replace it") from error


ImageSource: TypeAlias = Union["Picture", str, "os.PathLike[str]", bytes, "PillowImage"]


def picture(source: ImageSource, name: str | None = None) -> Picture:
    """A :class:`Picture` from a path, the bytes of an image file, or a Pillow image (kept as PNG).

    ``name`` is what messages call it, by default the path. Raises :class:`InputError` for anything else.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, bytes):
        return Picture(data=source, name=name or "an image given as bytes")
    if isinstance(source, str | os.PathLike):
        return Picture(path=Path(source), name=name or os.fspath(source))
    if not hasattr(source, "save") or not hasattr(source, "mode"):
        raise InputError(
            f"{name or 'an image'} is a {type(source).__name__}: give a path, bytes or a Pillow image"
        )
    named = name or f"an image of mode {source.mode}"
    file = io.BytesIO()
    try:
        upright(source).save(file, "PNG")
    except OSError as error:
        raise InputError(f"{named}: {error}: convert it to RGB") from error
    return Picture(data=file.getvalue(), name=named)


def pictures(sources: Iterable[ImageSource]) -> tuple[Picture, ...]:
    """:func:`picture` for each."""
    return tuple(picture(source) for source in sources)


def _read(given: Picture) -> bytes:
    if given.data is not None:
        return given.data
    if given.source is not None:
        return given.source()
    assert given.path is not None
    try:
        return given.path.read_bytes()
    except OSError as error:
        raise InputError(f"{given.name}: the image can't be read ({error.strerror})") from error


def _opened(given: Picture) -> Any:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise InputError("images need Pillow: pip install 'equipoise[vlm]'") from error
    source = given.path or io.BytesIO(_read(given))
    try:
        image = Image.open(source)
    except UnidentifiedImageError:
        raise InputError(f"{given.name} is no image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{given.name}: {error}: make it smaller") from error
    except OSError as error:
        raise InputError(f"{given.name}: the image can't be read ({error.strerror or error})") from error
    except Exception as error:
        raise InputError(f"{given.name} is no image that Pillow can read ({error})") from error
    if 0 in image.size:
        raise InputError(f"{given.name} is an empty image ({image.size[0]} × {image.size[1]})")
    return image


def upright(image: PillowImage) -> PillowImage:
    """The image as viewers show it: cameras write beside the pixels how they were held (EXIF's orientation)."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged notes say nothing of how it was held; damaged pixels fail where they are read
        return image


def _rgb(image: PillowImage) -> PillowImage:
    from PIL import Image

    image = upright(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        below = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(below, image)
    return image.convert("RGB")
