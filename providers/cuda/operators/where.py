"""Where, on elements of any type: only their bits are moved."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.comparison import where_specs
from onnxgpu.providers.cuda.generated import collapsed, strides_over
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import MOST_AXES, UNITS, axes_of

DENSE = Template("where.cu", "choose_dense<{bytes}>", "ppppil", bytes=UNITS)
BROADCAST = Template("where.cu", "choose_broadcast<{bytes}>", "ppppssl", bytes=UNITS)


def _many_axes(operation: Operation) -> str | None:
    is_known = all(value is not None and value.shape is not None and len(value.shape) <= MOST_AXES for value in operation.inputs)
    return None if is_known else f"needs to know that its inputs have at most {MOST_AXES} dimensions"


@operator("Where", since=9, specs=where_specs, when=_many_axes)
@takes_narrow
def where(xp: Any, condition: Array, x: Array, y: Array, *, out: Array = None) -> Array:
    """x where the condition holds, y elsewhere. Spec: https://onnx.ai/onnx/operators/onnx__Where.html"""
    spec = where_specs(condition, x, y)
    assert spec is not None
    result = result_for(xp, spec, out)
    operands = [condition, bits_of(x), bits_of(y)]
    itemsize = operands[1].itemsize
    if all((a.shape == spec.shape and a.flags.c_contiguous) or (a is not condition and a.size == 1) for a in operands):
        scalars = sum(bit for bit, a in zip((1, 2), operands[1:], strict=True) if a.shape != spec.shape)
        blocks = blocks_for(-(-spec.size * itemsize // 16))
        DENSE.instance(bytes=itemsize).launch(blocks, THREADS, *operands, result, scalars, spec.size)
        return result
    sizes, (flags, first, second) = collapsed(spec.shape, [strides_over(a, spec.shape) for a in operands])
    structures = axes_of(sizes, first, second), axes_of(sizes, flags)
    BROADCAST.instance(bytes=itemsize).launch(blocks_for(spec.size), THREADS, *operands, result, *structures, spec.size)
    return result
