"""What follows a convolution or a matrix product while its result is in cache: bias, residual, activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array
from onnxgpu.providers.cpu.expression import Expression
from onnxgpu.providers.cpu.threads import BLOCK, share

_ARGUMENTS = {"Clip": 2, "LeakyRelu": 1, "HardSigmoid": 2, "QuickGelu": 1}
_PLAIN = ("Relu", "Sigmoid", "HardSwish", "Silu", "Tanh", "Gelu", "GeluTanh")
_COST = {"Relu": 2, "Clip": 2, "": 0}
_SECONDS_A_PASS = 1.5e-10
_LARGE_BLOCK = 4 * BLOCK
"""Elements of one block where nothing but the block is in cache. Fewer and longer calls share the interpreter lock better."""


class Epilogue:
    """Bias, residual and activation, applied in place.

    Args:
        attributes: `activation` (one of Relu, Sigmoid, HardSwish, Silu, Tanh, Gelu, GeluTanh, Clip, LeakyRelu, HardSigmoid,
            QuickGelu, or "" for none) with `activation_alpha` and `activation_beta` (Clip: minimum and maximum).

    Raises:
        InvalidGraph: the activation is none of these.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.activation: str = attributes.get("activation", "") or ""
        if self.activation and self.activation not in (*_PLAIN, *_ARGUMENTS):
            raise InvalidGraph(f"activation {self.activation!r} is none of {', '.join((*_PLAIN, *_ARGUMENTS))}")
        default = {"Clip": (-np.inf, np.inf), "LeakyRelu": (0.01, 0.0), "HardSigmoid": (0.2, 0.5), "QuickGelu": (1.702, 0.0)}.get(
            self.activation, (0.0, 0.0)
        )
        given = (attributes.get("activation_alpha", default[0]), attributes.get("activation_beta", default[1]))
        arguments = [f"={float(argument)!r}" for argument in given[: _ARGUMENTS.get(self.activation, 0)]]
        self._expression = Expression([" ".join((self.activation, "0", *arguments))]) if self.activation else None
        self._takes_memory = _COST.get(self.activation, 10) > 2

    def seconds(self, elements: int, bias: Array | None, residual: Array | None) -> float:
        """Estimated time on one core."""
        return _SECONDS_A_PASS * elements * self._passes(bias, residual)

    def _passes(self, bias: Array | None, residual: Array | None) -> int:
        return (bias is not None) + (residual is not None) + _COST.get(self.activation, 10 if self.activation else 0)

    def apply(self, block: Array, bias: Array | None, residual: Array | None) -> None:
        """Work on `block`, an array (rows, columns) with contiguous rows, in place.

        Args:
            block: what was computed.
            bias: broadcasts against `block`: (rows, 1) or (columns,).
            residual: of the block's shape.
        """
        passes = self._passes(bias, residual)
        if not passes or block.size == 0:
            return

        def part(start: int, stop: int) -> None:
            rows = slice(start, stop)
            self.apply_here(
                block[rows],
                bias[rows] if bias is not None and bias.ndim == 2 else bias,
                None if residual is None else residual[rows],
            )

        share(part, block.shape[0], block.size * passes)

    def apply_here(self, block: Array, bias: Array | None, residual: Array | None) -> None:
        """`apply` in the calling thread alone, for callers that share the work themselves."""
        height = max(1, (BLOCK if self._takes_memory else _LARGE_BLOCK) // block.shape[1])
        for row in range(0, block.shape[0], height):
            piece = block[row : row + height]
            if bias is not None:
                np.add(piece, bias[row : row + height] if bias.ndim == 2 else bias, out=piece)
            if residual is not None:
                np.add(piece, residual[row : row + height], out=piece)
            self._activate(piece)

    def _activate(self, piece: Array) -> None:
        if self._expression is not None:
            self._expression.block([piece], piece)
