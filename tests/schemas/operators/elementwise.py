"""Operators on single elements: one input of any shape, or several that broadcast."""

from __future__ import annotations

import numpy as np

from onnxgpu.dtypes import code_of, dtype_named, is_integer, name_of
from tests.schemas.draw import Draw, Shape
from tests.schemas.examples import Example, generates


@generates(
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor"),
    *("Gelu", "HardSwish", "Identity", "IsInf", "IsNaN", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Sigmoid"),
    *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh"),
)
def unary(draw: Draw) -> Example:
    """Whole numbers for Erf are small, since its result is cut off and is nearly 1 elsewhere."""
    first = draw.schema.inputs[0].name
    dtype, shape = draw.dtype(first), draw.shape()
    erf_of_integers = draw.schema.name == "Erf" and is_integer(dtype)
    x = draw.plain(dtype, shape, -1, 1) if erf_of_integers else draw.anything(dtype, shape)
    attributes = draw.some(
        {
            "approximate": lambda: draw.among(["none", "tanh"]),
            "detect_negative": lambda: draw.integer(0, 1),
            "detect_positive": lambda: draw.integer(0, 1),
        }
    )
    return Example([x], attributes)


@generates("Celu", "Elu", "HardSigmoid", "LeakyRelu", "Selu", "Shrink", "Swish", "ThresholdedRelu")
def unary_with_numbers(draw: Draw) -> Example:
    first = draw.schema.inputs[0].name
    x = draw.anything(draw.dtype(first), draw.shape())
    names = ("alpha", "beta", "gamma", "lambd", "bias")
    attributes = draw.some({name: lambda: draw.real(0.125, 2) for name in names})
    return Example([x], attributes)


@generates("Clip")
def clip(draw: Draw) -> Example:
    dtype = draw.dtype("input")
    x = draw.anything(dtype, draw.shape())
    if draw.version < 11:
        return Example([x], draw.some({"min": lambda: draw.real(), "max": lambda: draw.real()}))
    bounds = [draw.plain(dtype, ()) if draw.flag() else None for _ in range(2)]
    return Example([x, *bounds])


def operands(draw: Draw) -> tuple[list[Shape], dict[str, object]]:
    """Shapes of two operands and, before opset 7, the attributes that say how they broadcast."""
    if "broadcast" not in draw.schema.attributes:
        return draw.broadcast(), {}
    full = draw.shape((1, 3), (1, 3))
    if draw.flag():
        return [full, full], {}
    start = draw.integer(0, len(full) - 1)
    end = draw.integer(start + 1, len(full))
    where = {} if end == len(full) and draw.flag() else {"axis": start}
    return [full, full[start:end]], {"broadcast": 1, **where}


@generates(
    *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Or"),
    *("StringConcat", "Sub", "Xor"),
)
def binary(draw: Draw) -> Example:
    a, b = draw.schema.inputs[0].name, draw.schema.inputs[1].name
    (left, right), attributes = operands(draw)
    return Example([draw.anything(draw.dtype(a), left), draw.anything(draw.dtype(b), right)], attributes)


@generates("SwiGLU")
def swiglu(draw: Draw) -> Example:
    """Two inputs of one shape."""
    dtype, shape = draw.dtype("A"), draw.shape()
    return Example([draw.anything(dtype, shape), draw.anything(dtype, shape)], draw.some({"alpha": lambda: draw.real(0.125, 2)}))


@generates("Div")
def division(draw: Draw) -> Example:
    """Integers are not divided by zero, nor the least one by -1: both are undefined."""
    (left, right), attributes = operands(draw)
    dtype = draw.dtype("A")
    if is_integer(dtype):
        return Example([draw.anything(dtype, left), draw.plain(dtype, right, 1, 4)], attributes)
    return Example([draw.anything(dtype, left), draw.anything(dtype, right)], attributes)


@generates("Mod")
def modulo(draw: Draw) -> Example:
    dtype = draw.dtype("A")
    left, right = draw.broadcast()
    fmod = 0 if is_integer(dtype) and draw.flag() else 1
    sign = dtype.type(-1 if draw.flag() and np.dtype(dtype).kind != "u" and "uint" not in str(dtype) else 1)
    divisor = draw.plain(dtype, right, 1, 4) * sign if is_integer(dtype) else draw.anything(dtype, right)
    return Example([draw.anything(dtype, left), divisor.astype(dtype)], {"fmod": fmod} if fmod else draw.some({"fmod": lambda: 0}))


@generates("Pow")
def power(draw: Draw) -> Example:
    """Integer bases have small exponents that are not negative, so that the powers exist in every type."""
    (left, right), attributes = operands(draw)
    base = draw.dtype("X")
    exponent = draw.dtype("Y") if draw.schema.inputs[1].type_str != "T" else base
    if is_integer(base):
        return Example([draw.plain(base, left, -3, 3), draw.plain(exponent, right, 0, 2).astype(exponent)], attributes)
    low = -3 if is_integer(exponent) else -2
    return Example([draw.anything(base, left), draw.plain(exponent, right, low, 3)], attributes)


@generates("BitShift")
def shift(draw: Draw) -> Example:
    """By less than the width of the type; more is undefined."""
    left, right = draw.broadcast()
    dtype = draw.dtype("X")
    bits = dtype.itemsize * 8
    return Example([draw.anything(dtype, left), draw.plain(dtype, right, 0, bits - 1)], {"direction": draw.among(["LEFT", "RIGHT"])})


@generates("PRelu")
def parametric_relu(draw: Draw) -> Example:
    """The slope broadcasts to X; before opset 7 it has one element for each channel, or one."""
    dtype = draw.dtype("X")
    if draw.version < 7:
        full = draw.shape((2, 3), (1, 3))
        return Example([draw.plain(dtype, full), draw.plain(dtype, (1 if draw.flag() else full[1],))])
    full = draw.shape()
    return Example([draw.anything(dtype, full), draw.plain(dtype, draw.narrowed(full))])


@generates("Max", "Min", "Mean", "Sum")
def variadic(draw: Draw) -> Example:
    dtype = draw.dtype("data_0")
    count = draw.integer(1, 4)
    shapes = draw.broadcast(count) if draw.version >= 8 else [draw.shape()] * count
    make = draw.anything if draw.schema.name in ("Max", "Min") else draw.plain
    return Example([make(dtype, shape) for shape in shapes])


@generates("Where")
def where(draw: Draw) -> Example:
    condition, left, right = draw.broadcast(3)
    dtype = draw.dtype("X")
    return Example([draw.plain(bool, condition), draw.anything(dtype, left), draw.anything(dtype, right)])


FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
FLOAT8_EDGES = (240, 248, 448, 464, 465, 57344, 61439, 61440, 65504, 2.5)
WIDE = (np.float16, np.float32, np.float64, np.uint16, np.int32, np.int64)
"""Types that hold the numbers at which 8-bit floats end."""


@generates("Cast")
def cast(draw: Draw) -> Example:
    """Numbers in the target's range, and beyond it where the result is defined: between floating-point types with a sign."""
    return _converted(draw, draw.dtype("input"), draw.dtype("output"))


@generates("CastLike")
def cast_like(draw: Draw) -> Example:
    target = draw.dtype("target_type")
    example = _converted(draw, draw.dtype("input"), target)
    attributes = {name: value for name, value in example.attributes.items() if name != "to"}
    return Example([*example.inputs, draw.plain(target, draw.shape())], attributes)


def _converted(draw: Draw, source: np.dtype, target: np.dtype) -> Example:
    shape = draw.shape()
    if source.kind == "O":
        x = draw.words(("1", "0", "3", "1e2") if target.kind not in "biu" else ("1", "0", "3", "7"), shape)
    elif target.kind == "O" or is_integer(target) or target.kind == "b":
        low = 0 if name_of(target).startswith("uint") else -2
        x = draw.plain(source, shape, low, 1 if name_of(target).endswith("int2") else 3)
    elif name_of(target) == "float8e8m0":
        x = draw.plain(source, shape, 1, 4)
    elif name_of(target) in FLOAT8 and source in WIDE and draw.flag():
        x = np.asarray(draw.generator.choice(FLOAT8_EDGES, shape)).astype(source)
    else:
        x = draw.anything(source, shape)
    attributes = {"to": name_of(target).upper()} if draw.version < 6 and draw.schema.name == "Cast" else {"to": code_of(target)}
    if name_of(target).startswith("float8"):
        attributes |= draw.some({"saturate": lambda: draw.integer(0, 1)})
    if name_of(target) == "float8e8m0":
        attributes |= draw.some({"round_mode": lambda: draw.among(["up", "down", "nearest"])})
    return Example([x], attributes)


@generates("BitCast")
def bit_cast(draw: Draw) -> Example:
    source = draw.dtype("input", lambda name: name not in ("string", "bool"))
    target = draw.dtype("output", lambda name: name not in ("string", "bool") and _bits(dtype_named(name)) == _bits(source))
    return Example([draw.anything(source, draw.shape())], {"to": code_of(target)})


NARROW = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2, "float6e2m3": 6, "float6e3m2": 6}


def _bits(dtype: np.dtype) -> int:
    return NARROW.get(name_of(dtype), dtype.itemsize * 8)
