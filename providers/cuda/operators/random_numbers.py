"""Random tensors and Dropout in training, from a counter-based generator: what is drawn depends on the seed and the place alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of, name_of
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense, whole_warps
from onnxgpu.providers.cuda.operators.cast import converted
from onnxgpu.providers.cuda.operators.scans import scanned
from onnxgpu.providers.cuda.registry import array_specs, operator
from onnxgpu.seeds import next_seed

UNIFORM = Template("random.cu", "draw_uniform<{T}>", "plldd", T=FLOATS)
NORMAL = Template("random.cu", "draw_normal<{T}>", "plldd", T=FLOATS)
BERNOULLI = Template("random.cu", "draw_bernoulli<{T}>", "ppll", T=FLOATS)
WEIGHTS = Template("random.cu", "choice_weights<{T}>", "ppll", T=FLOATS)
CHOICES = Template("random.cu", "draw_choices<{T}>", "ppllll", T=("int", "long long"))
DROPOUT = Template("random.cu", "drop_out<{T}>", "ppppplllddb", T=FLOATS)

_MOST_BLOCKS = 4096
_blocks = partial(blocks_for, most=_MOST_BLOCKS)


def series(seed: float | None) -> int:
    """The number that names the series to draw from: of the node's own seed, the next of `set_seed`'s, or any."""
    if seed is not None:
        return int(np.float64(seed).view(np.int64))
    drawn = next_seed()
    return int(np.uint64(np.random.SeedSequence().generate_state(1, np.uint64)[0] if drawn is None else drawn).view(np.int64))


def _asked_type(operation: Operation) -> str | None:
    asked = operation.attributes.get("dtype")
    if asked is None and operation.inputs and operation.inputs[0] is not None and operation.inputs[0].dtype is not None:
        return _refusal(operation.inputs[0].dtype)
    return _refusal(dtype_of(1 if asked is None else asked))


def _refusal(dtype: np.dtype) -> str | None:
    return None if name_of(dtype) in FLOAT_NAMES else f"draws floats, not {name_of(dtype)}"


def _draw(xp: Any, kernel: Template, shape: tuple[int, ...], dtype: np.dtype, seed: float | None, out: Array, *numbers: float) -> Array:
    result = xp.empty(shape, dtype) if out is None else out
    kernel.instance(T=dtype).launch(_blocks(result.size), THREADS, result, result.size, series(seed), *numbers)
    return result


@operator("RandomNormal", specs=array_specs("RandomNormal"), deterministic=False, when=_asked_type)
def random_normal(
    xp: Any, *, shape: tuple[int, ...], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """Normal with this mean and standard deviation. Spec: https://onnx.ai/onnx/operators/onnx__RandomNormal.html"""
    return _draw(xp, NORMAL, tuple(shape), dtype_of(dtype), seed, out, mean, scale)


