"""Small models as ONNX text, rewritten and compared with what they were."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxgpu.rewrite import RewriteReport, rewrite

_HEAD = '<ir_version: 10, opset_import: ["" : {opset}]> model {text}'


def parse(text: str, weights: Mapping[str, np.ndarray] | None = None, opset: int = 21) -> onnx.ModelProto:
    """A model from `(inputs) => (outputs) { nodes }`, with initializers from arrays, shapes inferred."""
    model = onnx.parser.parse_model(_HEAD.format(opset=opset, text=text))
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def evaluate(node: ir.Node, inputs: list[np.ndarray | None], opset: int = 21) -> list[np.ndarray] | None:
    """Run one node with `onnx.reference`; operators other than ONNX's own cannot be run."""
    if node.domain not in ("", "ai.onnx.ml"):
        return None
    proto = ir.to_proto(node)
    proto.ClearField("metadata_props")
    graph_inputs = {name: array for name, array in zip(proto.input, inputs, strict=True) if array is not None}
    graph = helper.make_graph(
        [proto],
        "node",
        [_value_info(name, array) for name, array in graph_inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 5)], ir_version=10)
    return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, graph_inputs)]


def _value_info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    code = onnx.TensorProto.STRING if array.dtype == object else helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, code, array.shape)


def rewritten(model: onnx.ModelProto, level: int = 2, **options: Any) -> tuple[onnx.ModelProto, RewriteReport]:
    """The model after rewriting (the argument is left alone), checked, and the report."""
    graph = ir.from_proto(model)
    opset = graph.opset_imports.get("", 21)
    report = rewrite(graph, level=level, evaluate=partial(evaluate, opset=opset), **options)
    result = ir.to_proto(graph)
    onnx.checker.check_model(result)
    return result, report


def listing(model: onnx.ModelProto) -> list[str]:
    """One line a node: `y = Relu(x)`; the bodies of control flow are indented."""
    return _lines(model.graph, "")


def _lines(graph: onnx.GraphProto, indent: str) -> list[str]:
    lines: list[str] = []
    for node in graph.node:
        attributes = [f"{a.name}={helper.get_attribute_value(a)}" for a in node.attribute if a.type not in (a.GRAPH, a.STRING)]
        attributes += [f"{a.name}={a.s.decode()}" for a in node.attribute if a.type == a.STRING]
        lines.append(f"{indent}{', '.join(node.output)} = {node.op_type}({', '.join([*node.input, *sorted(attributes)])})")
        for attribute in node.attribute:
            if attribute.type == attribute.GRAPH:
                lines += [f"{indent}  {attribute.name}:", *_lines(attribute.g, indent + "    ")]
    return lines


def feeds_of(model: onnx.ModelProto, size: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; every symbolic size is `size`."""
    random = np.random.default_rng(seed)
    given = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.name in given:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else size for dim in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[value.name] = random.standard_normal(shape).astype(dtype) if dtype.kind == "f" else random.integers(0, 2, shape).astype(dtype)
    return feeds


def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    """Outputs from onnxruntime, its own optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def assert_same_results(before: onnx.ModelProto, after: onnx.ModelProto, sizes: tuple[int, ...] = (2, 1, 3)) -> None:
    """Both give the same outputs, under the same names, for random inputs of several sizes."""
    assert [value.name for value in after.graph.input] == [value.name for value in before.graph.input]
    assert [value.name for value in after.graph.output] == [value.name for value in before.graph.output]
    for size in sizes:
        feeds = feeds_of(before, size)
        for expected, actual in zip(run(before, feeds), run(after, feeds), strict=True):
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)
