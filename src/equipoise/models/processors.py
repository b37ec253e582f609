"""Loading a vision-language model's processor with Pillow alone: torchvision is never needed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def load_processor(origin: Any, config: PretrainedConfig, **options: Any) -> Any:
    """The processor of the model at ``origin``, with image processors that run on Pillow.

    Many processors can do videos too, and transformers builds their video part from torchvision only. Where that
    isn't installed the processor is built without it.
    """
    automatic: Any = transformers.AutoProcessor
    try:
        return automatic.from_pretrained(origin, backend="pil", **options)
    except Exception:
        found = getattr(transformers, _class_name(config) or "", None)
        if found is None or "video_processor" not in inspect.signature(found.__init__).parameters:
            raise
        return without_videos(found).from_pretrained(origin, backend="pil", **options)


def without_videos(kind: type[Any]) -> type[Any]:
    """The processor class ``kind`` without its video part."""

    def attributes(cls: type[Any]) -> list[str]:
        return [name for name in kind.get_attributes() if name != "video_processor"]

    def build(self: Any, image_processor: Any = None, tokenizer: Any = None, **more: Any) -> None:
        # Positional arguments reach the base class in this order, and the video part is the last.
        kind.__init__(self, image_processor, tokenizer, None, **more)

    build.__signature__ = inspect.signature(kind.__init__)  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"get_attributes": classmethod(attributes), "__init__": build})


def _class_name(config: PretrainedConfig) -> str | None:
    names: Any = transformers.models.auto.processing_auto
    name = names.PROCESSOR_MAPPING_NAMES.get(config.model_type)
    return name if isinstance(name, str) else None
