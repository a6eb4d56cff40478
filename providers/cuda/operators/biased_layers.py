"""BiasAdd, BiasSoftmax, BiasSplitGelu, and onnxruntime's forms of dropout, in training one pass over data, bias and residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.biased_layers import DOMAIN, bias_rows, bitmask_specs, dropout_specs, split_gelu_spec
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.generated import evaluate
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.random_numbers import dropped_out
from onnxgpu.providers.cuda.operators.softmax import softmax_flattened
from onnxgpu.providers.cuda.registry import operator

PACK = Template("random.cu", "pack_mask", "ppl")
ALL_BITS = 0xFFFFFFFF

_HOST = ("ratio", "training_mode")


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs[:3] if value is not None]
    return "takes tensors of one element type" if len({value.dtype for value in values}) > 1 else None


@operator("BiasAdd", domain=DOMAIN, specs=like_first, types=FLOAT_NAMES, when=_refusal)
def bias_add(xp: Any, x: Array, bias: Array, skip: Array, *, out: Array = None) -> Array:
    """X + bias + skip. Spec: onnxruntime's ContribOperators.md"""
    result = xp.empty(x.shape, x.dtype) if out is None else out
    evaluate(("Add 0 1", "Add %0 2"), (x, bias, skip), result)
    return result


@operator("BiasSplitGelu", domain=DOMAIN, specs=split_gelu_spec, types=FLOAT_NAMES, when=_refusal)
def bias_split_gelu(xp: Any, x: Array, bias: Array, *, out: Array = None) -> Array:
    """The left half of X + bias times the exact Gelu of the right half. Spec: onnxruntime's ContribOperators.md"""
    spec = split_gelu_spec(x, bias)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    half = spec.shape[-1]
    halves = (x[..., :half], bias[:half], x[..., half:], bias[half:])
    evaluate(("Add 0 1", "Add 2 3", "Gelu %1", "Mul %0 %2"), halves, result)
    return result


@operator("BiasSoftmax", domain=DOMAIN, specs=like_first, types=FLOAT_NAMES, when=_refusal)
def bias_softmax(xp: Any, data: Array, bias: Array, *, axis: int = 1, is_inner_broadcast: int, out: Array = None) -> Array:
    """softmax(data + bias) over all axes from `axis` on. Spec: onnxruntime's ContribOperators.md"""
    result = xp.empty(data.shape, data.dtype) if out is None else out
    if not result.size:
        return result
    x, addend = bias_rows(dense(xp, data), dense(xp, bias), axis, is_inner_broadcast)
    evaluate(("Add 0 1",), (x, addend), result.reshape(x.shape))
    return softmax_flattened(xp, result, axis=axis, out=result)


def _dropped(
    xp: Any, terms: tuple[Array, Array | None, Array | None], how: tuple[Any, Any, int | None], specs: Sequence[Spec], out: Any
) -> tuple[Array, ...]:
    """dropout(data + bias) + residual, and the mask as the second of `specs` says.

    Args:
        xp: CuPy.
        terms: data, bias and residual, the last two of which may be None.
        how: the ratio, whether it is training, and the seed.
        specs: of the results.
        out: memory for them, as `array_ops` functions get it.
    """
    data, bias, residual = terms
    ratio, training_mode, seed = how
    results = tuple(xp.empty(s.shape, s.dtype) for s in specs) if out is None else out if isinstance(out, tuple) else (out,)
    wanted = results[1] if len(results) > 1 else None
    is_packed = wanted is not None and wanted.dtype == np.uint32
    share = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
    if training_mode is not None and bool(training_mode.reshape(-1)[0]) and share:
        mask = xp.empty(data.shape, bool) if is_packed else wanted
        dropped_out(xp, data, share, seed, mask, results[0], bias=bias, residual=residual)
        if is_packed:
            assert wanted is not None and mask is not None
            PACK.instance().launch(blocks_for(wanted.size), THREADS, mask, wanted, mask.size)
        return results
    operands = [x for x in terms if x is not None]
    steps = [f"Add {f'%{n - 1}' if n else 0} {n + 1}" for n in range(len(operands) - 1)]
    evaluate(steps or ("Mul 0 =1",), operands, results[0])
    if wanted is not None:
        wanted.fill(ALL_BITS if is_packed else True)
    return results


@operator("BiasDropout", domain=DOMAIN, specs=dropout_specs, host=_HOST, deterministic=False, types=FLOAT_NAMES, when=_refusal)
def bias_dropout(
    xp: Any,
    data: Array,
    bias: Array,
    residual: Array = None,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data + bias) + residual, and the mask of what was kept. Spec: onnxruntime's ContribOperators.md"""
    specs = dropout_specs(data, output_count=output_count)
    return _dropped(xp, (data, bias, residual), (ratio, training_mode, seed), specs, out)


@operator("BitmaskDropout", domain=DOMAIN, specs=bitmask_specs, host=_HOST, deterministic=False, types=FLOAT_NAMES)
def bitmask_dropout(
    xp: Any,
    data: Array,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data), and the mask of what was kept as bits of uint32. Spec: onnxruntime's ContribOperators.md"""
    specs = bitmask_specs(data, output_count=output_count)
    return _dropped(xp, (data, None, None), (ratio, training_mode, seed), specs, out)


@operator("BitmaskBiasDropout", domain=DOMAIN, specs=bitmask_specs, host=_HOST, deterministic=False, types=FLOAT_NAMES, when=_refusal)
def bitmask_bias_dropout(
    xp: Any,
    data: Array,
    bias: Array,
    residual: Array = None,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data + bias) + residual, and the mask of what was kept as bits. Spec: onnxruntime's ContribOperators.md"""
    specs = bitmask_specs(data, output_count=output_count)
    return _dropped(xp, (data, bias, residual), (ratio, training_mode, seed), specs, out)
