"""A model in a table: what ``equipoise info MODEL`` prints and what results files say about the model."""

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from .anatomy import Anatomy, Block
from .loaded import LoadedModel
from .norms import Norm
from .sites import SITE_KINDS


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know about a model at a glance.

    Attributes:
        name: what the model was loaded as.
        architecture: the model's class.
        parameters: number of weights, tied ones counted once.
        dtype: of the weights.
        device: where token ids go.
        blocks: number of decoder blocks.
        hidden_size: width of the residual stream.
        vocabulary: rows of the token embedding.
        layout: the blocks' inner parts in words, one entry for each run of blocks that are alike.
        final_norm: the norm before the head in words; None if there is none.
        head: the head in words.
        sites: kind of site -> (number of sites, their width, 0 if it varies).
        fingerprint: the fingerprint's digest.
    """

    name: str
    architecture: str
    parameters: int
    dtype: str
    device: str
    blocks: int
    hidden_size: int
    vocabulary: int
    layout: tuple[str, ...]
    final_norm: str | None
    head: str
    sites: dict[str, tuple[int, int]]
    fingerprint: str

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of each line to print."""
        sites = [
            f"{kind}: {count} × {width or 'several widths'}"
            for kind, (count, width) in self.sites.items()
            if count
        ]
        rows = [
            ("model", self.name),
            ("architecture", self.architecture),
            ("parameters", f"{self.parameters:,}"),
            ("weights", f"{self.dtype} on {self.device}"),
            ("blocks", str(self.blocks)),
            ("hidden size", str(self.hidden_size)),
            ("vocabulary", str(self.vocabulary)),
            *(("inside a block", words) for words in self.layout),
            ("final norm", self.final_norm or "none"),
            ("head", self.head),
            ("sites", ", ".join(sites)),
            ("fingerprint", self.fingerprint),
        ]
        return rows

    def as_dict(self) -> dict[str, Any]:
        """The entry ``model`` of a results file."""
        names = (
            "name",
            "architecture",
            "parameters",
            "dtype",
            "device",
            "blocks",
            "hidden_size",
            "fingerprint",
        )
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the attributes as keys."""
        return asdict(self)


def describe(loaded: LoadedModel) -> ModelInfo:
    """What there is to know about ``loaded`` at a glance; finds its anatomy if that has not happened yet."""
    model, anatomy = loaded.model, loaded.anatomy
    embedding: Any = model.get_input_embeddings()
    return ModelInfo(
        name=loaded.name,
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        blocks=len(anatomy.blocks),
        hidden_size=anatomy.hidden_size,
        vocabulary=int(embedding.weight.shape[0]),
        layout=_layout(anatomy),
        final_norm=None if anatomy.final_norm is None else _norm(anatomy.final_norm, anatomy.final_norm.name),
        head=f"{anatomy.head_name}, {'tied to the embedding' if anatomy.tied else 'not tied'}",
        sites=_sites(anatomy),
        fingerprint=loaded.fingerprint.digest,
    )


def _layout(anatomy: Anatomy) -> tuple[str, ...]:
    runs = [(words, [b.index for b in run]) for words, run in groupby(anatomy.blocks, _block)]
    if len(runs) == 1:
        return (runs[0][0],)
    return tuple(f"{_range(indices)}: {words}" for words, indices in runs)


def _range(indices: list[int]) -> str:
    return f"block {indices[0]}" if len(indices) == 1 else f"blocks {indices[0]}-{indices[-1]}"


def _block(block: Block) -> str:
    norms = ", ".join(_norm(norm, norm.name.removeprefix(f"{block.name}.")) for norm in block.norms)
    words = [f"norms {norms}" if norms else "no norms"]
    heads = block.attention.heads if block.attention is not None else None
    if heads is not None:
        words.append(f"{heads.n_heads} heads of {heads.head_dim} over {heads.n_kv_heads} key-value heads")
    elif block.attention is not None:
        words.append("token mixing without heads")
    else:
        words.append("no attention")
    if block.mlp is None:
        words.append("no MLP")
    elif block.parallel:
        words.append("attention and MLP in parallel")
    return "; ".join(words)


def _norm(norm: Norm, name: str) -> str:
    details: list[str] = [norm.kind]
    if norm.unit_offset:
        details.append("1 + weight")
    if norm.weight_name is None:
        details.append("no weight")
    if norm.has_bias:
        details.append("bias")
    return f"{name} ({', '.join(details)})"


def _sites(anatomy: Anatomy) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for kind in SITE_KINDS:
        widths = [anatomy.site(name).width for name in anatomy.sites(kind)]
        found[kind] = (len(widths), widths[0] if len(set(widths)) == 1 else 0)
    return found
