"""Kernels generated from elementwise expressions: one pass over memory, whatever the chain.

An expression is a list of steps `"<operator> <operand> …"`; an operand is `3` (input 3), `%0` (the result of step 0) or `=0.5` (a
constant), and the last step's result is the result. For `["Sigmoid 0", "Mul 0 %0"]` the source is

    struct Expression {
        template <typename A> __device__ A operator()(A x0) const {
            const A s0 = sigmoid(x0);
            const A s1 = x0 * s0;
            return s1;
        }
    };

between `elementwise.cuh`, which walks the arrays, and a kernel that calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from struct import pack

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array
from onnxgpu.providers.cuda.device import compiles_checked, cupy
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Function, blocks_for, by_value, compiled

MOST_OPERANDS = 6
MOST_AXES = 8
_MOST_BLOCKS = 65535

FORMS = {
    "Add": "{0} + {1}", "Sub": "{0} - {1}", "Mul": "{0} * {1}", "Div": "{0} / {1}", "Pow": "power({0}, {1})",
    "CutPow": "power_to_cut({0}, {1})", "Mod": "floored_remainder({0}, {1})", "Fmod": "truncated_remainder({0}, {1})",
    "Max": "maximum({0}, {1})", "Min": "minimum({0}, {1})", "Clip": "clip({0}, {1}, {2})", "Neg": "-{0}", "Abs": "absolute({0})",
    "Reciprocal": "A(1) / {0}", "Exp": "exponential({0})", "Log": "logarithm({0})", "Sqrt": "square_root({0})", "Square": "{0} * {0}",
    "Sin": "sine({0})", "Cos": "cosine({0})", "Tan": "tangent({0})", "Asin": "arc_sine({0})", "Acos": "arc_cosine({0})",
    "Atan": "arc_tangent({0})", "Sinh": "hyperbolic_sine({0})", "Cosh": "hyperbolic_cosine({0})", "Tanh": "hyperbolic_tangent({0})",
    "Asinh": "area_sine({0})", "Acosh": "area_cosine({0})", "Atanh": "area_tangent({0})", "Ceil": "round_up({0})",
    "Floor": "round_down({0})", "Round": "round_to_even({0})", "Sign": "sign({0})", "Erf": "error_function({0})", "Relu": "relu({0})",
    "Sigmoid": "sigmoid({0})", "Silu": "silu({0})", "QuickGelu": "quick_gelu({0}, {1})", "LeakyRelu": "leaky_relu({0}, {1})",
    "ThresholdedRelu": "thresholded_relu({0}, {1})", "Elu": "elu({0}, {1})", "Celu": "celu({0}, {1})", "Selu": "selu({0}, {1}, {2})",
    "HardSigmoid": "hard_sigmoid({0}, {1}, {2})", "HardSwish": "hard_swish({0})", "Softplus": "softplus({0})",
    "Softsign": "softsign({0})", "Mish": "mish({0})", "Gelu": "gelu({0})", "GeluTanh": "gelu_tanh({0})", "Shrink": "shrink({0}, {1}, {2})",
}  # fmt: skip
"""Step → its formula over accumulators, on floats."""

INTEGER_FORMS = {"ShiftLeft": "shift_left({0}, {1})", "ShiftRight": "shift_right({0}, {1})", "IntegerPow": "integer_power({0}, {1})"}
"""The same on integers."""

_ALL_FORMS = FORMS | INTEGER_FORMS

_KERNEL = """#include "elementwise.cuh"
struct {name} {{
    template <typename A> __device__ A operator()({parameters}) const {{
{steps}
        return s{last};
    }}
}};
extern "C" __global__ void __launch_bounds__(256) {name}_dense(Operands<{T}, {N}> x, {T}* y, long long count) {{
    elementwise_dense<{T}, {name}, {N}, {scalars}>(x, y, count);
}}
extern "C" __global__ void __launch_bounds__(256) {name}_broadcast(Operands<{T}, {N}> x, {T}* y, Layout<{N}> layout, long long count) {{
    elementwise_broadcast<{T}, {name}, {N}, {axes}, {width}>(x, y, layout, count);
}}
"""


def source(
    steps: Sequence[str], dtype: np.dtype, operands: int, scalars: int = 0, axes: int = 1, name: str = "Expression", width: int = 1
) -> str:
    """The CUDA C++ of an expression: the kernels `<name>_dense` and `<name>_broadcast`.

    Args:
        steps: see the module's docstring.
        dtype: of all operands and the result.
        operands: how many inputs it reads.
        scalars: bit n is set if operand n has one element (for the kernel `dense`).
        axes: collapsed axes of the result (for the kernel `broadcast`).
        name: what the function object is called.
        width: elements of a load (for the kernel `broadcast`).

    Raises:
        InvalidGraph: a step is no known operator, or has the wrong operands.
    """
    lines = [f"        const A s{position} = {_formula(step, position, operands)};" for position, step in enumerate(steps)]
    parameters = ", ".join(f"A x{n}" for n in range(operands))
    return _KERNEL.format(
        name=name,
        parameters=parameters,
        steps="\n".join(lines),
        last=len(steps) - 1,
        T=C_TYPES[name_of(dtype)],
        N=operands,
        scalars=scalars,
        axes=axes,
        width=width,
    )


def _formula(step: str, position: int, operands: int) -> str:
    name, *words = step.split()
    form = _ALL_FORMS.get(name)
    if form is None or len(words) != _arity(form):
        raise InvalidGraph(f"step {position} of an elementwise expression, {step!r}: no such operator, or not its number of operands")
    return form.format(*(_operand(word, position, operands, step) for word in words))


def _arity(form: str) -> int:
    return 1 + max(n for n in range(4) if f"{{{n}}}" in form)


def _operand(word: str, position: int, operands: int, step: str) -> str:
    if word.startswith("="):
        return f"A({_literal(float(word[1:]))})"
    index, limit = (int(word[1:]), position) if word.startswith("%") else (int(word), operands)
    if not 0 <= index < limit:
        raise InvalidGraph(f"step {position} of an elementwise expression, {step!r}: operand {word!r} is not there")
    return f"s{index}" if word.startswith("%") else f"x{index}"


def _literal(value: float) -> str:
    if value != value:
        return "-(infinity<A>() - infinity<A>())"
    if value in (float("inf"), float("-inf")):
        return f"{'-' if value < 0 else ''}infinity<A>()"
    return repr(value)


def arity(operator: str) -> int:
    """How many operands a step with this operator has."""
    return _arity(_ALL_FORMS[operator])


def evaluate(steps: Sequence[str], inputs: Sequence[Array], out: Array) -> None:
    """Write the expression's result for `inputs`, which broadcast to `out`'s shape, into `out`, a dense array."""
    if out.size == 0:
        return
    expression, layouts = tuple(steps), tuple([(x.shape, x.strides) for x in inputs])
    launch = _launch_for(layouts, out.shape, out.itemsize)
    device = cupy().cuda.runtime.getDevice()
    shape = (launch.scalars, launch.axes, launch.width)
    kernel = _compiled(expression, out.dtype, len(inputs), shape, launch.name, device, compiles_checked())
    pointers = pack(f"{len(inputs)}Q", *[x.data.ptr for x in inputs])
    kernel.launch(launch.blocks, THREADS, pointers, out, *launch.layout, out.size)


@dataclass(frozen=True, slots=True)
class _Launch:
    """Which kernel suits operands of certain layouts, and its launch; see `source` for `scalars`, `axes` and `width`."""

    name: str
    scalars: int
    axes: int
    width: int
    blocks: int
    layout: tuple[np.void, ...]


@lru_cache(maxsize=4096)
def _launch_for(layouts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], shape: tuple[int, ...], itemsize: int) -> _Launch:
    """For inputs of these shapes and strides in bytes."""
    size = prod(shape)
    if all(prod(each) == 1 or (each == shape and _is_dense(each, strides, itemsize)) for each, strides in layouts):
        scalars = 0 if size == 1 else sum(1 << n for n, (each, _) in enumerate(layouts) if prod(each) == 1)
        return _Launch("dense", scalars, 1, 1, _blocks_for(size, max(1, 16 // itemsize)), ())
    sizes, joined = collapsed(shape, [_steps_over(each, strides, len(shape), itemsize) for each, strides in layouts])
    width = max(1, 16 // itemsize)
    if sizes[-1] % width or not all(steps[-1] in (0, 1) and not any(step % width for step in steps[:-1] if steps[-1]) for steps in joined):
        width = 1
    return _Launch("broadcast", 0, len(sizes), width, _blocks_for(size, width), (layout_of(sizes, joined),))


def _blocks_for(size: int, per_thread: int) -> int:
    return blocks_for(-(-size // per_thread), most=_MOST_BLOCKS)


def _is_dense(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """True if the elements lie in C order without gaps; along an axis of one element there is no step."""
    step = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def collapsed(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Sizes and strides with neighbouring axes joined wherever every operand lets them be.

    Args:
        shape: of the result.
        strides: in elements, for each operand one an axis; 0 where it repeats.
    """
    sizes: list[int] = []
    joined: list[list[int]] = [[] for _ in strides]
    for axis in reversed(range(len(shape))):
        size = shape[axis]
        if size == 1:
            continue
        steps = [each[axis] for each in strides]
        if sizes and all(step == kept[-1] * sizes[-1] for step, kept in zip(steps, joined, strict=True)):
            sizes[-1] *= size
            continue
        sizes.append(size)
        for step, kept in zip(steps, joined, strict=True):
            kept.append(step)
    if not sizes:
        return [1], [[0] for _ in strides]
    return sizes[::-1], [kept[::-1] for kept in joined]


