"""onnx's own cases, to be run with any provider: what it claims has to be right.

    from onnxgpu.testing import check, suite_cases

    @pytest.mark.parametrize("case", [case for case in suite_cases() if case.operators & {"Add", "Relu"}], ids=str)
    def test_case(case):
        assert check(case, ["MyExecutionProvider"]) > 0

The cases come from the installed package `onnx`: more than 2,000 models with inputs and expected outputs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

from onnxgpu.session import InferenceSession

UNDETERMINED = {f"test_bernoulli{kind}{form}" for kind in ("", "_double", "_seed") for form in ("", "_expanded")}
"""Cases that compare random draws whose generator the specification leaves open."""


@dataclass(frozen=True)
class SuiteCase:
    """One case; each data set is (inputs in order, expected outputs in order).

    Attributes:
        name: onnx's.
        model: with one operator, or a few.
        data_sets: inputs and outputs as NumPy arrays, lists of them, or None.
        rtol, atol: how far results may be from the expected ones.
    """

    name: str
    model: onnx.ModelProto
    data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    def __str__(self) -> str:
        return self.name

    @property
    def operators(self) -> frozenset[str]:
        """Operators of the model's graph."""
        return frozenset(node.op_type for node in self.model.graph.node)

    def feeds(self) -> Iterator[tuple[dict[str, Any], Sequence[Any]]]:
        """Feeds and expected outputs of each data set."""
        initializers = {x.name for x in self.model.graph.initializer} | {x.values.name for x in self.model.graph.sparse_initializer}
        names = [x.name for x in self.model.graph.input if x.name not in initializers]
        for inputs, outputs in self.data_sets:
            yield {n: np.asarray(x) if isinstance(x, np.generic) else x for n, x in zip(names, inputs, strict=False)}, outputs

    def check(self, expected: Sequence[Any], actual: Sequence[Any]) -> None:
        """Compare as onnx's own runner does, which cannot compare 0-d arrays inside a sequence unless they are taken out.

        Raises:
            AssertionError: a result is not the expected one.
        """
        for index, (e, a) in enumerate(zip(expected, actual, strict=True)):
            if isinstance(e, list) and isinstance(a, list):
                self.check(e, a)
                expected, actual = (
                    [*expected[:index], np.zeros(()), *expected[index + 1 :]],
                    [*actual[:index], np.zeros(()), *actual[index + 1 :]],
                )
        Runner.assert_similar_outputs(expected, actual, rtol=self.rtol, atol=self.atol, model_dir=None)


def check(case: SuiteCase, providers: Sequence[str | tuple[str, Mapping[str, str]]]) -> int:
    """Run a case with these providers, the CPU behind them; twice, as the second run is one of a recorded plan.

    Returns:
        How many nodes of the model's the first provider has.

    Raises:
        AssertionError: a result is not the expected one.
        OnnxGpuError: the model cannot be loaded or run.
    """
    session = InferenceSession(case.model.SerializeToString(), providers=providers)
    for feeds, expected in case.feeds():
        for _ in range(2):
            case.check(expected, session.run(None, feeds))
    first = session.get_providers()[0]
    return sum(assignment.provider.name == first for assignment in session.placement.nodes())


@cache
def suite_cases() -> tuple[SuiteCase, ...]:
    """Every case whose model and data are part of the onnx package, by name; those with nothing to compare left out.

    Pillow is hidden meanwhile: without it the ImageDecoder cases come with onnx's own data instead of being encoded anew.
    """
    from onnx.backend.test.loader import load_model_tests

    pillow = {name: sys.modules.pop(name) for name in ("PIL",) if name in sys.modules}
    sys.modules["PIL"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [*load_model_tests(kind="node")]
            for kind in ("simple", "pytorch-converted", "pytorch-operator"):
                found += load_model_tests(kind=kind)
    finally:
        del sys.modules["PIL"]
        sys.modules.update(pillow)
    cases = [_case(test) for test in found]
    return tuple(sorted((case for case in cases if case.name not in UNDETERMINED), key=lambda case: case.name))


def _case(test: Any) -> SuiteCase:
    if test.model is not None:
        data_sets = [([_array(x) for x in inputs], [_array(x) for x in outputs]) for inputs, outputs in test.data_sets]
        return SuiteCase(test.name, test.model, data_sets, test.rtol, test.atol)
    folder = Path(test.model_dir)
    model = onnx.load(folder / "model.onnx")
    data_sets = [_data_set(path, model) for path in sorted(folder.glob("test_data_set_*"))]
    return SuiteCase(test.name, model, data_sets, test.rtol, test.atol)


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _data_set(folder: Path, model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    inputs = [
        _value(folder / f"input_{i}.pb", value.type) for i, value in enumerate(model.graph.input) if (folder / f"input_{i}.pb").exists()
    ]
    outputs = [_value(folder / f"output_{i}.pb", value.type) for i, value in enumerate(model.graph.output)]
    return inputs, outputs


def _value(path: Path, kind: onnx.TypeProto) -> Any:
    if kind.HasField("sequence_type"):
        sequence = onnx.SequenceProto()
        sequence.ParseFromString(path.read_bytes())
        return numpy_helper.to_list(sequence)
    if kind.HasField("optional_type"):
        optional = onnx.OptionalProto()
        optional.ParseFromString(path.read_bytes())
        return numpy_helper.to_optional(optional)
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)
