"""RNN, GRU and LSTM with their products by cuBLASLt; what it does not have is multiplied by our own kernel."""

from __future__ import annotations

from functools import partial

from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Work
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.launches import make_again, written_down
from onnxgpu.providers.cuda.libraries.cublas import Plans
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.libraries.products import MatMul
from onnxgpu.providers.cuda.operators import recurrent

REGISTRY = Registry()
operator = REGISTRY.operator


class _ByLibrary(recurrent.Recurrent):
    """Args: context: of the provider; operation: the node."""

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        super().__init__(context.xp, operation)
        self._product = MatMul(context, Operation("MatMul", (), ()))

    def multiplier(self, a: Array, b: Array, out: Array) -> Work:
        """See `Recurrent`: what the library is called with is decided once."""
        try:
            launches, held = written_down(partial(self._product.launch, (a, b), (out,), None))
        except NotCovered:
            return super().multiplier(a, b, out)
        return partial(make_again, launches, held)


@operator("RNN", types=FLOAT_NAMES, when=recurrent.refusal)
class RNN(_ByLibrary, recurrent.RNN):
    """Spec: https://onnx.ai/onnx/operators/onnx__RNN.html"""


@operator("GRU", types=FLOAT_NAMES, when=recurrent.refusal)
class GRU(_ByLibrary, recurrent.GRU):
    """Spec: https://onnx.ai/onnx/operators/onnx__GRU.html"""


@operator("LSTM", types=FLOAT_NAMES, when=recurrent.refusal)
class LSTM(_ByLibrary, recurrent.LSTM):
    """Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html"""
