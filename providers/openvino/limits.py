"""What OpenVINO's processor plug-in computes otherwise than ONNX says, each with the reason: such operations go to the next provider.

A rule that names a difference has a case in `tests/openvino/test_limits.py` that shows it; the others say that nothing was compared.
"""

from __future__ import annotations

from collections.abc import Callable

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Operation, Subgraph

_TYPES = frozenset({"float", "float16", "bfloat16", "bool", "int8", "uint8", "int32", "int64"})
_WIDENED = frozenset({"int8", "uint8"})
_COUNTING = frozenset(
    {
        "Add", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CumSum", "Div", "Gemm", "MatMul", "Mod", "Mul", "Neg", "Pow",
        "ReduceL1", "ReduceL2", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Sub", "Sum",
    }
)  # fmt: skip
"""Operators whose results can leave the range in which OpenVINO computes."""

_BOOL = 9
"""ONNX's number of the type."""

_NO_SEQUENCES = "sequences and optional values of OpenVINO's are not compared with ours"

_ALWAYS = {
    "Attention": "OpenVINO leaves out windows, lengths and outputs that some versions of the operator have",
    "BitShift": "OpenVINO shifts negative numbers and by large counts in another way",
    "Compress": "OpenVINO takes conditions that are shorter or longer than the axis in another way",
    "ConcatFromSequence": _NO_SEQUENCES,
    "ConvInteger": "OpenVINO sums integer products in float32",
    "DFT": "OpenVINO's Fourier transform is less exact than ONNX's cases ask",
    "DynamicQuantizeLinear": "OpenVINO multiplies by the reciprocal of the scale, so that numbers halfway between two are rounded apart",
    "Hardmax": "OpenVINO marks another of several equal elements than the first",
    "MatMulInteger": "OpenVINO sums integer products in float32",
    "NonMaxSuppression": "OpenVINO drops boxes whose overlap is the threshold",
    "ReduceMax": "OpenVINO's maximum starts from the least finite number, not from minus infinity",
    "ReduceMin": "OpenVINO's minimum starts from the largest finite number, not from infinity",
    "Round": "OpenVINO divides by multiplying with the reciprocal, so that quotients halfway between two integers are rounded apart",
    "SplitToSequence": _NO_SEQUENCES,
    "TopK": "OpenVINO gives equal elements in any order",
}


_CONTRIB = frozenset(
    {
        "BiasGelu", "FastGelu", "FusedConv", "FusedMatMul", "Gelu", "QuickGelu",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    }
)  # fmt: skip
"""Those of onnxruntime's own operators that were compared, on random numbers with every attribute."""


def _recurrent(operation: Operation) -> str | None:
    if operation.attributes.get("layout", 0):
        return "OpenVINO takes no batch as the first axis (layout=1)"
    if operation.attributes.get("input_forget", 0):
        return "OpenVINO does not couple the gates (input_forget)"
    used = {str(name).lower() for name in operation.attributes.get("activations", ())}
    return None if used <= {"relu", "sigmoid", "tanh"} else "activations of OpenVINO's beyond Relu, Sigmoid and Tanh are not ours"


def _cast(operation: Operation) -> str | None:
    source = operation.inputs[0]
    is_wide = source is not None and source.dtype is not None and name_of(source.dtype) == "int32"
    return "OpenVINO makes false of the least int32" if is_wide and operation.attributes.get("to") == _BOOL else None


def _coerced(operation: Operation) -> str | None:
    value, axis = operation.inputs[0], int(operation.attributes.get("axis", 1))
    is_last = value is not None and value.shape is not None and axis in (-1, len(value.shape) - 1)
    if operation.version >= 13 or is_last:
        return None
    return "OpenVINO takes one axis where the operator, before version 13, takes all from `axis` on"


def _conv_transpose(operation: Operation) -> str | None:
    is_asked = "output_shape" in operation.attributes and str(operation.attributes.get("auto_pad", "NOTSET")) != "NOTSET"
    return "OpenVINO pads a wanted shape (output_shape) at the other end" if is_asked else None


def _dropout(operation: Operation) -> str | None:
    has_mask = any(value is not None for value in operation.outputs[1:])
    return "OpenVINO's mask is true, or missing" if has_mask else None


def _erf(operation: Operation) -> str | None:
    return "OpenVINO rounds the function's values for whole numbers" if _is_whole(operation) else None


def _is_whole(operation: Operation) -> bool:
    value = operation.inputs[0]
    return value is not None and value.dtype is not None and value.dtype.kind in "iu"


def _lstm(operation: Operation) -> str | None:
    has_peepholes = len(operation.inputs) > 7 and operation.inputs[7] is not None
    return "OpenVINO has no peepholes" if has_peepholes else _recurrent(operation)


def _pad(operation: Operation) -> str | None:
    padded = operation.inputs[0]
    return "OpenVINO has no way to pad a tensor without dimensions" if padded is not None and padded.shape == () else None


def _pool(operation: Operation) -> str | None:
    return "OpenVINO keeps a last window that starts in the padding (ceil_mode)" if operation.attributes.get("ceil_mode", 0) else None


def _uncompared_pool(operation: Operation) -> str | None:
    return (
        f"{operation.operator} of OpenVINO's with ceil_mode is not compared with ours" if operation.attributes.get("ceil_mode", 0) else None
    )


def _quantize(operation: Operation) -> str | None:
    scale = operation.inputs[1]
    if scale is not None and scale.constant is not None:
        return None
    return "OpenVINO multiplies by the reciprocal of the scale, so that numbers halfway between two are rounded apart"