@operator("RandomNormalLike", specs=array_specs("RandomNormalLike"), shape_only=("x",), deterministic=False, when=_asked_type)
def random_normal_like(
    xp: Any, x: Array, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """As `random_normal`, with the shape of x. Spec: https://onnx.ai/onnx/operators/onnx__RandomNormalLike.html"""
    return _draw(xp, NORMAL, tuple(x.shape), dtype_of(dtype) if dtype else x.dtype, seed, out, mean, scale)


@operator("RandomUniform", specs=array_specs("RandomUniform"), deterministic=False, when=_asked_type)
def random_uniform(
    xp: Any, *, shape: tuple[int, ...], dtype: int = 1, low: float = 0.0, high: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """Uniform in [low, high). Spec: https://onnx.ai/onnx/operators/onnx__RandomUniform.html"""
    return _draw(xp, UNIFORM, tuple(shape), dtype_of(dtype), seed, out, low, high)


@operator("RandomUniformLike", specs=array_specs("RandomUniformLike"), shape_only=("x",), deterministic=False, when=_asked_type)
def random_uniform_like(
    xp: Any, x: Array, *, dtype: int | None = None, low: float = 0.0, high: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """As `random_uniform`, with the shape of x. Spec: https://onnx.ai/onnx/operators/onnx__RandomUniformLike.html"""
    return _draw(xp, UNIFORM, tuple(x.shape), dtype_of(dtype) if dtype else x.dtype, seed, out, low, high)


@operator("Bernoulli", since=15, specs=array_specs("Bernoulli"), deterministic=False, types=FLOAT_NAMES)
def bernoulli(xp: Any, x: Array, *, dtype: int | None = None, seed: float | None = None, out: Array = None) -> Array:
    """1 with probability x, else 0. Spec: https://onnx.ai/onnx/operators/onnx__Bernoulli.html"""
    wanted = dtype_of(dtype) if dtype else x.dtype
    drawn = out if out is not None and wanted == x.dtype else xp.empty(x.shape, x.dtype)
    BERNOULLI.instance(T=x.dtype).launch(_blocks(x.size), THREADS, dense(xp, x), drawn, x.size, series(seed))
    return drawn if wanted == x.dtype else converted(xp, drawn, wanted, True, "up", out)


@operator("Multinomial", since=7, specs=array_specs("Multinomial"), deterministic=False, types=FLOAT_NAMES)
def multinomial(xp: Any, x: Array, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None, out: Array = None) -> Array:
    """Class numbers [batch, sample_size], int32 or int64, drawn by unnormalised log-probabilities [batch, classes].

    Spec: https://onnx.ai/onnx/operators/onnx__Multinomial.html
    """
    rows, classes = x.shape
    result = xp.empty((rows, sample_size), dtype_of(dtype)) if out is None else out
    sums = xp.empty((rows, classes), np.float64)
    WEIGHTS.instance(T=x.dtype).launch(min(rows, _MOST_BLOCKS), whole_warps(classes, 512), dense(xp, x), sums, rows, classes)
    scanned(xp, "Sum", sums, classes, 1, sums)
    CHOICES.instance(T=result.dtype).launch(_blocks(result.size), THREADS, sums, result, result.size, sample_size, classes, series(seed))
    return result


def dropped_out(
    xp: Any, data: Array, share: float, seed: int | None, mask: Array | None, out: Array, *, bias: Array = None, residual: Array = None
) -> None:
    """Write data + bias, of which a random `share` is zero and the rest scaled, + residual into `out`, and what is kept into `mask`.

    With a seed the mask is that of ONNX's own test cases, NumPy's Mersenne twister, which is drawn on the host.
    """
    if seed is not None:
        drawn = xp.asarray(np.random.RandomState(seed % 2**32).random_sample(data.shape) >= share)
        if mask is None:
            mask = drawn
        else:
            mask[...] = drawn
    terms = (None if x is None else dense(xp, x) for x in (data, bias, residual))
    repeat = 1 if bias is None else max(bias.size, 1)
    DROPOUT.instance(T=data.dtype).launch(
        _blocks(data.size), THREADS, *terms, out, mask, data.size, repeat, series(None) if seed is None else 0, share,
        1 / (1 - share) if share < 1 else 0.0, seed is not None,
    )  # fmt: skip


def _trains(operation: Operation) -> str | None:
    is_training = len(operation.inputs) > 2 and operation.inputs[2] is not None
    return None if is_training else "is for training; without it nothing is dropped"


@operator("Dropout", since=12, view=True, host=("ratio", "training_mode"), deterministic=False, types=FLOAT_NAMES, when=_trains)
def dropout(
    xp: Any, data: Array, ratio: Array = None, training_mode: Array = None, *, seed: int | None = None, output_count: int = 1
) -> tuple[Array, ...]:
    """In training a random part of the data is zero and the rest scaled by 1 / (1 - ratio); and a mask of what is kept.

    Spec: https://onnx.ai/onnx/operators/onnx__Dropout.html
    """
    share = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
    if not bool(training_mode.reshape(-1)[0]) or share == 0:
        return (data, xp.ones(data.shape, bool))[:output_count]
    result = xp.empty(data.shape, data.dtype)
    mask = xp.empty(data.shape, bool) if output_count > 1 else None
    dropped_out(xp, data, share, seed, mask, result)
    return (result, mask)[:output_count]
