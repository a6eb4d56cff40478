"""cuDNN's graphs without cuDNN: what the front end prints of a graph, run node by node on the emulated device.

The front end needs no back end to describe a graph. Tensors between two nodes lie in the workspace, in float32.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda.emulator.cudnn_attention import attend, attention_fits
from onnxgpu.providers.cuda.emulator.install import installed

_MOST_AXES = 8
_TYPES = {"data_type.FLOAT": 0, "data_type.HALF": 2, "data_type.BFLOAT16": 14, "None": 0}
_ALIGNMENT = 256
_OPERANDS = {"add": 2, "bias": 2, "relu": 1, "sigmoid": 1}


class _Tensor(ctypes.Structure):
    """`GraphTensor` of libraries/cudnn.cpp."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dim", ctypes.c_int64 * _MOST_AXES),
        ("stride", ctypes.c_int64 * _MOST_AXES),
    )


@dataclass(frozen=True, slots=True)
class _Described:
    """A tensor of a graph: its number, its layout, and where it lies in the workspace if it is between two nodes."""

    uid: int
    dtype: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int | None

    def at(self, addresses: Mapping[int, int], workspace: int) -> _Tensor:
        """For the device."""
        address = addresses[self.uid] if self.offset is None else workspace + self.offset
        dims, strides = ((ctypes.c_int64 * _MOST_AXES)(*numbers) for numbers in (self.shape, self.strides))
        return _Tensor(address, self.dtype, len(self.shape), dims, strides)


class InterpretedGraph:
    """A graph of the front end.

    Args:
        text: its `repr`, which is JSON.

    Raises:
        EPFail: it has an operation, a type or a shape that is not interpreted, or that does not fit.
    """

    def __init__(self, text: str) -> None:
        described = json.loads(text)
        self._nodes: list[dict[str, Any]] = described["nodes"]
        self._tensors: dict[str, _Described] = {}
        self.workspace = 0
        for name, facts in described["tensors"].items():
            self._tensors[name] = self._described(name, facts)
        for node in self._nodes:
            self._check(node)

    def run(self, addresses: dict[int, int], workspace: int, stream: int) -> None:
        """See `onnxgpu.providers.cuda.libraries.graphs.Plan`.

        Raises:
            EPFail: a call failed.
        """
        device = installed()
        assert device is not None
        missing = [name for name, tensor in self._tensors.items() if tensor.offset is None and tensor.uid not in addresses]
        if missing:
            raise EPFail(f"a cuDNN graph was given no address for {missing[0]}")
        for node in self._nodes:
            operands = [self._tensors[name].at(addresses, workspace) for name in (*node["inputs"].values(), *node["outputs"].values())]
            if node["type"] == "SDPA":
                error = attend(device.library, stream, node, operands)
            elif node["type"] == "POINTWISE":
                error = _pointwise(device.library, stream, node, operands)
            else:
                error = _convolution(device.library, stream, node, operands)
            if error:
                raise EPFail(f"{node['name']} of a cuDNN graph failed on the emulated device: error {error}, {device.message}")

    def _described(self, name: str, facts: Mapping[str, Any]) -> _Described:
        if facts["dtype"] not in _TYPES:
            raise EPFail(f"a cuDNN graph has a tensor of {facts['dtype']}, which the emulated device does not interpret")
        shape, offset = tuple(facts["dim"]), None
        if facts["is_virtual"]:
            shape = shape or self._like(name)
            offset = self.workspace
            self.workspace += -(-4 * prod(shape) // _ALIGNMENT) * _ALIGNMENT
        dtype = 0 if facts["is_virtual"] else _TYPES[facts["dtype"]]
        return _Described(facts["uid"], dtype, shape, tuple(facts["stride"]) or _dense(shape), offset)

    def _like(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that the front end leaves to the back end: that of the first operand."""
        (node,) = (node for node in self._nodes if name in node["outputs"].values())
        return self._tensors[next(iter(node["inputs"].values()))].shape

    def _check(self, node: Mapping[str, Any]) -> None:
        inputs = [self._tensors[name] for name in node["inputs"].values()]
        (output,) = (self._tensors[name] for name in node["outputs"].values())
        if node["type"] == "POINTWISE":
            mode = node["params"]["mode"]
            fits = _OPERANDS.get(mode) == len(inputs) and all(_broadcasts(each.shape, output.shape) for each in inputs)
        elif node["type"] in ("CONV_FPROP", "CONV_DGRAD"):
            is_gradient = node["type"] == "CONV_DGRAD"
            x, y = (output, inputs[0]) if is_gradient else (inputs[0], output)
            fits = _windows_fit(x.shape, inputs[1].shape, y.shape, node["params"])
        elif node["type"] == "SDPA":
            fits = attention_fits(node, self._tensors)
        else:
            raise EPFail(f"a cuDNN graph has a node of type {node['type']}, which the emulated device does not interpret")
        if not fits:
            shapes = ", ".join(str(list(each.shape)) for each in (*inputs, output))
            raise EPFail(f"{node['name']} of a cuDNN graph has operands that do not fit: {shapes}")


def _windows_fit(x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], params: Mapping[str, Sequence[int]]) -> bool:
    if len(x) not in (4, 5) or len(w) != len(x) or len(y) != len(x) or x[0] != y[0] or w[0] != y[1] or x[1] % w[1]:
        return False
    if y[1] % (x[1] // w[1]):
        return False
    numbers = (params[name] for name in ("pre_padding", "post_padding", "stride", "dilation"))
    geometry = zip(x[2:], w[2:], y[2:], *numbers, strict=True)
    return all(
        (size + before + after - (taps - 1) * apart - 1) // step + 1 == count for size, taps, count, before, after, step, apart in geometry
    )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) == len(to) and all(size in (1, whole) for size, whole in zip(shape, to, strict=True))


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _convolution(library: Any, stream: int, node: Mapping[str, Any], operands: list[_Tensor]) -> int:
    first, w, last = (ctypes.byref(each) for each in operands)
    is_gradient = node["type"] == "CONV_DGRAD"
    x, y = (last, first) if is_gradient else (first, last)
    geometry = [(ctypes.c_int64 * len(node["params"][name]))(*node["params"][name]) for name in ("pre_padding", "stride", "dilation")]
    return int(library.emulated_convolution(ctypes.c_void_p(stream), x, w, y, *geometry, is_gradient))


def _pointwise(library: Any, stream: int, node: Mapping[str, Any], operands: list[_Tensor]) -> int:
    params = node["params"]
    *inputs, y = (ctypes.byref(each) for each in operands)
    second = inputs[1] if len(inputs) > 1 else None
    limits = [params.get(name) for name in ("negative_slope", "lower_clip", "upper_clip")]
    slope, low, high = (default if value is None else value for value, default in zip(limits, (0.0, 0.0, inf), strict=True))
    numbers = (ctypes.c_double(slope), ctypes.c_double(low), ctypes.c_double(high))
    return int(library.emulated_pointwise(ctypes.c_void_p(stream), params["mode"].encode(), inputs[0], second, y, *numbers))
