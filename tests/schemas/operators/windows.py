"""Operators with sliding windows: convolutions and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schemas.draw import Draw, Shape
from tests.schemas.examples import Example, generates

HALF, QUARTER = np.array(0.5, np.float32), np.array(0.25, np.float32)


def window(draw: Draw, rank: int, dilated: bool = True) -> tuple[Shape, dict[str, Any], Shape]:
    """Kernel sizes, the attributes of a window over `rank` axes, and input sizes on which it fits at least once."""
    names = draw.schema.attributes
    kernel = tuple(draw.integer(1, 3) for _ in range(rank))
    attributes: dict[str, Any] = {}
    dilations = tuple(draw.integer(1, 2) for _ in range(rank)) if dilated and "dilations" in names and draw.flag() else (1,) * rank
    if dilations != (1,) * rank:
        attributes["dilations"] = list(dilations)
    if draw.flag():
        attributes["strides"] = [draw.integer(1, 4) for _ in range(rank)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = tuple(draw.integer(e, e + 3) for e in extent)
    padding = draw.among(["none", "pads", "auto"])
    if padding == "pads":
        attributes["pads"] = [draw.integer(0, k - 1) for _ in range(2) for k in kernel]
    elif padding == "auto" and dilations == (1,) * rank:
        attributes["auto_pad"] = draw.among(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    return kernel, attributes, sizes


def rank(draw: Draw) -> int:
    """Spatial axes: two most often."""
    return draw.among([2, 2, 1, 3])


@generates("Conv")
def conv(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    kernel, attributes, sizes = window(draw, rank(draw))
    group, into, out = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    if group > 1 or draw.flag():
        attributes["group"] = group
    attributes |= draw.some({"kernel_shape": lambda: list(kernel)})
    x = draw.plain(dtype, (draw.size(0, 2), group * into, *sizes), -2, 2)
    inputs = [x, draw.plain(dtype, (group * out, into, *kernel), -2, 2)]
    if draw.flag():
        inputs.append(draw.plain(dtype, (group * out,)))
    if draw.seldom():
        inputs[1] = draw.plain(dtype, (group * out, into + 1, *kernel))
        return Example(inputs, attributes, invalid="the channels do not fit the weights")
    return Example(inputs, attributes)


@generates("ConvInteger")
def conv_integer(draw: Draw) -> Example:
    kernel, attributes, sizes = window(draw, 2)
    group, into, out = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    attributes |= {"group": group} if group > 1 else {}
    left, right = draw.dtype("x"), draw.dtype("w")
    points = [draw.plain(left, ()) if draw.flag() else None, draw.plain(right, ())] if draw.flag() else []
    x, w = draw.anything(left, (1, group * into, *sizes)), draw.anything(right, (group * out, into, *kernel))
    return Example([x, w, *points], attributes)


@generates("QLinearConv")
def quantized_conv(draw: Draw) -> Example:
    kernel, attributes, sizes = window(draw, 2)
    group, into, out = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    attributes |= {"group": group} if group > 1 else {}
    x_type, w_type, y_type = draw.dtype("x"), draw.dtype("w"), draw.dtype("y_zero_point")
    w_scale = np.array([0.5, 0.25, 1, 2], np.float32)[: group * out] if draw.flag() else HALF
    w_zero = np.zeros(w_scale.shape, w_type) if w_scale.ndim else draw.plain(w_type, (), 0, 0 if w_type.kind == "i" else 2)
    inputs = [draw.plain(x_type, (1, group * into, *sizes), -9, 9), QUARTER, draw.plain(x_type, ())]
    inputs += [draw.plain(w_type, (group * out, into, *kernel), -9, 9), w_scale, w_zero, HALF, draw.plain(y_type, ())]
    bias = [draw.plain(np.int32, (group * out,), -20, 20)] if draw.flag() else []
    return Example([*inputs, *bias], attributes)


@generates("ConvTranspose")
def transposed_conv(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    spatial = rank(draw)
    kernel, attributes, sizes = window(draw, spatial)
    group, into, out = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    attributes |= {"group": group} if group > 1 else {}
    strides = attributes.get("strides", [1] * spatial)
    if "auto_pad" not in attributes and draw.flag():
        attributes["output_padding"] = [draw.integer(0, s - 1) for s in strides]
    if "pads" in attributes:
        attributes["pads"] = [min(p, 1) if k > 2 else 0 for p, k in zip(attributes["pads"], kernel * 2, strict=True)]
    inputs = [draw.plain(dtype, (draw.size(0, 2), group * into, *sizes), -2, 2)]
    inputs.append(draw.plain(dtype, (group * into, out, *kernel), -2, 2))
    if draw.flag():
        inputs.append(draw.plain(dtype, (group * out,)))
    return Example(inputs, attributes)


@generates("DeformConv")
def deformable_conv(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    kernel, groups, offsets, into, out = (draw.integer(1, 2), draw.integer(1, 2)), draw.integer(1, 2), draw.integer(1, 2), 2, 1
    sizes = tuple(k + draw.integer(0, 2) for k in kernel)
    attributes: dict[str, Any] = {"kernel_shape": list(kernel), "pads": [draw.integer(0, 1)] * 4}
    attributes["group"], attributes["offset_group"] = groups, offsets
    stride = draw.integer(1, 2)
    attributes["strides"] = [stride, stride]
    result = tuple((s + 2 * attributes["pads"][0] - k) // stride + 1 for s, k in zip(sizes, kernel, strict=True))
    taps = kernel[0] * kernel[1]
    x = draw.plain(dtype, (1, groups * into, *sizes), -2, 2)
    inputs: list[np.ndarray | None] = [x, draw.plain(dtype, (groups * out, into, *kernel), -2, 2)]
    inputs.append(draw.plain(dtype, (1, offsets * taps * 2, *result), -1, 1))
    if draw.flag():
        inputs.append(draw.plain(dtype, (groups * out,)) if draw.flag() else None)
        inputs.append(draw.plain(dtype, (1, offsets * taps, *result), 0, 1))
    return Example(inputs, attributes)


@generates("CausalConvWithState")
def causal_conv(draw: Draw) -> Example:
    dtype = draw.dtype("input")
    batch, channels, length, k = draw.integer(1, 2), draw.integer(1, 3), draw.integer(1, 4), draw.integer(1, 3)
    inputs: list[np.ndarray | None] = [draw.plain(dtype, (batch, channels, length)), draw.plain(dtype, (channels, 1, k))]
    inputs.append(draw.plain(dtype, (channels,)) if draw.flag() else None)
    inputs.append(draw.plain(dtype, (batch, channels, k - 1)) if draw.flag() else None)
    while inputs[-1] is None:
        inputs.pop()
    return Example(inputs, draw.some({"activation": lambda: draw.among(["none", "silu", "swish"])}), 2)


@generates("Col2Im")
def columns_to_image(draw: Draw) -> Example:
    block, attributes, image = window(draw, rank(draw))
    attributes.pop("auto_pad", None)
    spatial = len(block)
    pads = attributes.get("pads", [0] * 2 * spatial)
    dilations, strides = (attributes.get(n, [1] * spatial) for n in ("dilations", "strides"))
    blocks = [(image[i] + pads[i] + pads[spatial + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(spatial)]
    shape = (draw.integer(1, 2), draw.integer(1, 2) * int(np.prod(block)), int(np.prod(blocks)))
    return Example([draw.plain(draw.dtype("input"), shape), np.array(image), np.array(block)], attributes)


@generates("AveragePool", "LpPool", "MaxPool")
def pool(draw: Draw) -> Example:
    kernel, attributes, sizes = window(draw, rank(draw))
    if draw.schema.name == "LpPool" and draw.version == 1:
        kernel, attributes, sizes = window(draw, 2)
    attributes["kernel_shape"] = list(kernel)
    attributes |= draw.some(
        {
            "ceil_mode": lambda: draw.integer(0, 1),
            "count_include_pad": lambda: draw.integer(0, 1),
            "storage_order": lambda: draw.integer(0, 1),
            "p": lambda: float(draw.integer(1, 3)) if draw.version == 1 else draw.integer(1, 3),
        }
    )
    x = draw.plain(draw.dtype("X"), (draw.size(0, 2), draw.integer(1, 2), *sizes))
    outputs = 2 if len(draw.schema.outputs) == 2 and draw.flag() else 1
    if outputs == 1:
        attributes.pop("storage_order", None)
    return Example([x], attributes, outputs)


@generates("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")
def global_pool(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("X"), draw.shape((3, 5), (1, 3)))
    return Example([x], draw.some({"p": lambda: float(draw.integer(1, 3)) if draw.version == 1 else draw.integer(1, 3)}))


@generates("MaxUnpool")
def max_unpool(draw: Draw) -> Example:
    """Indices into the output, each taken once."""
    n, c, h, w = draw.shape((4, 4), (1, 2))
    stride = draw.integer(1, 2)
    kernel = [draw.integer(stride, 2)] * 2
    height, width = ((s - 1) * stride + kernel[0] for s in (h, w))
    x = draw.plain(draw.dtype("X"), (n, c, h, w))
    planes = np.arange(n * c).reshape(n, c, 1, 1) * height * width
    taken = np.stack([draw.generator.permutation(height * width)[: h * w] for _ in range(n * c)]).reshape(n, c, h, w)
    more = [np.array([n, c, height + 1, width + 1])] if draw.flag() else []
    return Example([x, (taken + planes).astype(np.int64), *more], {"kernel_shape": kernel, "strides": [stride] * 2})


@generates("LinearAttention")
def linear_attention(draw: Draw) -> Example:
    dtype = draw.dtype("query")
    batch, length, kv, groups, k, v = draw.integer(1, 2), draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2), 2, draw.integer(1, 3)
    rule = draw.among(["linear", "gated", "delta", "gated_delta"])
    widths = (kv * groups * k, kv * k, kv * v)
    inputs: list[np.ndarray | None] = [draw.plain(dtype, (batch, length, width), -1, 1) for width in widths]
    inputs.append(draw.plain(draw.dtype("past_state"), (batch, kv, k, v), -1, 1) if draw.flag() else None)
    inputs.append(draw.plain(dtype, (batch, length, draw.among([kv * k, kv])), -1, 0) if "gated" in rule else None)
    inputs.append(draw.plain(dtype, (batch, length, kv), 0, 1) if "delta" in rule else None)
    while inputs[-1] is None:
        inputs.pop()
    attributes = {"q_num_heads": kv * groups, "kv_num_heads": kv, "update_rule": rule}
    return Example(inputs, attributes | draw.some({"scale": lambda: draw.real(0.125, 1)}), 2)
