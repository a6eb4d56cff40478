"""RNN, GRU and LSTM with their products by cuBLASLt; what it does not have is multiplied by our own kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value, Work
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.launches import make_again, written_down
from onnxgpu.providers.cuda.libraries.cublas import Plans
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.libraries.matrices import stand_in
from onnxgpu.providers.cuda.libraries.products import MatMul
from onnxgpu.providers.cuda.operators import recurrent

REGISTRY = Registry()
operator = REGISTRY.operator


class _ByLibrary(recurrent.Recurrent):
    """Args: context: of the provider; operation: the node."""

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        super().__init__(context.xp, operation)
        self._product = MatMul(context, Operation("MatMul", (), ()))

    def sizes(self, inputs: Sequence[Value]) -> recurrent.Sizes:
        """See `Recurrent`; and what the library wants for the two kinds of products."""
        x, w, r = (stand_in(Spec(tuple(value.shape), value.dtype)) for value in inputs[:3])
        states = stand_in(Spec((w.shape[0], x.shape[1 - self.layout], r.shape[2]), x.dtype))
        pairs = (x.reshape(-1, x.shape[2]), w.reshape(-1, w.shape[2]).T), (states, r.swapaxes(1, 2))
        room = max(self._room(a, b) for a, b in pairs)
        return {**super().sizes(inputs), "library": ((room,), np.dtype(np.uint8))}

    def multiplier(self, a: Array, b: Array, out: Array, scratch: Mapping[str, Array]) -> Work:
        """See `Recurrent`: what the library is called with is decided once."""
        try:
            launches, held = written_down(partial(self._product.launch, (a, b), (out,), scratch["library"]))
        except NotCovered:
            return super().multiplier(a, b, out, scratch)
        return partial(make_again, launches, held)

    def _room(self, a: np.ndarray, b: np.ndarray) -> int:
        try:
            return self._product.workspace((a, b))
        except NotCovered:
            return 0


@operator("RNN", types=FLOAT_NAMES, when=recurrent.refusal)
class RNN(_ByLibrary, recurrent.RNN):
    """Spec: https://onnx.ai/onnx/operators/onnx__RNN.html"""


@operator("GRU", types=FLOAT_NAMES, when=recurrent.refusal)
class GRU(_ByLibrary, recurrent.GRU):
    """Spec: https://onnx.ai/onnx/operators/onnx__GRU.html"""


@operator("LSTM", types=FLOAT_NAMES, when=recurrent.refusal)
class LSTM(_ByLibrary, recurrent.LSTM):
    """Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html"""
