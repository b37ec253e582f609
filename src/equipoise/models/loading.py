"""Loading a language model from wherever it is, in one call, or saying in one line why it can't be."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
import transformers
from torch import nn

from ..errors import InputError
from .bundled import ALIASES
from .gguf import converted
from .loaded import LoadedModel
from .processors import load_processor
from .quiet import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SUPPORTED = "causal language models (decoders) and vision-language models with one are supported"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: Any | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    device_map: Any | None = None,
    revision: str | None = None,
    blocks: str | None = None,
) -> LoadedModel:
    """Load a language or vision-language model with its tokenizer, ready to be measured and steered.

    Args:
        source: a hub id, a folder, a ``.gguf`` file (converted once and cached), an alias (``smollm2``,
            ``gemma3-270m``: models inside Python packages), or a model object that you have already, with its
            ``tokenizer`` or ``processor``.
        tokenizer: in place of the source's own. One without a padding token is copied and pads with its end token.
        processor: a vision-language model's processor, in place of the source's own.
        dtype: ``float32``, ``bfloat16``, ``float16``, a torch dtype, or ``auto`` for the one that it is stored in.
        device: where to put the model; by default the first CUDA device if there is one, else the CPU.
        device_map: handed to transformers instead (needs accelerate): ``auto`` spreads the model over devices.
        revision: branch, tag or commit on the hub.
        blocks: dotted name of the module that lists the decoder blocks, for a model where it is not found.

    A loaded model is in evaluation mode, and its weights take no gradients. A model object is only put into evaluation
    mode: its dtype, device and gradients stay. Raises :class:`InputError` in one line for anything that can't be
    loaded.
    """
    if isinstance(source, LoadedModel):
        return source
    if isinstance(source, nn.Module):
        return _wrap(source, tokenizer, processor, blocks)
    wanted = _dtype(dtype)
    place = None if device_map is not None else _device(device)
    if device_map is not None and device is not None:
        raise InputError("give either device or device_map, not both")
    name, origin = _locate(source)
    options: dict[str, Any] = {} if revision is None else {"revision": revision}
    from_hub = not isinstance(origin, Path)
    if from_hub and _hub_is_out_of_reach():
        # What is cached can be had; the rest fails at once instead of after half a minute's retries.
        options["local_files_only"] = True
    with quiet(bars=from_hub), _one_line_errors(name, from_hub):
        config = transformers.AutoConfig.from_pretrained(origin, **options)
        images = _check(config, name)
        kind: Any = transformers.AutoModelForImageTextToText if images else transformers.AutoModelForCausalLM
        model, report = kind.from_pretrained(
            origin, config=config, dtype=wanted, device_map=device_map, output_loading_info=True, **options
        )
        _refuse_incomplete(name, report)
        if images and processor is None:
            processor = load_processor(origin, config, **options)
        if tokenizer is None:
            tokenizer = getattr(processor, "tokenizer", None) or transformers.AutoTokenizer.from_pretrained(
                origin, **options
            )
        if place is not None:
            model = model.to(place)
    model.requires_grad_(False)
    return LoadedModel(model.eval(), _padded(tokenizer, name), processor, name, blocks)


def _wrap(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase | None, processor: Any | None, blocks: str | None
) -> LoadedModel:
    kind = type(model).__name__
    if hasattr(model, "_orig_mod"):
        raise InputError(
            "the model is compiled: load the model that was handed to torch.compile, and compile it later"
        )
    if not hasattr(model, "get_output_embeddings") or not hasattr(model, "config"):
        raise InputError(f"{kind} is no Hugging Face model; {_SUPPORTED}")
    _refuse_encoder_decoder(model.config, kind)
    if hasattr(model, "peft_config"):
        raise InputError(
            f"the {kind} has adapters: merge them into its weights first (model.merge_and_unload())"
        )
    tokenizer = tokenizer if tokenizer is not None else getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise InputError(f"a {kind} object comes without its tokenizer: load(model, tokenizer=...)")
    name = str(getattr(model, "name_or_path", "") or kind)
    return LoadedModel(model.eval(), _padded(tokenizer, name), processor, name, blocks)  # type: ignore[arg-type]


def _dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        return dtype
    if dtype == "auto":
        return dtype
    if dtype in _DTYPES:
        return _DTYPES[str(dtype)]
    raise InputError(f"there is no dtype {str(dtype)!r} for weights: choose auto, {', '.join(_DTYPES)}")


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)  # a name may be right and the device still not there
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"can't use the device {str(device)!r} ({reason}): choose another, for instance cpu"
        ) from error
    return found


def _locate(source: str | os.PathLike[str]) -> tuple[str, str | Path]:
    """What to call the model, and the folder or hub id to load it from."""
    text = os.fspath(source)
    if text in ALIASES:
        return text, ALIASES[text].folder()
    path = Path(text).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise InputError(f"{text} is a file, but no .gguf: name the folder that holds the model")
        return path.stem, converted([path], path.stem)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"the folder {text} holds no model: there is no config.json in it")
        return path.resolve().name, path
    if path.suffix.lower() == ".gguf" or not _HUB_ID.fullmatch(text) or text.startswith("."):
        raise InputError(
            f"{text}: no such file or folder (nor is it a hub id or one of {', '.join(ALIASES)})"
        )
    return text, text


def _hub_is_out_of_reach() -> bool:
    """Whether the hub's name can't even be resolved (behind a proxy that says nothing)."""
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    if getproxies() or host is None:
        return False
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _one_line_errors(name: str, from_hub: bool) -> Iterator[None]:
    """What goes wrong while reading a model is the model's fault or the network's: say it in one line."""
    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        raise InputError(f"{name} needs a package that is not installed: {_brief(error)}") from error
    except OSError as error:
        if not from_hub:
            raise InputError(f"can't load {name}: {_brief(error)}") from error
        raise InputError(
            f"{name} is neither a folder here nor a model that the hub could give ({_brief(error)}); besides these, a"
            f" .gguf file or one of {', '.join(ALIASES)} can be named"
        ) from error
    except Exception as error:
        raise InputError(f"can't load {name}: {_brief(error)}") from error


def _brief(error: BaseException) -> str:
    """The first sentence of an error's message."""
    text = " ".join(str(error).split()) or type(error).__name__
    sentence = re.split(r"\. (?=[A-Z])", text)[0].rstrip(".")
    return sentence if len(sentence) <= 300 else f"{sentence[:300]} …"


def _check(config: PretrainedConfig, name: str) -> bool:
    """Whether the model takes images; raises :class:`InputError` for a model that is no decoder."""
    classes = set(config.architectures or [])
    modeling_auto = transformers.models.auto.modeling_auto
    images = set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
    text = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    _refuse_encoder_decoder(config, name)
    if classes & images:
        return True
    if classes and not classes & text and not hasattr(config, "auto_map"):
        raise InputError(
            f"{name} is a {' and '.join(sorted(classes))}, not a language model with its head; {_SUPPORTED}"
        )
    return False


def _refuse_encoder_decoder(config: Any, name: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(f"{name} is an encoder-decoder ({config.model_type}); {_SUPPORTED}")


def _refuse_incomplete(name: str, report: Any) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"the weights of {name} are not complete: {missing[0]}{more} would be random numbers"
        )


def _padded(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer, or where it has no padding token a copy that pads with its end token."""
    if tokenizer.pad_token_id is not None:
        return tokenizer
    stand_in = tokenizer.eos_token or tokenizer.bos_token or tokenizer.unk_token
    if stand_in is None:
        raise InputError(
            f"the tokenizer of {name} has neither a padding token nor an end token: set tokenizer.pad_token"
        )
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = stand_in
    return tokenizer
