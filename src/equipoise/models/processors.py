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

    names = list(kind.get_attributes())
    place = names.index("video_processor")

    def attributes(cls: type[Any]) -> list[str]:
        return [*names[:place], *names[place + 1 :]]

    def arguments(cls: type[Any], *args: Any, **kwargs: Any) -> list[Any]:
        found = kind._get_arguments_from_pretrained.__func__(cls, *args, **kwargs)
        return [*found[:place], None, *found[place:]]

    methods = {"get_attributes": attributes, "_get_arguments_from_pretrained": arguments}
    without = type(kind.__name__, (kind,), {name: classmethod(method) for name, method in methods.items()})
    return without


def _class_name(config: PretrainedConfig) -> str | None:
    names: Any = transformers.models.auto.processing_auto
    name = names.PROCESSOR_MAPPING_NAMES.get(config.model_type)
    return name if isinstance(name, str) else None