def can_broadcast(shapes: Sequence[Sequence[int]]) -> bool:
    """True if the arrays are few enough, and of ranks, that a generated kernel takes."""
    return len(shapes) <= MOST_OPERANDS and all(len(shape) <= MOST_AXES for shape in shapes)


def strides_over(array: Array, shape: tuple[int, ...]) -> list[int]:
    """In elements, for each axis of `shape`; 0 where the array repeats."""
    return _steps_over(array.shape, array.strides, len(shape), array.itemsize)


def _steps_over(shape: Sequence[int], strides: Sequence[int], rank: int, itemsize: int) -> list[int]:
    own = [0 if size == 1 else stride // itemsize for size, stride in zip(shape, strides, strict=True)]
    return [0] * (rank - len(shape)) + own


def layout_of(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> np.void:
    """`Layout` of elementwise.cuh: sizes, and the strides of each operand."""
    pad = MOST_AXES - len(sizes)
    rows = [[1] * pad + list(sizes), *([0] * pad + list(each) for each in strides)]
    return by_value(np.array(rows, np.int64))


@cache
def _compiled(
    steps: tuple[str, ...], dtype: np.dtype, operands: int, shape: tuple[int, int, int], name: str, device: int, checked: bool
) -> Function:
    scalars, axes, width = shape
    kernel = compiled(source(steps, dtype, operands, scalars, axes, width=width)).get_function(f"Expression_{name}")
    return Function(kernel, f"Expression_{name}", "spl" if name == "dense" else "spsl")
