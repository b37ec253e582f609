"""GGUF files as ordinary model folders: converted once, then cached.

Unpacking the weights of a GGUF takes transformers half a minute and more even for a small model. The result is
kept as a safetensors folder under the folder for caches (:mod:`equipoise.models.cache`), in float32, so that no digit
of the unpacked weights is lost.
"""

import contextlib
import functools
import hashlib
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from ..errors import InputError
from .cache import cache_folder, made_once
from .quiet import one_line

# Raise this when the folder that a conversion writes changes; older folders are then no longer used.
FORMAT = 1

_MAGIC = b"GGUF"


def converted(parts: Sequence[Path], name: str, *, immutable: bool = False) -> Path:
    """The folder of the model in a GGUF file, which is made on the first call and found on later ones.

    ``parts`` are the file, or its pieces in order; ``name`` begins the folder's name. The folder is found by the
    file's size, samples of its content and, unless it is ``immutable``, the time when it was last written. Several
    processes may ask at once: one converts, the others wait. Raises :class:`InputError` for what is no GGUF, what
    transformers can't read, and where the packages for reading are missing.
    """
    for part in parts:
        if not part.is_file():
            raise InputError(f"{part}: no such file")
    with parts[0].open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{parts[0]} is no GGUF file: it does not begin with the four letters GGUF")
    folder = cache_folder() / "models" / f"{name}-{content_key(parts, immutable)}"
    if folder.is_dir():
        return folder
    missing = [package for package in ("gguf", "accelerate") if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f"reading {parts[0].name} needs the package {' and '.join(missing)}: pip install {' '.join(missing)}"
        )

    def make(made: Path) -> None:
        with one_line(f"{name}: converting {parts[0].name} (once; up to a minute or two)"):
            _convert(_joined(parts, made.parent), made)

    return made_once(folder, make)


def content_key(parts: Sequence[Path], immutable: bool) -> str:
    """Sixteen digits for the content, from sixteen samples of 64 KiB a file, so that it takes no time."""
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for part in parts:
        size, sample = part.stat().st_size, 1 << 16
        # An edited model may differ in a few small tensors between the samples.
        written = 0 if immutable else part.stat().st_mtime_ns
        digest.update(f"size {size} written {written}".encode())
        with part.open("rb") as stream:
            for index in range(16):
                stream.seek(max(0, size - sample) * index // 15)
                digest.update(stream.read(sample))
    return digest.hexdigest()[:16]


def _joined(parts: Sequence[Path], folder: Path) -> Path:
    if len(parts) == 1:
        return parts[0]
    whole = folder / "model.gguf"
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, target, 1 << 20)
    return whole


def _convert(path: Path, folder: Path) -> None:
    where: dict[str, Any] = {"gguf_file": path.name}
    # Newer releases keep weights in the file's blocks where they have a kernel for that, unless told not to.
    unpack = getattr(transformers, "GgufConfig", None)
    more = {} if unpack is None else {"quantization_config": unpack(gguf_file=str(path), dequantize=True)}
    try:
        with _read_once():
            config = transformers.AutoConfig.from_pretrained(path.parent, **where)
            if config.is_encoder_decoder:
                raise InputError(
                    f"{path.name} holds an encoder-decoder; decoders (causal language models) are supported"
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, config=config, **where)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, config=config, dtype=torch.float32, **where, **more
            )
    except (InputError, MemoryError):
        raise
    except Exception as error:
        version = transformers.__version__
        raise InputError(f"transformers {version} can't read {path.name}: {str(error)[:300]}") from error
    # The weights are plain ones now, and only these two say otherwise; they would keep the model from being saved.
    model.config.__dict__.pop("quantization_config", None)
    if hasattr(model, "hf_quantizer"):
        del model.hf_quantizer
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _read_once() -> Iterator[None]:
    """Let transformers' four readings of one file share one: a large vocabulary takes many seconds to parse."""
    import gguf

    names = ("GGUFReader", "get_tensor_name_map")
    before = {name: getattr(gguf, name) for name in names}
    for name in names:
        setattr(gguf, name, functools.cache(before[name]))
    try:
        yield
    finally:
        for name in names:
            setattr(gguf, name, before[name])
