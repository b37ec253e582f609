"""The anatomy of a decoder: its blocks, norms, attention heads and head, and the sites that they offer."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from ..errors import InputError
from .logits import LogitMap
from .norms import Norm
from .sites import SITE_KINDS, Site, SiteKind


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear layer (``nn.Linear``, GPT-2's ``Conv1D``, a quantised one) from ``width_in`` to ``width_out``."""

    name: str
    module: nn.Module
    width_in: int
    width_out: int


@dataclass(frozen=True, eq=False)
class Heads:
    """The query heads of one attention, side by side in the input of its output ``projection``.

    With grouped queries ``n_kv_heads`` < ``n_heads``, and head h reads key-value head ``h // group_size``.
    """

    projection: Projection
    n_heads: int
    n_kv_heads: int
    head_dim: int

    @property
    def group_size(self) -> int:
        """How many query heads share one key-value head."""
        return self.n_heads // self.n_kv_heads

    def slice(self, head: int) -> slice:
        """Where ``head`` lies in the projection's input. Raises :class:`InputError` if there is no such head."""
        if not 0 <= head < self.n_heads:
            raise InputError(
                f"there is no head {head}: {self.projection.name} has heads 0 to {self.n_heads - 1}"
            )
        return slice(head * self.head_dim, (head + 1) * self.head_dim)


@dataclass(frozen=True, eq=False)
class Sublayer:
    """An attention or MLP sublayer.

    ``projection`` is the linear layer whose output is the sublayer's output, None where no single one is (mixtures of
    experts). Where the module itself adds the residual (BLOOM), the projection's output is still without it, so this
    is what the sites ``attn`` and ``mlp`` mean.
    """

    name: str
    module: nn.Module
    projection: Projection | None


@dataclass(frozen=True, eq=False)
class Attention(Sublayer):
    """The sublayer that mixes tokens. ``heads`` is None if it has none (a state-space or linear-attention layer)."""

    heads: Heads | None


@dataclass(frozen=True, eq=False)
class Block:
    """One decoder block.

    ``norms`` are in execution order; norms inside the attention (of queries and keys) are not among them.
    ``mlp`` may be a bare linear layer (OPT's second one). ``mlp_norm`` is the norm whose output the MLP reads: its
    input is the residual stream after attention; None where the MLP reads the stream itself (post-norm models).
    ``attention_norm`` is the norm that attention's output passes before it joins the stream (OLMo 2, Gemma); None where
    it joins as it is.
    ``parallel`` says that the MLP does not see this block's attention output (GPT-NeoX, Falcon): the stream after
    attention is then block input + attention output, and no module reads it.
    """

    index: int
    name: str
    module: nn.Module
    norms: tuple[Norm, ...]
    attention: Attention | None
    mlp: Sublayer | None
    mlp_norm: Norm | None
    attention_norm: Norm | None
    parallel: bool


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A model's parts; found by :func:`equipoise.models.find_anatomy`.

    ``backbone`` is the text decoder without the head; its output's ``last_hidden_state`` is what ``head`` takes.
    ``tied`` says that the head's weight is the token embedding; ``prefix`` that the backbone looks at later tokens
    unless a mask forbids it (PaliGemma).
    """

    backbone: nn.Module
    backbone_name: str
    blocks: tuple[Block, ...]
    final_norm: Norm | None
    head: nn.Module
    head_name: str
    hidden_size: int
    tied: bool
    logit_map: LogitMap | None
    prefix: bool = False

    @property
    def norms(self) -> tuple[Norm, ...]:
        """Every norm of every block in execution order, without the final one."""
        return tuple(norm for block in self.blocks for norm in block.norms)

    @property
    def all_norms(self) -> tuple[Norm, ...]:
        """:attr:`norms`, and the final one last if there is one."""
        return self.norms if self.final_norm is None else (*self.norms, self.final_norm)

    def sites(self, kind: SiteKind | None = None) -> tuple[str, ...]:
        """The names of all sites, or of those of one kind, in execution order of the blocks.

        The final norm is a site, but of no block: it is in the full list and not in ``sites("norm")``.
        """
        if kind is not None and kind not in SITE_KINDS:
            raise InputError(f"there is no kind of site {kind!r}: there are {', '.join(SITE_KINDS)}")
        wanted = self._sites.values()
        return tuple(s.name for s in wanted if kind is None or (s.kind == kind and s.name != "final.norm"))

    def site(self, name: str) -> Site:
        """The site called ``name``. Raises :class:`InputError` that says which there are."""
        if name in self._sites:
            return self._sites[name]
        per_block = [
            s.name.partition(".")[2].partition(".")[2] for s in self._sites.values() if s.name != "final.norm"
        ]
        kinds = ", ".join(f"block.i.{part}" for part in dict.fromkeys(per_block))
        final = " and final.norm" if "final.norm" in self._sites else ""
        raise InputError(
            f"there is no site {name!r}: this model has {kinds} for i from 0 to {len(self.blocks) - 1}{final}"
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocabulary] from the backbone's last hidden states [..., d], exactly as the model makes them.

        Raises :class:`InputError` if the model does something to its logits that was not recognised.
        """
        if self.logit_map is None:
            raise InputError(
                f"backbone and head ({self.head_name}) alone don't give this model's logits: there is a further layer"
                " between them, or something other than a scale or a soft cap after them; call the whole model"
            )
        return self.logit_map(self.head(hidden))

    @cached_property
    def _sites(self) -> dict[str, Site]:
        found: list[Site] = []
        for block in self.blocks:
            start = f"block.{block.index}"
            found += [Site(n.site, "norm", n.module, n.name, "output", n.width) for n in block.norms]
            if block.attention is not None:
                if block.attention.heads is not None:
                    p = block.attention.heads.projection
                    found.append(Site(f"{start}.heads", "heads", p.module, p.name, "input", p.width_in))
                found.append(self._output_site(f"{start}.attn", "attn", block.attention))
            if block.mlp is not None:
                found.append(self._output_site(f"{start}.mlp", "mlp", block.mlp))
            found.append(Site(f"{start}.out", "out", block.module, block.name, "output", self.hidden_size))
        if self.final_norm is not None:
            n = self.final_norm
            found.append(Site(n.site, "norm", n.module, n.name, "output", n.width))
        return {site.name: site for site in found}

    def _output_site(self, name: str, kind: SiteKind, sublayer: Sublayer) -> Site:
        part = sublayer.projection or sublayer
        return Site(name, kind, part.module, part.name, "output", self.hidden_size)
