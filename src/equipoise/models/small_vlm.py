"""A small vision-language model put together from parts that packages ship, as a standard LLaVA checkpoint.

DINOv2 ViT-S/14 sees, a projector of two layers translates, SmolLM2-135M-Instruct speaks. Images are 56 pixels wide:
4 × 4 patches, 16 tokens. Only the projector, the norms' weights and low-rank changes (LoRA, arXiv 2106.09685) of the
text model were trained; the parts are as published. Stock ``AutoModelForImageTextToText`` loads the folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import InputError
from .bundled import EMOJI_VLM, SMOLLM2
from .cache import cache_folder, made_once
from .dinov2 import INSTALL as DINOV2_INSTALL
from .dinov2 import dinov2, dinov2_file
from .gguf import content_key
from .quiet import one_line, quiet

if TYPE_CHECKING:
    from transformers import Dinov2Model, LlamaForCausalLM, LlavaForConditionalGeneration, LlavaProcessor

ALIAS = EMOJI_VLM.alias
IMAGE_TOKEN = "<image>"
SIZE = 56
LAYERS = (4, 8, 11)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Raise this when the folder that is built changes; older folders are then no longer used.
FORMAT = 1

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def small_vlm_folder(weights: str | os.PathLike[str] | None = None) -> Path:
    """The checkpoint, built once and cached. ``weights`` are the trained ones, by default those of this package.

    Raises :class:`InputError` with the commands that install what is missing.
    """
    from transformers import __version__

    trained = Path(weights) if weights is not None else shipped_weights()
    refuse_missing()
    known = f"{FORMAT} {__version__} {content_key([*SMOLLM2.files_there(), dinov2_file()], immutable=True)}"
    digest = hashlib.sha256(known.encode() + trained.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / "models" / f"{ALIAS}-{digest}"

    def make(made: Path) -> None:
        with one_line(f"{ALIAS}: putting the model together (once)"):
            build(load_file(trained), made)

    return made_once(folder, make)


def shipped_weights() -> Path:
    """The trained weights in this package."""
    path = Path(str(resources.files("equipoise.models") / "data" / f"{ALIAS}.safetensors"))
    if not path.is_file():
        raise InputError(
            f"{path.name} is missing from this package: make it by equipoise demo --vlm --rebuild"
        )
    return path


def refuse_missing() -> None:
    """Raise :class:`InputError`, naming all commands at once, unless the parts are installed."""
    commands = []
    for find, install in ((SMOLLM2.files_there, SMOLLM2.install), (dinov2_file, DINOV2_INSTALL)):
        try:
            find()
        except InputError:
            commands.append(install)
    if commands:
        raise InputError(
            f"{ALIAS} is put together from packages that are not installed: {' && '.join(commands)}"
        )


def build(trained: Mapping[str, Tensor], folder: Path) -> None:
    """Write the checkpoint with its processor into ``folder``."""
    with quiet():
        vision, text, processor = parts()
        model = assemble(vision, text, processor.tokenizer)
        bake(model, trained)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def parts() -> tuple[Dinov2Model, LlamaForCausalLM, LlavaProcessor]:
    """The encoder, the text model with a row for the image token, both float32, and the processor."""
    import transformers

    source = SMOLLM2.folder()
    text: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    processor = vlm_processor(transformers.AutoTokenizer.from_pretrained(source))
    tokenizer: Any = processor.tokenizer
    rows = text.get_input_embeddings().weight.data
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    # The image token is never read or said; as a mean of all it is never the likeliest either.
    text.get_input_embeddings().weight.data[rows.shape[0] :] = rows.mean(0)
    return dinov2(), text.eval(), processor


def assemble(vision: Any, text: Any, tokenizer: Any) -> LlavaForConditionalGeneration:
    """Encoder and text model in one, whose projector is random."""
    import transformers

    config = transformers.LlavaConfig(
        vision_config=vision.config,
        text_config=text.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=list(LAYERS),
        vision_feature_select_strategy="default",
        image_seq_length=(SIZE // 14) ** 2,
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )
    model: Any = transformers.LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(vision.state_dict())
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    model.generation_config = text.generation_config
    found: LlavaForConditionalGeneration = model.eval()
    return found


def vlm_processor(tokenizer: Any) -> LlavaProcessor:
    """The processor: images become 56 × 56 pixels in ImageNet's colours, ``<image>`` one more token."""
    import transformers
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)
    images = BitImageProcessorPil(
        do_resize=True,
        size={"shortest_edge": SIZE},
        do_center_crop=True,
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    kind: Any = transformers.LlavaProcessor
    found: LlavaProcessor = kind(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    )
    return found


@torch.no_grad()
def bake(model: LlavaForConditionalGeneration, trained: Mapping[str, Tensor]) -> None:
    """Put trained weights into the model: changes are added to matrices, and the features' scale is folded in.

    The projector was trained on features less their ``mean`` and over their ``scale``: W (x − m)/s + c is
    (W/s) x + (c − (W/s) m). A low-rank change of a matrix is B A.
    """
    values = {name: value.float() for name, value in trained.items()}
    projector: Any = model.model.multi_modal_projector
    first = values["projector.0.weight"] / values["features.scale"]
    projector.linear_1.weight.copy_(first)
    projector.linear_1.bias.copy_(values["projector.0.bias"] - first @ values["features.mean"])
    projector.linear_2.weight.copy_(values["projector.2.weight"])
    projector.linear_2.bias.copy_(values["projector.2.bias"])
    text: Any = model.model.language_model
    for name, module in norms(text):
        module.weight.copy_(values[f"norm.{name}"])
    for name, module in projections(text):
        module.weight.add_(values[f"lora.{name}.b"] @ values[f"lora.{name}.a"])


def norms(text: nn.Module) -> Iterable[tuple[str, Any]]:
    """The norms of the text model, by name."""
    return [(name, module) for name, module in text.named_modules() if name.endswith("norm")]


def projections(text: nn.Module) -> Iterable[tuple[str, Any]]:
    """The matrices of the text model that LoRA changes, by name."""
    return [(name, m) for name, m in text.named_modules() if name.rsplit(".", 1)[-1] in PROJECTIONS]


@torch.no_grad()
def features(vision: Any, pixels: Tensor) -> Tensor:
    """What enters the projector, [images, 16, 1152]: the patches after blocks 4, 8 and 11 of the encoder."""
    states = vision(pixels, output_hidden_states=True).hidden_states
    return torch.cat([states[layer][:, 1:] for layer in LAYERS], -1)
