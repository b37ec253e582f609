"""Reading one decoder block from what was seen of its modules in the traced pass (see :mod:`.trace`)."""

from collections.abc import Sequence
from itertools import takewhile

from torch import Tensor, nn

from .anatomy import Attention, Block, Heads, Projection, Sublayer
from .norms import Norm, could_be_norm, recognise_norm
from .trace import Call, agree, mixed


def read_block(
    index: int, block: Call, calls: Sequence[Call], n_heads: int | None, n_kv_heads: int | None
) -> Block:
    """Block ``index`` from the calls inside it, in the order in which they were entered.

    The last positions of rows 0 and 1 must be equal where the block is entered. ``n_heads`` and ``n_kv_heads`` are
    the config's numbers; heads are left out where they don't fit the output projection.
    """
    width = block.width_out or 0
    attention_call = _find_attention(calls)
    inside = [c for c in calls if attention_call is not None and c.within(attention_call)]
    outside = [c for c in calls if c is not attention_call and c not in inside]
    norm_calls = _find_norms(index, outside, width)
    attention, attention_norm = None, None
    if attention_call is not None:
        projection = _find_projection(attention_call, inside, width)
        output = projection if _gives_output(attention_call, projection) else None
        if projection is None:
            output = projection = _projection_after(attention_call, outside, width)
        heads = _find_heads(attention_call, inside, projection, n_heads, n_kv_heads)
        attention = Attention(attention_call.name, attention_call.module, _as_projection(output), heads)
        attention_norm = _norm_after(output or attention_call, norm_calls)
        outside = [c for c in outside if c is not projection and not (projection and projection.within(c))]
    mlp_call = _find_mlp(outside, attention_call, [c for c, _ in norm_calls], width)
    mlp, mlp_norm, parallel = None, None, False
    if mlp_call is not None:
        last = _find_projection(
            mlp_call, [c for c in outside if c.within(mlp_call)], width, sees_others=False
        )
        output = last if _gives_output(mlp_call, last) else None
        mlp = Sublayer(mlp_call.name, mlp_call.module, _as_projection(output))
        entry = _entry(mlp_call, outside, width)
        mlp_norm = _norm_before(entry, outside, norm_calls)
        parallel = attention is not None and entry.input is not None and not mixed(entry.input)
    norms = tuple(norm for _, norm in norm_calls)
    return Block(index, block.name, block.module, norms, attention, mlp, mlp_norm, attention_norm, parallel)


def is_linear(call: Call) -> bool:
    """Whether the module maps token vectors by one matrix: nn.Linear, GPT-2's Conv1D, a quantised layer."""
    return call.width_in is not None and call.width_out is not None and _holds_one_matrix(call.module)


def _holds_one_matrix(module: nn.Module) -> bool:
    if next(module.children(), None) is not None:
        return False
    tensors: list[Tensor] = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return any(tensor.ndim == 2 for tensor in tensors) and all(tensor.ndim <= 2 for tensor in tensors)


def _holds_matrix(module: nn.Module) -> bool:
    return any(tensor.ndim >= 2 for tensor in [*module.parameters(), *module.buffers()])


def _mixes(call: Call) -> bool:
    return call.input is not None and call.output is not None and not mixed(call.input) and mixed(call.output)


def _find_attention(calls: Sequence[Call]) -> Call | None:
    mixing = [c for c in calls if _mixes(c)]
    # Shifts and convolutions over tokens mix too; the sublayer is what has linear layers around the mixing.
    mixing = [c for c in mixing if any(is_linear(other) for other in calls if other.within(c))]
    innermost = [c for c in mixing if not any(other.within(c) for other in mixing)]
    # Where attention and a state-space layer stand side by side (Falcon-H1), attention is meant.
    return min(innermost, key=lambda c: _convolves(c.module), default=None)


def _convolves(module: nn.Module) -> bool:
    """Whether the module has a convolution over tokens: state-space and linear-attention layers do, attention not."""
    return any(isinstance(part, nn.Conv1d) for part in module.modules())


def _find_projection(
    sublayer: Call, inside: Sequence[Call], width: int, *, sees_others: bool = True
) -> Call | None:
    """The last linear layer of ``sublayer`` that gives ``width``; in attention, one that takes mixed tokens."""
    if is_linear(sublayer):
        return sublayer
    linears = [c for c in inside if is_linear(c) and c.width_out == width]
    linears = [c for c in linears if not sees_others or (c.input is not None and mixed(c.input))]
    return linears[-1] if linears else None


