"""Loading any Hugging Face language model, and its anatomy: blocks, norms, heads and the sites that edits act on."""

from .anatomy import Anatomy, Attention, Block, Heads, Projection, Sublayer
from .cache import cache_folder
from .compiled import is_compiled
from .discovery import find_anatomy
from .fingerprint import Fingerprint
from .info import ModelInfo, describe
from .loaded import LoadedModel
from .loading import load
from .logits import LogitMap
from .norms import Norm
from .offloaded import is_offloaded, refuse_offloaded
from .outputs import hidden_of, replace_hidden
from .sites import SITE_KINDS, Site, SiteKind
from .trace import causal_mask, ordinary_tokens, speaker, token_device, undisturbed
from .weights import weights_digest

__all__ = [
    "SITE_KINDS",
    "Anatomy",
    "Attention",
    "Block",
    "Fingerprint",
    "Heads",
    "LoadedModel",
    "LogitMap",
    "ModelInfo",
    "Norm",
    "Projection",
    "Site",
    "SiteKind",
    "Sublayer",
    "cache_folder",
    "causal_mask",
    "describe",
    "find_anatomy",
    "hidden_of",
    "is_compiled",
    "is_offloaded",
    "load",
    "ordinary_tokens",
    "refuse_offloaded",
    "replace_hidden",
    "speaker",
    "token_device",
    "undisturbed",
    "weights_digest",
]
