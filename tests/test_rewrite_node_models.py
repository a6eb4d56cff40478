"""ONNX's own node tests: with some or all inputs made constant, a rewrite changes no result."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases
from onnx.reference import ReferenceEvaluator

from onnxgpu.rewrite import rewrite
from tests.cases.tolerances import assert_same
from tests.rewrite_support import evaluate

_MODULES = [
    "add",
    "argmax",
    "averagepool",
    "batch_normalization",
    "cast",
    "clip",
    "concat",
    "constant",
    "constantofshape",
    "conv",
    "convtranspose",
    "cumsum",
    "dequantizelinear",
    "div",
    "dropout",
    "einsum",
    "equal",
    "expand",
    "eyelike",
    "flatten",
    "gather",
    "gathernd",
    "gelu",
    "gemm",
    "groupnormalization",
    "identity",
    "if_",
    "layernormalization",
    "loop",
    "lstm",
    "matmul",
    "max",
    "maxpool",
    "mod",
    "mul",
    "nonzero",
    "onehot",
    "pad",
    "pow",
    "quantizelinear",
    "rangeop",
    "reducemean",
    "reducesum",
    "reshape",
    "resize",
    "rmsnormalization",
    "scan",
    "scatternd",
    "shape",
    "size",
    "slice",
    "softmax",
    "split",
    "squeeze",
    "string_concat",
    "sub",
    "sum",
    "topk",
    "transpose",
    "trilu",
    "unique",
    "unsqueeze",
    "where",
]
_CASES_OF_EACH = 3
_RANDOM = {"bernoulli"}
"""Operators whose results differ from run to run (their module may be imported by other tests)."""


@functools.cache
def samples() -> dict[str, Any]:
    """The first cases of each operator by name, as a node and expanded into the operator's function body."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in _MODULES:
            importlib.import_module(f"{node_cases.__name__}.{module}")
    found: dict[tuple[str, bool], list[Any]] = {}
    for case in node_cases._NodeTestCases:
        operator = case.name.split("_")[1]
        if operator in _RANDOM:
            continue
        found.setdefault((operator, case.name.endswith("expanded")), []).append(case)
    return {case.name: case for chosen in found.values() for case in chosen[:_CASES_OF_EACH]}


@pytest.mark.parametrize("constant", ["none", "rest", "all"])
def test_results_are_unchanged(constant: str) -> None:
    """With no input, all but the first, or every input made constant; what `onnx.reference` cannot run is left out."""
    problems: dict[str, str] = {}
    compared = 0
    for case in samples().values():
        try:
            compared += compare(case, constant)
        except Exception as problem:
            problems[case.name] = f"{type(problem).__name__}: {problem}"
    assert not problems
    assert compared > 0.8 * len(samples())


def compare(case: Any, constant: str) -> bool:
    """Rewrite the model of `case` and compare its results; False if there is nothing to compare with."""
    inputs = list(case.data_sets[0][0])
    if not all(isinstance(array, np.ndarray | np.generic) for array in inputs):
        return False
    names = [value.name for value in case.model.graph.input]
    feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
    frozen = {"none": [], "rest": names[1:], "all": names}[constant]
    model = with_constants(case.model, {name: feeds.pop(name) for name in frozen})
    try:
        before = ReferenceEvaluator(model).run(None, feeds)
    except Exception:
        return False
    graph = ir.from_proto(model)
    rewrite(graph, level=2, evaluate=functools.partial(evaluate, opset=graph.opset_imports.get("", 1)))
    result = ir.to_proto(graph)
    assert [value.name for value in result.graph.input] == list(feeds)
    assert [value.name for value in result.graph.output] == [value.name for value in model.graph.output]
    assert_same(ReferenceEvaluator(result).run(None, feeds), before)
    return True


def with_constants(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model with these inputs as initializers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [value for value in changed.graph.input if value.name not in arrays]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return onnx.shape_inference.infer_shapes(changed, data_prop=True)
