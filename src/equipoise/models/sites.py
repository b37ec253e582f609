"""Sites: the named places of a model where activations are read and edited.

Names are the same for every architecture and are what files and messages use:

=================  ==============================================================================================
``block.i.norm.j``  output of the j-th norm of block i, in the order in which they run (q/k norms are not counted)
``block.i.heads``   input of the attention's output projection: the heads side by side, ``n_heads * head_dim`` wide
``block.i.attn``    output of the attention sublayer, before any residual is added
``block.i.mlp``     output of the MLP sublayer, before any residual is added
``block.i.out``     the residual stream after block i
``final.norm``      output of the norm before the head
=================  ==============================================================================================
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

SiteKind = Literal["norm", "heads", "attn", "mlp", "out"]
SITE_KINDS: tuple[SiteKind, ...] = ("norm", "heads", "attn", "mlp", "out")


@dataclass(frozen=True, eq=False)
class Site:
    """One place of a model.

    ``where`` says which side of ``module`` (called ``path`` in the model) carries the activation, and ``width`` is the
    activation's last dimension. The activation is [B, T, width], but OPT hands it over flattened, [B*T, width].
    """

    name: str
    kind: SiteKind
    module: nn.Module
    path: str
    where: Literal["input", "output"]
    width: int
