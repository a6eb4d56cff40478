"""Where an oracle is known to be wrong: operator, version, condition, and what the specification says.

Every entry names one oracle; on examples that meet its condition the other oracle decides. `tests/test_schemas.py` fails if
an entry does not explain any example of the long sweep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxgpu.dtypes import dtype_of, is_integer
from tests.schemas.examples import Example

Condition = Callable[[Example], bool]


Repair = Callable[[Sequence[Any], Sequence[np.dtype | None]], Sequence[Any]]
"""The outputs with the fault undone, from the outputs and the types that ONNX infers for them."""


@dataclass(frozen=True)
class Disagreement:
    """One oracle's fault.

    Attributes:
        oracle: who is wrong, "onnxruntime" or "reference".
        operator: in `domain`.
        condition: on which examples.
        reason: what the oracle does, and what the specification says.
        since, until: schema versions from the first to the last that it concerns.
        repair: undoes the fault where nothing is lost by it; otherwise the oracle is not asked.
    """

    oracle: str
    operator: str
    condition: Condition
    reason: str
    since: int = 1
    until: int = 99
    domain: str = ""
    repair: Repair | None = None

    def __str__(self) -> str:
        return f"{self.oracle}-{self.operator}-{self.reason[:30]}"


def as_inferred(outputs: Sequence[Any], dtypes: Sequence[np.dtype | None]) -> Sequence[Any]:
    """In the types that ONNX infers."""
    return [x if dtype is None else x.astype(dtype) for x, dtype in zip(outputs, dtypes, strict=True)]


def unwrapped(outputs: Sequence[Any], dtypes: Sequence[np.dtype | None]) -> Sequence[Any]:
    """What is inside a list of one."""
    return [x[0] for x in outputs]


def as_row(outputs: Sequence[Any], dtypes: Sequence[np.dtype | None]) -> Sequence[Any]:
    """A matrix of one row."""
    return [np.asarray(x).reshape(1, -1) for x in outputs]


BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Sub", "Xor")
ML = "ai.onnx.ml"
TRAINING = "ai.onnx.preview.training"


def _always(example: Example) -> bool:
    return True


def _first_is(*kinds: str) -> Condition:
    """The first input is an array of one of these dtypes."""
    return lambda example: isinstance(example.inputs[0], np.ndarray) and str(example.inputs[0].dtype) in kinds


def _has(*attributes: str) -> Condition:
    return lambda example: any(name in example.attributes for name in attributes)


def _same_padding_with_gaps(example: Example) -> bool:
    strides = example.attributes.get("strides", ())
    return str(example.attributes.get("auto_pad", "")).startswith("SAME") and any(
        stride > kernel for stride, kernel in zip(strides, example.inputs[1].shape[2:], strict=False)
    )


def _sums_nothing(example: Example) -> bool:
    return bool(example.inputs[0].shape[-1] == 0)


def _dilated_beyond_images(example: Example) -> bool:
    return len(example.inputs[1]) != 2 and "dilations" in example.attributes


def _to_e5m2_without_saturation(example: Example) -> bool:
    target = example.inputs[1].dtype if len(example.inputs) > 1 else dtype_of(example.attributes["to"])
    return str(target) == "float8_e5m2" and example.attributes.get("saturate") == 0


def _to_four_bits(example: Example) -> bool:
    target = example.inputs[1].dtype if len(example.inputs) > 1 else dtype_of(example.attributes["to"])
    source = example.inputs[0].dtype
    return str(target) in ("int4", "uint4", "int2", "uint2") and source.kind != "O" and not is_integer(source)


def _unsigned_not_reduced(example: Example) -> bool:
    return bool(example.attributes.get("noop_with_empty_axes")) and bool(example.inputs[0].dtype == np.uint64)


def _maps_to_strings(example: Example) -> bool:
    return any(isinstance(value, str) for value in example.inputs[0].value.values())


def _recurrent(example: Example) -> bool:
    lengths = example.inputs[4] if len(example.inputs) > 4 else None
    return lengths is not None or _has("clip", "activations", "input_forget")(example)


def _integer_resampling(example: Example) -> bool:
    return example.attributes.get("mode", "nearest") != "nearest" and is_integer(example.inputs[0].dtype)


def _cubic_in_double(example: Example) -> bool:
    return example.attributes.get("mode") == "cubic" and bool(example.inputs[0].dtype == np.float64)


def _without_intercepts(example: Example) -> bool:
    return "intercepts" not in example.attributes


def _infinite_in_double(example: Example) -> bool:
    return bool(example.inputs[0].dtype == np.float64 and np.isposinf(example.inputs[0]).any())


def _same_pool_with_gaps(example: Example) -> bool:
    strides, kernel = example.attributes.get("strides", ()), example.attributes["kernel_shape"]
    return str(example.attributes.get("auto_pad", "")).startswith("SAME") and any(s > k for s, k in zip(strides, kernel, strict=False))


def _odd_zero_point(example: Example) -> bool:
    zero = example.inputs[7]
    return is_integer(zero.dtype) and int(zero.reshape(-1)[0]) % 2 == 1


def _float8_operands(example: Example) -> bool:
    return any(not is_integer(example.inputs[i].dtype) for i in (0, 3, 7))


def _many_strings_a_row(example: Example) -> bool:
    x, axis = example.inputs[0], example.attributes.get("axis", 0)
    return bool(x.dtype.kind == "O") and math.prod(x.shape[axis % x.ndim + 1 :]) > 1


def _one_at_a_time(example: Example) -> bool:
    split = example.inputs[1] if len(example.inputs) > 1 else None
    return split is not None and split.ndim == 0 and int(split) == 1 and example.attributes.get("keepdims") == 0


def _in_training(example: Example) -> bool:
    return not example.values


def _infinite_halves(example: Example) -> bool:
    x = example.inputs[0]
    return bool(x.dtype == np.float16 and np.isinf(x).any())


def _capped_scores(example: Example) -> bool:
    capped = "softcap" in example.attributes and example.attributes.get("qk_matmul_output_mode", 0) == 0
    return capped and "y3" in example.output_names


def _grouped_bias(example: Example) -> bool:
    return example.attributes.get("group", 1) > 1 and len(example.inputs) > 2


def _beyond_single_precision(example: Example) -> bool:
    x = example.inputs[0]
    size = abs(x.astype(np.float64))
    return bool((size > 2**24).any() if is_integer(x.dtype) else (np.isfinite(size) & (size > np.finfo(np.float32).max)).any())


def _digits_before_more(example: Example) -> bool:
    """A string whose leading digits are not the whole number, to four bits or fewer."""
    target = example.inputs[1].dtype if len(example.inputs) > 1 else dtype_of(example.attributes["to"])
    x = example.inputs[0]
    few = str(target) in ("int4", "uint4", "int2", "uint2")
    return few and x.dtype.kind == "O" and any(not str(text).strip().lstrip("+-").isdigit() for text in x.reshape(-1))


def _uneven_pads(example: Example) -> bool:
    return len(set(example.attributes.get("pads", ()))) > 1


def _integers(example: Example) -> bool:
    return is_integer(example.inputs[0].dtype)


KNOWN: list[Disagreement] = [
    *(
        Disagreement("reference", name, _has("axis"), "ignores `axis`, which says where B's sizes lie in A's", until=6)
        for name in BROADCASTING
    ),
    Disagreement(
        "reference", "PRelu", lambda e: e.inputs[1].size > 1, "broadcasts the slopes along the last axis; they are one a channel", until=6
    ),
    *(
        Disagreement("reference", name, _always, "takes one axis; before version 13 the axes from `axis` on are one", until=11)
        for name in ("Softmax", "LogSoftmax", "Hardmax")
    ),
    *(
        Disagreement("reference", name, _recurrent, "ignores sequence_lens, clip, activations and input_forget")
        for name in ("RNN", "GRU", "LSTM")
    ),
    Disagreement(
        "reference",
        "AffineGrid",
        _first_is("float16", "bfloat16", "float64"),
        "gives float32; the grid has theta's type",
        repair=as_inferred,
    ),
    *(
        Disagreement(oracle, "MaxPool", _same_pool_with_gaps, "pads negatively; SAME gives input / stride, rounded up", since=since)
        for oracle, since in (("reference", 1), ("onnxruntime", 10))
    ),
    Disagreement("onnxruntime", "LpPool", _same_pool_with_gaps, "pads negatively; SAME gives input / stride, rounded up"),
    Disagreement("reference", "MaxPool", _uneven_pads, "takes the pads in another order than all begins, all ends"),
    Disagreement("reference", "Attention", _capped_scores, "gives the scores after the soft cap as those before it"),
    Disagreement("reference", "ConvTranspose", _same_padding_with_gaps, "halves negative pads downwards, not towards zero"),
    Disagreement("reference", "ConvTranspose", _grouped_bias, "adds the first group's bias to every group"),
    Disagreement("reference", "CenterCropPad", _first_is("object"), "pads strings with the number 0"),
    *(
        Disagreement("reference", name, _odd_zero_point, "adds the zero point before it rounds, which moves ties")
        for name in ("QLinearConv", "QLinearMatMul")
    ),
    Disagreement("reference", "QLinearMatMul", _float8_operands, "takes 8-bit floats as whole numbers", since=21),
    Disagreement("reference", "LpNormalization", _has("p"), "sums for p = 1 without taking magnitudes"),
    Disagreement("reference", "LogSoftmax", _always, "takes the logarithm of a softmax that may have become 0"),
    Disagreement("reference", "TreeEnsemble", _has("aggregate_function"), "gives the type's limit for a target without leaves", domain=ML),
    Disagreement("reference", "AveragePool", _has("auto_pad", "pads"), "counts the padding, which version 1 leaves out", until=1),
    Disagreement(
        "reference",
        "BatchNormalization",
        _has("training_mode"),
        "gives the running moments in X's type; theirs is U or T2",
        since=14,
        repair=as_inferred,
    ),
    Disagreement("reference", "BatchNormalization", _first_is("float16", "bfloat16"), "computes the running moments in X's type", since=14),
    Disagreement("reference", "InstanceNormalization", _first_is("float16", "bfloat16"), "computes the moments in the input's type"),
    Disagreement("reference", "Det", _first_is("bfloat16"), "gives float64; the output has the input's type", repair=as_inferred),
    Disagreement(
        "reference", "Dropout", lambda e: e.output_names != ["y0"], "gives a bool mask; it has the data's type", until=7, repair=as_inferred
    ),
    Disagreement("reference", "Dropout", _in_training, "gives a wider type in training", since=12, repair=as_inferred),
    Disagreement("reference", "Gemm", _has("beta"), "ignores beta", until=6),
    Disagreement(
        "reference",
        "Gemm",
        _first_is("float16", "float64"),
        "multiplies by a float32 alpha and gives that type",
        until=6,
        repair=as_inferred,
    ),
    *(Disagreement("reference", name, _first_is("object"), "pads strings with the number 0") for name in ("GridSample", "Pad")),
    Disagreement("reference", "GlobalMaxPool", lambda e: e.inputs[0].ndim != 4, "reduces two axes whatever the rank"),
    Disagreement("reference", "LpPool", _has("ceil_mode"), "takes elements that are not in the last window", since=18),
    Disagreement("reference", "Loop", _always, "joins the scan outputs along their first axis instead of a new one"),
    Disagreement(
        "reference", "MelWeightMatrix", lambda e: str(e.inputs[3].dtype) == "bfloat16", "computes in bfloat16, which moves the bins"
    ),
    Disagreement(
        "reference", "Optional", _always, "gives an optional as a list of one; onnxruntime gives what is inside", repair=unwrapped
    ),
    Disagreement(
        "reference",
        "ReduceSumSquare",
        _always,
        "sums in NumPy's wider type and gives that; the output has the input's type",
        repair=as_inferred,
    ),
    Disagreement(
        "reference", "Resize", _integer_resampling, "rounds integers, onnxruntime cuts them off; the specification leaves it open"
    ),
    Disagreement("reference", "Resize", _cubic_in_double, "rounds the weights of cubic interpolation to float32"),
    Disagreement("reference", "Resize", _first_is("complex64", "complex128"), "drops the imaginary part"),
    Disagreement("reference", "Selu", lambda e: not {"alpha", "gamma"} <= set(e.attributes), "has version 6's defaults", until=1),
    Disagreement("reference", "StringNormalizer", _always, "drops empty strings and accents"),
    Disagreement("reference", "Unique", lambda e: e.attributes.get("sorted") == 0, "sorts what is to keep the order of first occurrence"),
    Disagreement(
        "reference",
        "DictVectorizer",
        _always,
        "gives [C], which the specification says; onnxruntime's models want [1, C]",
        domain=ML,
        repair=as_row,
    ),
    Disagreement("reference", "LinearRegressor", _without_intercepts, "adds NaN where there are no intercepts", domain=ML),
    *(
        entry
        for name in ("LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor")
        for entry in (
            Disagreement("reference", name, _integers, "computes in X's whole numbers; the output is float", domain=ML),
            Disagreement("reference", name, _first_is("float64"), "gives X's type; the output is float", domain=ML, repair=as_inferred),
        )
    ),
    Disagreement("reference", "Adam", _always, "computes float32 tensors in float64", domain=TRAINING, repair=as_inferred),
    Disagreement("reference", "Momentum", _always, "computes float32 tensors in float64", domain=TRAINING, repair=as_inferred),
    Disagreement("reference", "DictVectorizer", _maps_to_strings, "puts '0' where a key is absent; onnxruntime an empty string", domain=ML),
    *(
        Disagreement("onnxruntime", name, _to_four_bits, "rounds; fractions are cut off (backend case test_cast_FLOAT_to_INT4)", since=19)
        for name in ("Cast", "CastLike")
    ),
    *(
        Disagreement("onnxruntime", name, _digits_before_more, "rounds the number; other integers are the leading digits", since=21)
        for name in ("Cast", "CastLike")
    ),
    Disagreement("onnxruntime", "ReduceLogSumExp", _integers, "cuts off every exponential of whole numbers before it adds them up"),
    Disagreement("onnxruntime", "ReduceLogSumExp", _unsigned_not_reduced, "cuts off log(exp(x)), which is x", since=18),
    Disagreement(
        "onnxruntime", "Clip", _infinite_halves, "clips float16 to float32's range; the limits are those of the type", since=11, until=11
    ),
    Disagreement("onnxruntime", "Loop", lambda e: e.inputs[2].dtype == object, "copies the first string of a scan output only"),
    Disagreement("onnxruntime", "Shrink", _beyond_single_precision, "computes in float32, which does not hold these numbers"),
    Disagreement("onnxruntime", "Gather", _many_strings_a_row, "copies the first string of each row only"),
    Disagreement(
        "onnxruntime", "SplitToSequence", _one_at_a_time, "drops the axis for a split of 1; keepdims has no meaning beside a split"
    ),
    Disagreement("onnxruntime", "ConvTranspose", _same_padding_with_gaps, "is short; SAME gives input × stride"),
    Disagreement("onnxruntime", "LogSoftmax", _infinite_in_double, "loses a NaN of the formula where a row has an infinity"),
    *(
        Disagreement("onnxruntime", name, _sums_nothing, "returns uninitialised memory for a sum of nothing")
        for name in ("MatMulInteger", "QLinearMatMul")
    ),
    Disagreement("onnxruntime", "Col2Im", _dilated_beyond_images, "takes wrong places for dilated blocks of one or three axes"),
    Disagreement(
        "onnxruntime",
        "MaxUnpool",
        lambda e: len(e.inputs) > 2,
        "reads indices in the given output shape; they are those of the shape without it (case test_maxunpool_export_with_output_shape)",
    ),
    *(
        Disagreement("onnxruntime", name, _to_e5m2_without_saturation, "gives NaN where the table of Cast says infinity", since=19)
        for name in ("Cast", "CastLike")
    ),
]


def known(oracle: str, schema: onnx.defs.OpSchema, example: Example) -> list[Disagreement]:
    """The entries that explain why `oracle` is wrong on `example`."""
    return [
        entry
        for entry in KNOWN
        if entry.oracle == oracle
        and (entry.domain, entry.operator) == (schema.domain, schema.name)
        and entry.since <= schema.since_version <= entry.until
        and entry.condition(example)
    ]