def _projection_after(attention: Call, outside: Sequence[Call], width: int) -> Call | None:
    """The linear layer that takes what ``attention`` gives, where it stands in a module beside it (BERT)."""
    linears = (c for c in outside if is_linear(c) and c.width_out == width)
    return next((c for c in linears if _same(c.input, attention.output)), None)


def _gives_output(sublayer: Call, projection: Call | None) -> bool:
    """Whether the sublayer returns the projection's output, or that plus one of its own inputs (a residual)."""
    if projection is None or projection.output is None or sublayer.output is None:
        return False
    out, last = sublayer.output, projection.output
    residuals = [value for value in sublayer.inputs if value.shape == last.shape]
    return agree(out, last) or any(agree(out, last + value) for value in residuals)


def _as_projection(call: Call | None) -> Projection | None:
    if call is None:
        return None
    return Projection(call.name, call.module, call.width_in or 0, call.width_out or 0)


def _find_heads(
    attention: Call,
    inside: Sequence[Call],
    projection: Call | None,
    n_heads: int | None,
    n_kv_heads: int | None,
) -> Heads | None:
    described = _as_projection(projection)
    if described is None or not n_heads or described.width_in % n_heads or _convolves(attention.module):
        return None
    head_dim = described.width_in // n_heads
    before = takewhile(lambda c: c is not projection, inside)
    widths = [c.width_out or 0 for c in before if is_linear(c) and c.width_in == attention.width_in]
    # Queries, keys and values, fused or not, are (n_heads + 2 n_kv_heads) * head_dim wide together. The config's
    # number comes first where there are keys of that width, because a gate on the queries would be counted too.
    seen, rest = divmod(sum(widths) - described.width_in, 2 * head_dim)
    if n_kv_heads and n_kv_heads * head_dim in widths:
        seen = n_kv_heads
    elif rest or seen < 1:
        seen = n_kv_heads or n_heads
    return Heads(described, n_heads, seen, head_dim) if n_heads % seen == 0 else None


def _find_norms(index: int, calls: Sequence[Call], width: int) -> list[tuple[Call, Norm]]:
    found: list[tuple[Call, Norm]] = []
    for call in calls:
        if (
            call.input is not None
            and call.width_in == call.width_out == width
            and could_be_norm(call.module, width)
        ):
            site = f"block.{index}.norm.{len(found)}"
            norm = recognise_norm(site, call.name, call.module, call.input)
            if norm is not None and all(norm.module is not other.module for _, other in found):
                found.append((call, norm))
    return found


def _find_mlp(
    outside: Sequence[Call], attention: Call | None, norms: Sequence[Call], width: int
) -> Call | None:
    candidates = [
        c
        for c in outside
        if c.width_in == c.width_out == width
        and _holds_matrix(c.module)
        and c not in norms
        and not _mixes(c)  # a state-space layer beside attention (Falcon-H1)
    ]
    candidates = [c for c in candidates if attention is None or not attention.within(c)]
    outermost = [c for c in candidates if not any(c.within(other) for other in candidates)]
    if not outermost:  # the block holds the MLP's linear layers itself (OPT): the last one gives the output
        outermost = [c for c in outside if is_linear(c) and c.width_out == width][-1:]
    if not outermost:
        return None

    def likely(call: Call) -> tuple[bool, int]:
        return not _convolves(call.module), sum(p.numel() for p in call.module.parameters())

    return max(reversed(outermost), key=likely)


def _entry(mlp: Call, outside: Sequence[Call], width: int) -> Call:
    """The module that takes the MLP's input: the MLP itself, or the block's first linear layer if that is bare."""
    if not is_linear(mlp):
        return mlp
    return next((c for c in outside if is_linear(c) and c.width_in == width), mlp)


def _norm_before(entry: Call, outside: Sequence[Call], norms: Sequence[tuple[Call, Norm]]) -> Norm | None:
    earlier = list(takewhile(lambda c: c is not entry, outside))
    for call, norm in reversed(norms):
        same = call.output is not None and entry.input is not None and call.output.equal(entry.input)
        if call in earlier and same:
            return norm
    return None


def _norm_after(sublayer: Call, norms: Sequence[tuple[Call, Norm]]) -> Norm | None:
    """The norm that takes what ``sublayer`` gives."""
    return next((norm for call, norm in norms if _same(call.input, sublayer.output)), None)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and agree(a, b)
