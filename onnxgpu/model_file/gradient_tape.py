"""Where the nodes of a gradient are written: what is known of the values they read, and the gradients found so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import NotImplemented
from onnxgpu.model_file.names import node_name

if TYPE_CHECKING:
    import onnx

_AXES_AS_INPUT = 13
"""The opset from which on ReduceSum, Squeeze, Unsqueeze and Split have their axes as an input."""


class Tape:
    """The nodes of one gradient, what is known of the values they read, and the gradients found so far."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        import onnx

        self.opset = next(entry.version for entry in model.opset_import if not entry.domain)
        self.nodes: list[onnx.NodeProto] = []
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self._types = {v.name: v.type.tensor_type for v in (*inferred.value_info, *inferred.output, *inferred.input)}
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant" and not node.domain}
        self._name = name
        self._taken = {output for node in model.graph.node for output in node.output} | {*self._types, *self._initializers}
        self._gradients: dict[str, str] = {}
        self._active: Collection[str] = ()

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of ai.onnx and give the name of its output."""
        import onnx

        output = self.new_name(operator)
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def new_name(self, hint: str) -> str:
        """A name that no value has."""
        number = len(self._taken)
        while (name := f"{self._name}/{hint}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A constant."""
        import onnx

        return self("Constant", value=onnx.numpy_helper.from_array(np.asarray(value, dtype)))

    def like(self, name: str, value: float) -> str:
        """A number of the element type of value `name`."""
        return self.constant(value, self.dtype(name))

    def start(self, y: str, active: Collection[str]) -> None:
        """Begin at `y`, whose gradient is one; only values in `active` get one."""
        import onnx

        self._active = active
        value = onnx.numpy_helper.from_array(np.ones(1, self.dtype(y)))
        if y in active:
            self._gradients[y] = self("ConstantOfShape", self("Shape", y), value=value)

    def wants(self, name: str) -> bool:
        """Whether a gradient of this value is needed."""
        return name in self._active

    def gradient(self, name: str) -> str | None:
        """The gradient of a value as far as it is known, or None."""
        return self._gradients.get(name)

    def give(self, name: str, gradient: str) -> None:
        """Add to the gradient of a value of the same shape."""
        if self.wants(name):
            before = self._gradients.get(name)
            self._gradients[name] = gradient if before is None else self("Add", before, gradient)

    def give_broadcast(self, name: str, gradient: str, output: str) -> None:
        """Add to the gradient of a value that was broadcast to the shape of `output`."""
        if self.wants(name):
            self.give(name, self._summed(gradient, name, output))

    def finish(self, name: str, output: str) -> None:
        """Call the gradient of a value `output`; zeros if the target does not depend on it."""
        found = self._gradients.get(name)
        if found is None:
            import onnx

            found = self("ConstantOfShape", self("Shape", name), value=onnx.numpy_helper.from_array(np.zeros(1, self.dtype(name))))
        self.nodes.append(type(self.nodes[0])(op_type="Identity", name=output, input=[found], output=[output]))

    def shape(self, name: str) -> list[int | str | None] | None:
        """Dimensions as far as they are known; None if not even the rank is."""
        if name in self._initializers:
            return list(self._initializers[name].dims)
        found = self._types.get(name)
        if found is None or not found.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in found.shape.dim]

    def rank(self, name: str, node: onnx.NodeProto) -> int:
        """Number of dimensions of a value that `node` reads."""
        shape = self.shape(name)
        if shape is None:
            raise self.refused(node, f"the rank of '{name}' is not known")
        return len(shape)

    def sizes(self, name: str, node: onnx.NodeProto, axes: Iterable[int]) -> list[int]:
        """Dimensions of a value that `node` reads, which have to be known."""
        shape = self.shape(name) or []
        sizes = [shape[axis] if -len(shape) <= axis < len(shape) else None for axis in axes]
        if any(not isinstance(size, int) for size in sizes):
            raise self.refused(node, f"the shape of '{name}' is not known")
        return [size for size in sizes if isinstance(size, int)]

    def code(self, name: str) -> int:
        """ONNX's number of the element type of a value."""
        code = self._initializers[name].data_type if name in self._initializers else getattr(self._types.get(name), "elem_type", 0)
        if not code:
            raise NotImplemented(f"Gradient '{self._name}': the element type of '{name}' is not known; declare it in value_info")
        return int(code)

    def dtype(self, name: str) -> np.dtype:
        """Element type of a value."""
        return dtype_of(self.code(name))

    def integers(self, name: str, node: onnx.NodeProto) -> list[int]:
        """The elements of a constant that `node` reads."""
        import onnx

        tensor = self._initializers.get(name)
        if tensor is None and name in self._constants:
            attribute = self._constants[name].attribute[0]
            if attribute.name == "value_ints":
                return list(attribute.ints)
            tensor = attribute.t
        if tensor is None or not tensor.data_type:
            raise self.refused(node, f"'{name}' is not constant")
        return [int(value) for value in onnx.numpy_helper.to_array(tensor).reshape(-1)]

    def sum(self, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
        """`x` summed over `axes`."""
        if self.opset >= _AXES_AS_INPUT:
            return self("ReduceSum", x, self.constant(axes), keepdims=keepdims)
        return self("ReduceSum", x, axes=list(axes), keepdims=keepdims)

    def unsqueezed(self, x: str, axes: Sequence[int]) -> str:
        """`x` with dimensions of size 1 at `axes`."""
        if self.opset >= _AXES_AS_INPUT:
            return self("Unsqueeze", x, self.constant(axes))
        return self("Unsqueeze", x, axes=list(axes))

    def reshaped_like(self, x: str, name: str) -> str:
        """The elements of `x` in the shape of value `name`."""
        return self("Reshape", x, self("Shape", name))

    def refused(self, node: onnx.NodeProto, why: str) -> NotImplemented:
        """The error for a node that a rule does not cover."""
        return NotImplemented(f"Gradient '{self._name}' cannot differentiate {node_name(node)}: {why}")

    def _summed(self, gradient: str, name: str, output: str) -> str:
        """A gradient of the shape of `output` summed over the dimensions along which `name` was broadcast to it."""
        small, large = self.shape(name), self.shape(output)
        if small is not None and large is not None and all(isinstance(d, int) for d in (*small, *large)):
            missing = len(large) - len(small)
            axes = [i for i, d in enumerate(large) if i < missing or (small[i - missing] == 1 and d != 1)]
            return self.reshaped_like(self.sum(gradient, axes), name) if axes else gradient
        if self.opset < _AXES_AS_INPUT:
            raise NotImplemented(f"Gradient '{self._name}' needs opset {_AXES_AS_INPUT} or known shapes of '{name}' and '{output}'")
        own = self("Shape", name)
        missing_count = self("Sub", self("Size", self("Shape", output)), self("Size", own))
        ones = self("ConstantOfShape", self("Reshape", missing_count, self.constant([1])), value=self._one())
        axes_of_one = self("NonZero", self("Equal", self("Concat", ones, own, axis=0), self.constant(1)))
        axes_input = self("Reshape", axes_of_one, self.constant([-1]))
        return self("Reshape", self("ReduceSum", gradient, axes_input, noop_with_empty_axes=1), own)

    @staticmethod
    def _one() -> onnx.TensorProto:
        import onnx

        return onnx.numpy_helper.from_array(np.ones(1, np.int64))


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node."""
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
