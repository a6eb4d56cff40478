"""ReferenceExecutionProvider: runs a node with `onnx.reference`, so that no standard operator is ever missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from onnxgpu.dtypes import code_of
from onnxgpu.errors import RuntimeException
from onnxgpu.host_provider import HostProvider
from onnxgpu.model_file.operation_proto import attribute_proto
from onnxgpu.provider import Array, Claim, Operation, Refusal, Spec, Subgraph, Value

OPERATOR_MODULES = {
    "": "onnx.reference.ops",
    "ai.onnx.ml": "onnx.reference.ops.aionnxml",
    "ai.onnx.preview": "onnx.reference.ops.aionnx_preview",
    "ai.onnx.preview.training": "onnx.reference.ops.aionnx_preview_training",
}
"""Where `onnx.reference` keeps the operators of each domain."""

NEEDED_PACKAGES = {"ImageDecoder": ("PIL", "Pillow")}
"""Operator → module and name of a package that `onnx.reference` imports when it runs it."""

RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"})


class ReferenceProvider(HostProvider):
    """`onnx.reference`, one node at a time."""

    name: ClassVar[str] = "ReferenceExecutionProvider"
    preference: ClassVar[int] = 99
    last_resort: ClassVar[bool] = True

    @classmethod
    def unavailable(cls) -> str | None:
        """Always available: `onnx` is a dependency."""
        return None

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return frozenset(OPERATOR_MODULES) - {""}

    def claim(self, operation: Operation) -> Claim | Refusal:
        """Any operator of a standard domain that `onnx.reference` implements, except control flow."""
        if operation.domain not in OPERATOR_MODULES:
            return Refusal(f"onnx.reference has no domain {operation.domain}")
        if any(isinstance(value, Subgraph) for value in operation.attributes.values()):
            return Refusal("control flow is not run by onnx.reference")
        module, package = NEEDED_PACKAGES.get(operation.operator, (None, None))
        if module is not None and find_spec(module) is None:
            return Refusal(f"onnx.reference needs {package} for {operation.operator}: pip install onnxgpu[image]")
        try:
            import_module(OPERATOR_MODULES[operation.domain]).load_op(operation.domain, operation.operator, operation.version)
        except Exception as error:
            return Refusal(
                f"onnx.reference does not implement {operation.operator} as of opset {operation.version} ({type(error).__name__})"
            )
        return Claim(lambda: _ReferenceKernel(operation), deterministic=operation.operator not in RANDOM)

    def cost(self, operation: Operation) -> float:
        """A guess: a hundred times the CPU provider's."""
        return super().cost(operation) * 100


class _ReferenceKernel:
    """One node as a one-node model, evaluated for the element types that come."""

    def __init__(self, operation: Operation) -> None:
        from onnx import helper

        self._operation = operation
        self._inputs = [f"x{i}" if value is not None else "" for i, value in enumerate(operation.inputs)]
        self._outputs = [f"y{i}" if value is not None else "" for i, value in enumerate(operation.outputs)]
        self._node = helper.make_node(operation.operator, self._inputs, self._outputs, domain=operation.domain)
        self._node.attribute.extend(attribute_proto(name, value) for name, value in operation.attributes.items())
        self._evaluators: dict[tuple[int, ...], Callable[..., Any]] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Unknown until run."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run the node."""
        key = tuple(code_of(value.dtype) if isinstance(value, np.ndarray) else 0 for value in inputs)
        if key not in self._evaluators:
            self._evaluators[key] = self._evaluator(key)
        feeds = {name: value for name, value in zip(self._inputs, inputs, strict=True) if name}
        results = dict(zip([n for n in self._outputs if n], self._evaluators[key](None, feeds), strict=True))
        return tuple(_array(results[name]) if name else None for name in self._outputs)

    def _evaluator(self, key: tuple[int, ...]) -> Callable[..., Any]:
        from onnx import ValueInfoProto, helper
        from onnx.reference import ReferenceEvaluator

        operation = self._operation
        inputs = [
            helper.make_tensor_value_info(n, code, None) if code else ValueInfoProto(name=n)
            for n, code in zip(self._inputs, key, strict=True)
            if n
        ]
        outputs = [ValueInfoProto(name=n) for n in self._outputs if n]
        imports = [helper.make_opsetid(operation.domain, operation.version)]
        model = helper.make_model(helper.make_graph([self._node], "node", inputs, outputs), opset_imports=imports)
        try:
            run: Callable[..., Any] = ReferenceEvaluator(model).run
        except Exception as error:
            raise RuntimeException(f"onnx.reference cannot prepare {operation}: {type(error).__name__}: {error}") from error
        return run


def _array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.generic) else value


PROVIDER = ReferenceProvider