def _range(operation: Operation) -> str | None:
    start, _, delta = (None if value is None or value.constant is None else value.constant() for value in operation.inputs)
    if start is None or delta is None or start.dtype.kind not in "iu" or start.item() != 0 or delta.item() < 1:
        return "OpenVINO gives a range that leads away from its limit elements, and one of fractions another number of them"
    return None


def _resize(operation: Operation) -> str | None:
    attributes = operation.attributes
    mode, transformation = (str(attributes.get(name, "")) for name in ("mode", "coordinate_transformation_mode"))
    has_sizes = len(operation.inputs) > 3 and operation.inputs[3] is not None
    if attributes.get("antialias", 0) or attributes.get("exclude_outside", 0) or mode == "cubic":
        return "OpenVINO weighs samples at the edges, cubic ones and antialiased ones in another way"
    if str(attributes.get("keep_aspect_ratio_policy", "stretch")) != "stretch":
        return "OpenVINO does not keep the aspect ratio"
    if transformation == "align_corners" and not has_sizes:
        return "OpenVINO aligns corners for sizes, not for scales"
    scales = operation.inputs[2] if len(operation.inputs) > 2 else None
    if scales is not None and (scales.constant is None or any(scale != 1 for scale in scales.constant().tolist()[:2])):
        return "OpenVINO resizes depth, height and width alone, and fails at other scales"
    if mode == "linear" and _is_whole(operation):
        return "OpenVINO rounds interpolated whole numbers, which are cut"
    if mode in ("", "nearest") and has_sizes and not _is_multiple(operation):
        return "OpenVINO picks other elements for sizes that are no multiples"
    return None


def _is_multiple(operation: Operation) -> bool:
    """True if all sizes of a Resize are known multiples of the input's."""
    value, sizes = operation.inputs[0], operation.inputs[3]
    if value is None or value.shape is None or sizes is None or sizes.constant is None:
        return False
    wanted = sizes.constant().tolist()
    return all(isinstance(size, int) and size > 0 and to % size == 0 for size, to in zip(value.shape[-len(wanted) :], wanted, strict=True))


def _roi_align(operation: Operation) -> str | None:
    return "OpenVINO takes the maximum after interpolating" if operation.attributes.get("mode", "avg") == "max" else None


def _selu(operation: Operation) -> str | None:
    has_both = {"alpha", "gamma"} <= operation.attributes.keys()
    return "OpenVINO has the constants of version 6" if operation.version < 6 and not has_both else None


def _space_to_depth(operation: Operation) -> str | None:
    return "OpenVINO knows the order DCR alone" if str(operation.attributes.get("mode", "DCR")) != "DCR" else None


def _split(operation: Operation) -> str | None:
    return "OpenVINO ignores the sizes that version 1 takes as an input" if operation.version < 2 and len(operation.inputs) > 1 else None


def _tile(operation: Operation) -> str | None:
    repeats = operation.inputs[1]
    is_constant = repeats is not None and repeats.constant is not None
    return None if is_constant else "OpenVINO tiles wrongly where the repeats are not constant"


_SOMETIMES: dict[str, Callable[[Operation], str | None]] = {
    "AveragePool": _uncompared_pool,
    "Cast": _cast,
    "ConvTranspose": _conv_transpose,
    "Dropout": _dropout,
    "Erf": _erf,
    "GRU": _recurrent,
    "LSTM": _lstm,
    "LogSoftmax": _coerced,
    "LpPool": _uncompared_pool,
    "MaxPool": _pool,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "RNN": _recurrent,
    "Range": _range,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Selu": _selu,
    "Softmax": _coerced,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Tile": _tile,
}


def _contrib(operation: Operation) -> str | None:
    if operation.domain != "com.microsoft" or operation.operator not in _CONTRIB:
        return f"{operation.operator} of OpenVINO's is not compared with ours"
    if operation.attributes.get("transBatchA", 0) or operation.attributes.get("transBatchB", 0):
        return "OpenVINO knows no transposed batches (transBatchA, transBatchB)"
    if any(value is not None for value in operation.outputs[1:3]):
        return "OpenVINO gives no mean and deviation"
    return None


def limit(operation: Operation) -> str | None:
    """Why OpenVINO does not run `operation` as ONNX means it; None if nothing is known against it."""
    if any(isinstance(value, Subgraph) for value in operation.attributes.values()):
        return "control flow stays with the session, and its bodies have segments of their own"
    if operation.domain:
        return _contrib(operation) or _type_limit(operation)
    if operation.operator in _ALWAYS:
        return _ALWAYS[operation.operator]
    if operation.operator.startswith(("Sequence", "Optional")):
        return _NO_SEQUENCES
    check = _SOMETIMES.get(operation.operator)
    return (check(operation) if check else None) or _type_limit(operation)


def _type_limit(operation: Operation) -> str | None:
    values = [value for value in (*operation.inputs, *operation.outputs) if value is not None]
    for value in values:
        if value.dtype is None or not value.is_tensor:
            return f"the element type of '{value.name}' is not known, or it is no tensor"
        if value.shape is not None and 0 in value.shape:
            return "OpenVINO divides by zero, or computes with what is not there, where tensors have no elements"
        if name_of(value.dtype) not in _TYPES:
            return f"OpenVINO's processor plug-in computes {name_of(value.dtype)} in another type"
    if operation.operator in _COUNTING:
        for value in values:
            if value.dtype is not None and name_of(value.dtype) in _WIDENED:
                return f"OpenVINO computes {name_of(value.dtype)} in int32, where results wrap around elsewhere"
    return None
