"""FusedConv, which `onnxgpu.fuse.convolution` makes: a convolution, and one generated kernel for all that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from onnxgpu.provider import Array, Claim, Operation, Spec, Value
from onnxgpu.providers.array_ops.convolution import conv_specs
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal, finish
from onnxgpu.providers.cuda.registry import REGISTRY, operator

_EPILOGUE = ("activation", "activation_alpha", "activation_beta")
_VERSION = 22
"""Of Conv, whose meaning has been one since its first."""


@operator("FusedConv", domain="onnxgpu", types=FLOAT_NAMES, when=activation_refusal)
class FusedConv:
    """activation(convolution + residual + bias)."""

    input_names = ("x", "w", "b", "z")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp, self._attributes = xp, operation.attributes
        self._geometry = {name: value for name, value in operation.attributes.items() if name not in _EPILOGUE}
        conv = replace(operation, operator="Conv", domain="", version=_VERSION, inputs=operation.inputs[:2], attributes=self._geometry)
        claim = REGISTRY.claim(xp, conv)
        assert isinstance(claim, Claim), claim.reason
        self._conv = claim.build()

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """That of the convolution."""
        return (conv_specs(*inputs[:3], **self._geometry),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """That of the convolution."""
        return self._conv.workspace(inputs[:2])

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        if outputs is None:
            outputs = [self._xp.empty(spec.shape, spec.dtype) for spec in self.outputs(inputs)]
        self._conv.launch(inputs[:2], outputs, workspace)
        bias, residual = (*inputs[2:4], None, None)[:2]
        finish(self._attributes, outputs[0], (residual, None if bias is None else per_channel(bias, outputs[0].ndim)))
        return outputs
