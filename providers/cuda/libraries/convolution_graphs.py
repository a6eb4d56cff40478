"""Convolutions as cuDNN graphs: what each is made of, independent of the device it is going to run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

Sizes = tuple[int, ...]

X, W, BIAS, RESIDUAL, Y = 1, 2, 3, 4, 5
"""Numbers of the tensors, by which a graph is given their addresses."""

_EPILOGUE = ("activation", "activation_alpha", "activation_beta")

ACTIVATIONS = ("", "Relu", "Clip", "Sigmoid")
"""Those that cuDNN runs in one kernel with a convolution and its bias, and without a bias none of them; Clip from 0."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """activation(convolution of X with W + residual + bias), or a transposed convolution: the gradient of one for its input.

    Shapes are ONNX's, with two or three spatial axes, and tensors are dense.

    Attributes:
        dtype: `float`, `float16` or `bfloat16`, that of all tensors; sums are in float32.
        x: (N, C, …).
        w: (M, C / group, kernel…), of a transposed one (C, M / group, kernel…).
        y: the result's shape.
        before, after: padding on the two sides of each spatial axis.
        transposed: whether it is a transposed one.
        high: Clip's upper end.
        tf32: float32 may be rounded to TF32.
    """

    dtype: str
    x: Sizes
    w: Sizes
    y: Sizes
    before: Sizes
    after: Sizes
    strides: Sizes
    dilations: Sizes
    transposed: bool = False
    has_bias: bool = False
    has_residual: bool = False
    activation: str = ""
    high: float = 0.0
    tf32: bool = False

    @property
    def bare(self) -> Convolution:
        """The convolution alone."""
        return replace(self, has_bias=False, has_residual=False, activation="", high=0.0)

    def describe(self, cudnn: Any, graph: Any) -> None:
        """Put it into `graph`, an empty `cudnn.pygraph` that computes in float32."""
        dtype = data_type(cudnn, self.dtype)

        def tensor(name: str, uid: int, shape: Sizes) -> Any:
            return graph.tensor(name=name, uid=uid, dim=list(shape), stride=dense_strides(shape), data_type=dtype)

        geometry = {
            "pre_padding": list(self.before),
            "post_padding": list(self.after),
            "stride": list(self.strides),
            "dilation": list(self.dilations),
        }
        x, w = tensor("X", X, self.x), tensor("W", W, self.w)
        if self.transposed:
            y = graph.conv_dgrad(loss=x, filter=w, **geometry)
            y.set_dim(list(self.y))
            y.set_stride(dense_strides(self.y))
        else:
            y = graph.conv_fprop(image=x, weight=w, **geometry)
        if self.has_residual:
            y = graph.add(a=y, b=tensor("residual", RESIDUAL, self.y))
        if self.has_bias:
            shape = (1, self.y[1], *(1 for _ in self.before))
            y = graph.bias(input=y, bias=tensor("bias", BIAS, shape))
        y = _activated(graph, y, self)
        # Without strides of its own the result of a fused graph is channels-last.
        y.set_name("Y").set_uid(Y).set_output(True).set_data_type(dtype)
        y.set_dim(list(self.y)).set_stride(dense_strides(self.y))

    def tensor_bytes(self) -> dict[int, int]:
        """Number of each tensor of the graph → its size."""
        width = 4 if self.dtype == "float" else 2
        shapes = {X: self.x, W: self.w, Y: self.y}
        if self.has_bias:
            shapes[BIAS] = self.y[1:2]
        if self.has_residual:
            shapes[RESIDUAL] = self.y
        return {number: prod(shape) * width for number, shape in shapes.items()}


def split_attributes(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of the convolution, and those of its activation as `onnxgpu.fuse.convolution` writes it.

    onnxruntime's FusedConv has the activation's arguments in one list.
    """
    geometry = {name: value for name, value in attributes.items() if name not in (*_EPILOGUE, "activation_params")}
    given = zip(_EPILOGUE[1:], attributes.get("activation_params", ()), strict=False)
    return geometry, {name: attributes[name] for name in _EPILOGUE if name in attributes} | dict(given)


def data_type(cudnn: Any, name: str) -> Any:
    """cuDNN's, for ONNX's name."""
    return {"float": cudnn.data_type.FLOAT, "float16": cudnn.data_type.HALF, "bfloat16": cudnn.data_type.BFLOAT16}[name]


def dense_strides(shape: Sizes) -> list[int]:
    """In elements, of a tensor in C order."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return strides[::-1]


def _activated(graph: Any, y: Any, convolution: Convolution) -> Any:
    name = convolution.activation
    if name == "Relu":
        return graph.relu(input=y)
    if name == "Clip":
        return graph.relu(input=y, upper_clip=convolution.high)
    return graph.sigmoid(input=y) if name == "Sigmoid" else y
