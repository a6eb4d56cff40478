"""Segments that a session really cuts, in small types: by a provider that reduces them and runs them on the CPU provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from onnxgpu import discovery
from onnxgpu.host_provider import HostProvider
from onnxgpu.model_file.operation_proto import model_of
from onnxgpu.provider import Array, Claim, Operation, Refusal, Spec, Subgraph, Value
from onnxgpu.providers.tensorrt.precision import PrecisionReport, PrecisionSettings, prepared, settings_of
from onnxgpu.providers.tensorrt.precision.audit import audit
from onnxgpu.providers.tensorrt.precision.whole_model import joined, rewritten
from onnxgpu.segment_provider import Segment, SegmentProvider
from onnxgpu.session import InferenceSession
from tests.tensorrt.precision_models import FEEDS, transformer
from tests.tensorrt.precision_support import TOLERANCE, error, run

NAME = "ReducingExecutionProvider"


class ReducingProvider(HostProvider, SegmentProvider):
    """Whole segments in a small type."""

    name: ClassVar[str] = NAME
    listed: ClassVar[bool] = False
    option_types: ClassVar[Mapping[str, type]] = {"trt_fp16_enable": bool, "trt_bf16_enable": bool, "trt_precision_table": str}
    reports: ClassVar[list[PrecisionReport]] = []

    def supports(self, operation: Operation) -> Refusal | None:
        """Everything without bodies."""
        has_body = any(isinstance(value, Subgraph) for value in operation.attributes.values())
        return Refusal("control flow") if has_body else None

    def claim_segment(self, segment: Segment) -> Claim:
        """Every segment."""
        cut, report = prepared(model_of(segment), settings_of(self.options))
        self.reports.append(report)
        proto = joined(cut)
        onnx.checker.check_model(proto, full_check=True)
        return Claim(lambda: ReducedKernel(segment, proto))


class ReducedKernel:
    def __init__(self, segment: Segment, proto: onnx.ModelProto) -> None:
        self._names = [value.name for value in segment.inputs]
        self._session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        feeds = dict(zip(self._names, map(np.asarray, inputs), strict=True))
        results: Sequence[Value] = self._session.run(None, feeds)
        return results


@pytest.fixture(autouse=True)
def reducing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ReducingProvider, "reports", [])
    discovery.register("reducing", ReducingProvider)
    yield
    discovery.unregister("reducing")


def session(proto: onnx.ModelProto, **options: Any) -> InferenceSession:
    settings = {name: str(value) for name, value in options.items()}
    return InferenceSession(proto.SerializeToString(), providers=[(NAME, settings), "CPUExecutionProvider"])


@pytest.mark.parametrize(("small", "option"), [("float16", "trt_fp16_enable"), ("bfloat16", "trt_bf16_enable")])
def test_a_transformer_block(small: str, option: str) -> None:
    proto = transformer()
    made = session(proto, **{option: 1})
    assert [step.operation.operator for step in made.plan.steps] == ["Segment"]
    (report,) = ReducingProvider.reports
    computing = {node.computes_in for node in report.nodes if node.operator == "MatMul"}
    assert computing == {small} and report.masks == ("least",)
    assert 0 < error(run(proto, FEEDS), made.run(None, FEEDS)) < TOLERANCE[small]


def test_a_table_of_an_audit_names_the_nodes_of_the_segment(tmp_path: Path) -> None:
    proto = transformer(scale=2000.0)
    for node in proto.graph.node:
        node.name = ""
    settings = PrecisionSettings(float16=True)
    report = audit(rewritten(proto), [FEEDS], settings)
    assert report.error_before > report.bound and report.is_met and report.float32
    report.save(tmp_path / "table.json")
    wanted = run(proto, FEEDS)
    assert not error(wanted, session(proto, trt_fp16_enable=1).run(None, FEEDS)) <= report.bound
    made = session(proto, trt_fp16_enable=1, trt_precision_table=tmp_path / "table.json")
    assert error(wanted, made.run(None, FEEDS)) <= report.bound * 1.01
