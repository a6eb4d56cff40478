"""Operators over several residual branches (hyper-connections): BranchwiseRMSNorm, HyperConnectionPreMix, HyperConnectionPostMix.

C branches of H features lie in grouped (…, C, H) or flattened (…, C·H) tensors. Spec: onnxruntime's operator schemas, domain com.microsoft
"""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.normalization import scaled_by_root_mean_square
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

_DOMAIN = "com.microsoft"
FLOATS = frozenset({"float", "float16", "bfloat16"})


def grouped_shape(name: str, shape: tuple[int, ...], num_branches: int) -> tuple[int, ...]:
    """(…, C, H) of a tensor that has this shape, or (…, C·H) if `num_branches` is given.

    Raises:
        InvalidArgument: the shape has no branches, or not as many.
    """
    if num_branches < 0 or len(shape) < (1 if num_branches else 2) or (num_branches and shape[-1] % num_branches):
        wanted = f"(…, {num_branches} * H)" if num_branches else "(…, C, H)"
        raise InvalidArgument(f"{name}: expected a tensor of shape {wanted} with num_branches={num_branches}, got shape {list(shape)}")
    return (*shape[:-1], num_branches, shape[-1] // num_branches) if num_branches else shape


def _gates(name: str, gates: Array, grouped: tuple[int, ...], flat: bool) -> Array:
    """One gate a branch or a feature, shaped to multiply a tensor of shape `grouped`."""
    *leading, branches, features = grouped
    shapes = [(*leading, branches, 1), (*leading, branches, features)]
    accepted = {(*leading, branches): shapes[0], **{shape: shape for shape in shapes}}
    if flat:
        accepted.setdefault((*leading, branches * features), shapes[1])
    shape = accepted.get(tuple(gates.shape))
    if shape is None:
        raise InvalidArgument(f"{name}: expected gates of shape {' or '.join(str(list(s)) for s in accepted)}, got {list(gates.shape)}")
    return widened(gates).reshape(shape)


@operator("BranchwiseRMSNorm", domain=_DOMAIN, specs=like_first, types=FLOATS)
def branchwise_rms_norm(
    xp: Any, x: Array, scale: Array = None, *, epsilon: float = 1e-5, num_branches: int = 0, out: Array = None
) -> Array:
    """Each branch over its root mean square; the scale is (C·H), (C, H) or (H)."""
    grouped = grouped_shape("BranchwiseRMSNorm", tuple(x.shape), num_branches)
    result, _ = scaled_by_root_mean_square(xp, widened(x).reshape(grouped), (len(grouped) - 1,), epsilon)
    if scale is not None:
        branches, features = grouped[-2:]
        if tuple(scale.shape) not in ((branches * features,), (branches, features), (features,)):
            raise InvalidArgument(
                f"BranchwiseRMSNorm: expected a scale of shape [{branches * features}], [{branches}, {features}] or [{features}], "
                f"got {list(scale.shape)}"
            )
        result = result * widened(scale).reshape((-1, features) if scale.size != features else (features,))
    return stored(xp, result.reshape(x.shape), x.dtype, out)


def _pre_mix_specs(x: Array, *_: Any, num_branches: int = 0, **__: Any) -> Spec:
    grouped = grouped_shape("HyperConnectionPreMix", tuple(x.shape), num_branches)
    return Spec((*grouped[:-2], grouped[-1]), x.dtype)


@operator("HyperConnectionPreMix", domain=_DOMAIN, specs=_pre_mix_specs, types=FLOATS)
def hyper_connection_pre_mix(
    xp: Any, streams: Array, pre_mix: Array, *, num_branches: int = 0, reduction_scale: float = 1.0, out: Array = None
) -> Array:
    """reduction_scale · the sum over branches of stream times gate; gates are (…, C), (…, C, 1), (…, C, H) or, if flat, (…, C·H)."""
    grouped = grouped_shape("HyperConnectionPreMix", tuple(streams.shape), num_branches)
    gates = _gates("HyperConnectionPreMix", pre_mix, grouped, num_branches > 0)
    mixed = xp.sum(widened(streams).reshape(grouped) * gates, axis=-2)
    return stored(xp, mixed * mixed.dtype.type(reduction_scale), streams.dtype, out)


@operator("HyperConnectionPostMix", domain=_DOMAIN, specs=like_first, types=FLOATS)
def hyper_connection_post_mix(
    xp: Any, streams: Array, block_output: Array, post_mix: Array, stream_mix: Array = None, *, num_branches: int = 0, out: Array = None
) -> Array:
    """Branch k: the sum over c of stream_mix[c, k] · streams[c] (without one: streams[k]), plus post_mix[k] · block_output.

    post_mix is (…, C), (…, C, 1) or (…, C, H), stream_mix (…, C, C), block_output (…, H).
    """
    name = "HyperConnectionPostMix"
    *leading, branches, features = grouped = grouped_shape(name, tuple(streams.shape), num_branches)
    if tuple(block_output.shape) != (*leading, features):
        raise InvalidArgument(f"{name}: expected block_output of shape {[*leading, features]}, got {list(block_output.shape)}")
    if stream_mix is not None and tuple(stream_mix.shape) != (*leading, branches, branches):
        raise InvalidArgument(f"{name}: expected stream_mix of shape {[*leading, branches, branches]}, got {list(stream_mix.shape)}")
    mixed = widened(streams).reshape(grouped)
    if stream_mix is not None:
        mixed = xp.matmul(xp.swapaxes(widened(stream_mix), -1, -2), mixed)
    mixed = mixed + _gates(name, post_mix, grouped, False) * widened(block_output)[..., None, :]
    return stored(xp, mixed.reshape(streams.shape), streams.dtype, out)
