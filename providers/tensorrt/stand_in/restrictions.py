"""What TensorRT's parser asks of nodes beyond operator and element type: one small rule each.

Source: the column of restrictions of onnx-tensorrt's docs/operators.md, and the static checks of onnxOpCheckers.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from onnxgpu.providers.tensorrt.stand_in.typed_graph import Node

Check = Callable[[Node], str | None]

_checks: dict[str, list[Check]] = {}

MOST_TOP = 3840


def refusals(node: Node) -> Iterator[str]:
    """What is wrong with a node of an operator that the parser knows."""
    for check in _checks.get(node.operator, ()):
        reason = check(node)
        if reason is not None:
            yield reason


def rules() -> set[Check]:
    """All of them."""
    return {check for checks in _checks.values() for check in checks}


def restricts(*operators: str) -> Callable[[Check], Check]:
    """Register a rule; it gives the parser's words, or None."""

    def register(check: Check) -> Check:
        for operator in operators:
            _checks.setdefault(operator, []).append(check)
        return check

    return register


@restricts("AveragePool", "LpPool", "MaxPool")
def windows(node: Node) -> str | None:
    """`dilations` must be empty or all ones; one to three spatial axes."""
    if any(dilation != 1 for dilation in node.attribute("dilations", ())):
        return "This version of TensorRT does not support dilations other than 1."
    shape = node.shape(0)
    if shape is not None and not 3 <= len(shape) <= 5:
        return "The input tensor shape is not supported by the pooling layer: only 2D and 3D pooling."
    return None


@restricts("MaxPool")
def no_indices(node: Node) -> str | None:
    """`Indices` output tensor unsupported."""
    return "TensorRT does not support the indices output in MaxPool!" if len(node.proto.output) > 1 else None


@restricts("LpPool", "LpNormalization")
def first_or_second_norm(node: Node) -> str | None:
    """`p` is 1 or 2."""
    return "Only L1 and L2 normalization are supported." if node.attribute("p", 2) not in (1, 2) else None


@restricts("BatchNormalization")
def no_batch_statistics(node: Node) -> str | None:
    """`training_mode` must be 0, and the statistics are weights."""
    if node.attribute("training_mode", 0):
        return "This version of TensorRT does not support training_mode == 1 in BatchNormalization."
    return None


@restricts("Cast")
def cast_types(node: Node) -> str | None:
    """To a type that TensorRT has."""
    from onnxgpu.providers.tensorrt.stand_in.element_types import type_name

    return "Unsupported data type for the Cast operator!" if type_name(node.attribute("to", 1)) is None else None


@restricts("Constant")
def plain_constants(node: Node) -> str | None:
    """`sparse_value`, `value_string`, and `value_strings` attributes are unsupported."""
    if any(node.attribute(name) is not None for name in ("sparse_value", "value_string", "value_strings")):
        return "This version of TensorRT does not support the sparse_value, value_string and value_strings attributes."
    return None


@restricts("CumSum")
def constant_axis(node: Node) -> str | None:
    """`axis` must be an initializer."""
    return _must_be_constant(node, 1, "axis")


