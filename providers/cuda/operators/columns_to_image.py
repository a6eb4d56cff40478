"""Col2Im: each element of the image gathers what the blocks over it have there."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.blocks import block_counts, col2im_spec
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

TO_IMAGE = Template("columns_to_image.cu", "columns_to_image<{T}>", "pps", T=FLOATS)

_MOST_AXES = 8


def _refusal(operation: Operation) -> str | None:
    sizes = operation.inputs[1]
    rank = sizes.shape[0] if sizes is not None and sizes.shape is not None and len(sizes.shape) == 1 else None
    return None if isinstance(rank, int) and rank <= _MOST_AXES else f"needs to know that the image has at most {_MOST_AXES} axes"


@operator("Col2Im", since=18, specs=col2im_spec, host=("image_shape", "block_shape"), types=FLOAT_NAMES, when=_refusal)
def col2im(
    xp: Any,
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """The image [N,C,…] whose overlapping blocks are the columns [N,C·block,L]. Spec: https://onnx.ai/onnx/operators/onnx__Col2Im.html"""
    spec = col2im_spec(x, image_shape, block_shape)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    image, block = spec.shape[2:], integers(block_shape)
    rank = len(block)
    dilations, strides, pads = dilations or [1] * rank, strides or [1] * rank, pads or [0] * (2 * rank)
    counts = block_counts(x, image, block, dilations, strides, pads)
    planes, padding = prod(spec.shape[:2]), [1] * (_MOST_AXES - rank)
    axes = (number for each in (image, block, counts, strides, dilations, pads[:rank]) for number in (*each, *padding))
    columns = structure(rank, planes, prod(block), prod(counts), prod(image), *axes)
    TO_IMAGE.instance(T=x.dtype).launch(blocks_for(result.size), THREADS, dense(xp, x), result, columns)
    return result