@restricts("Squeeze", "Unsqueeze", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
           "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip
def constant_axes(node: Node) -> str | None:
    """`axes` must be an initializer."""
    return _must_be_constant(node, 1, "axes")


@restricts("Slice", "Pad")
def constant_axes_behind(node: Node) -> str | None:
    """`axes` must be an initializer."""
    return _must_be_constant(node, 3, "axes")


@restricts("Slice")
def slice_inputs(node: Node) -> str | None:
    """From opset 10 on, starts and ends are inputs."""
    if node.graph.opset >= 10 and not 3 <= len(node.proto.input) <= 5:
        return "Post-opset 10 Slice operator requires 3 - 5 inputs."
    return None


@restricts("DeformConv")
def deformable(node: Node) -> str | None:
    """1D or 2D spatial dimensions; the pads at both ends of an axis are the same."""
    shape, pads = node.shape(0), list(node.attribute("pads", ()))
    if shape is not None and len(shape) not in (3, 4):
        return "`input` must have 1D or 2D spatial dimensions."
    half = len(pads) // 2
    return "The pads for the beginning and end along each spatial axis must be the same." if pads[:half] != pads[half:] else None


@restricts("DequantizeLinear", "QuantizeLinear")
def symmetric(node: Node) -> str | None:
    """The zero point must be zero; scales and zero points are weights."""
    zero = node.constant(2)
    if node.has(2) and not node.is_constant(2):
        return "TensorRT only supports symmetric quantization with constant zero points."
    if zero is not None and np.any(zero.astype(np.float32) != 0):
        return "TensorRT only supports symmetric quantization; non-zero zero point."
    return None


@restricts("DequantizeLinear", "QuantizeLinear")
def positive_scales(node: Node) -> str | None:
    """Scales that are weights are greater than zero."""
    scale = node.constant(1)
    return "Scale coefficients must all be positive" if scale is not None and not np.all(scale.astype(np.float32) > 0) else None


@restricts("QuantizeLinear")
def signed(node: Node) -> str | None:
    """To INT8, FP8, INT4 (or FP4) alone: not to UINT8, which is the type where no zero point is given."""
    from onnxgpu.providers.tensorrt.stand_in.element_types import type_name

    zero = node.input_type(2) if node.has(2) else node.attribute("output_dtype", 0) or 2
    name = type_name(zero)
    return None if name in ("INT8", "FP8", "INT4", "FP4") else f"TensorRT does not support quantization to type {name or zero}."


@restricts("Dropout")
def no_training(node: Node) -> str | None:
    """`training_mode` must be an initializer and evaluate to False."""
    mode = node.constant(2)
    if node.has(2) and (mode is None or bool(mode)):
        return "TensorRT does not support the Droupout operator with training mode."
    return None


@restricts("EyeLike")
def static_input(node: Node) -> str | None:
    """`input` must have static dimensions."""
    shape = node.shape(0)
    return "EyeLike: `input` must have static dimensions." if shape is None or -1 in shape else None


@restricts("GridSample")
def four_dimensional(node: Node) -> str | None:
    """Input must be 4D input."""
    shape = node.shape(0)
    return "TensorRT only supports GridSample with 4-D input." if shape is not None and len(shape) != 4 else None


@restricts("GRU", "LSTM", "RNN")
def same_both_ways(node: Node) -> str | None:
    """For bidirectional layers, activation functions must be the same for both the forward and reverse pass."""
    if node.attribute("direction", "forward") != "bidirectional":
        return None
    for name in ("activations", "activation_alpha", "activation_beta"):
        given = list(node.attribute(name, ()))
        if given[: len(given) // 2] != given[len(given) // 2 :]:
            return (
                "The parser does not currently support cases where activations for the reverse pass of the "
                f"{node.operator} do not match the forward pass."
            )
    return None


@restricts("LSTM")
def lstm_attributes(node: Node) -> str | None:
    """`input_forget` attribute must be 0; `layout` attribute must be 0."""
    if node.attribute("input_forget", 0):
        return "Coupled input/forget is unsupported in the LSTM converter"
    return "The layout attribute of the LSTM must be 0." if node.attribute("layout", 0) else None


@restricts("Hardmax")
def constant_extent(node: Node) -> str | None:
    """`axis` dimension of input must be a build-time constant."""
    shape, axis = node.shape(0), node.attribute("axis", -1)
    if shape is None or (-len(shape) <= axis < len(shape) and shape[axis] == -1):
        return "Hardmax: the dimension of `axis` must be a build-time constant."
    return None


@restricts("LayerNormalization")
def one_output(node: Node) -> str | None:
    """Only the first output `Y` is supported."""
    extra = [name for name in node.proto.output[1:] if name]
    return "LayerNormalization: only the first output is supported." if extra else None


@restricts("OneHot")
def constant_depth(node: Node) -> str | None:
    """`depth` must be a build-time constant."""
    return _must_be_constant(node, 1, "depth")


@restricts("If")
def equal_branches(node: Node) -> str | None:
    """As many outputs in both branches, of the same rank, with different names."""
    branches = [node.attribute(name) for name in ("then_branch", "else_branch")]
    if len(branches[0].output) != len(branches[1].output):
        return "then/else subgraphs should have the same number of outputs."
    if {value.name for value in branches[0].output} & {value.name for value in branches[1].output}:
        return "then/else subgraphs should have outputs with different names."
    for one, other in zip(branches[0].output, branches[1].output, strict=True):
        ranks = {len(value.type.tensor_type.shape.dim) for value in (one, other) if value.type.tensor_type.HasField("shape")}
        if len(ranks) > 1:
            return "then/else subgraphs should have outputs of the same rank."
    return None


@restricts("Resize")
def resizing(node: Node) -> str | None:
    """Modes, coordinates, rounding and policy that TensorRT has."""
    mode, transform = node.attribute("mode", "nearest"), node.attribute("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear", "cubic"):
        return f"Invalid Resize mode {mode}"
    if transform not in ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"):
        modes = "half_pixel, pytorch_half_pixel, tf_half_pixel_for_nn, asymmetric and align_corners"
        return f"TensorRT only supports {modes} transformation modes!"
    rounding = node.attribute("nearest_mode", "round_prefer_floor")
    if transform == "tf_half_pixel_for_nn" and rounding != "round_prefer_floor":
        return "This version of TensorRT only support round_prefer_floor nearest mode in tf_half_pixel_for_nn!"
    if node.attribute("antialias", 0):
        return "Antialiasing is not supported currently."
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "Only `stretch` is supported currently as `keep_aspect_ratio_policy`."
    axes, shape = node.attribute("axes"), node.shape(0)
    if axes and node.has(2) and (shape is None or list(axes) != list(range(len(shape)))):
        return "When `scales` is a tensor input, `axes` must be an iota vector of length rank(input)."
    return None


@restricts("Resize")
def constant_scales(node: Node) -> str | None:
    """Values of an input of the network that decide shapes are integers, so scales are none."""
    return _must_be_constant(node, 1 if node.graph.opset < 11 else 2, "scales")


@restricts("Upsample")
def upsampling(node: Node) -> str | None:
    """Modes that TensorRT has."""
    if node.attribute("mode", "nearest") not in ("nearest", "linear", "bilinear"):
        return "The attribute mode can only be nearest, linear, or bilinear."
    return None


@restricts("ReverseSequence")
def two_axes(node: Node) -> str | None:
    """Batch and time are different axes."""
    same = node.attribute("batch_axis", 1) == node.attribute("time_axis", 0)
    return "batch_axis and time_axis cannot be the same" if same else None


@restricts("RoiAlign")
def aligned_regions(node: Node) -> str | None:
    """Mode and sampling ratio."""
    if node.attribute("mode", "avg") not in ("avg", "max"):
        return "Mode must be avg or max!"
    return "Sampling ratio cannot be negative!" if node.attribute("sampling_ratio", 0) < 0 else None


@restricts("ScatterND")
def plain_scatter(node: Node) -> str | None:
    """`reduction` is not supported."""
    return "ScatterND: `reduction` is not supported." if node.attribute("reduction", "none") != "none" else None


@restricts("TopK")
def top(node: Node) -> str | None:
    """`sorted` must be 1; `K` input must be less than 3840."""
    if not node.attribute("sorted", 1):
        return "TopK: `sorted` must be 1."
    wanted = node.constant(1)
    if wanted is not None and int(wanted.reshape(-1)[0]) >= MOST_TOP:
        return f"This version of TensorRT only supports up to K values of {MOST_TOP}."
    return None


@restricts("Einsum")
def equation(node: Node) -> str | None:
    """Small letters, at most two operands; ellipses and diagonals since 10.12."""
    letters = set(node.attribute("equation", "")) - set("->., ")
    if any(not "a" <= letter <= "z" for letter in letters):
        return "Invalid character in Einsum equation: only small letters are supported."
    return None


@restricts("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike")
def random_types(node: Node) -> str | None:
    """FLOAT and HALF."""
    if node.attribute("dtype", 1) not in (1, 10):
        return "TensorRT only supports floating-point random numbers of type FLOAT or FLOAT16."
    return None


def _must_be_constant(node: Node, index: int, name: str) -> str | None:
    return f"{node.operator}: `{name}` must be an initializer." if node.has(index) and not node.is_constant(index) else None
