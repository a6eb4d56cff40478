"""What `benchmarks/cudnn_plans.py` asks cuDNN for, and how it takes the answers."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cudnn_plans, plan_builder
from benchmarks.cudnn_plans import PRECISIONS, Request
from onnxgpu.providers.cuda.libraries.convolution_graphs import ACTIVATIONS, Convolution
from onnxgpu.providers.cuda.libraries.found import cudnn
from onnxgpu.providers.cuda.libraries.graphs import empty_graph
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.libraries.plan_search import Problem
from tests.cases import Case
from tests.emulated import LIBRARIES_MISSING

BARE = Convolution("float", (1, 3, 5, 5), (4, 3, 3, 3), (1, 4, 3, 3), (0, 0), (0, 0), (1, 1), (1, 1))
FUSED = replace(BARE, has_bias=True, has_residual=True)
REQUEST = (replace(FUSED, activation="Relu"), FUSED, BARE)


def zeros(*shapes: Sequence[int]) -> list[np.ndarray]:
    return [np.zeros(shape, np.float32) for shape in shapes]


class TestRequests:
    def test_a_fused_convolution_with_less_and_less_of_it_in_each_precision(self) -> None:
        inputs = zeros(BARE.x, BARE.w, BARE.w[:1], BARE.y)
        requests = cudnn_plans.convolution_requests([Case("FusedConv", inputs, {"activation": "Relu"}, 1, "onnxgpu")] * 2)
        assert requests == [tuple(replace(each, dtype=dtype, tf32=tf32) for each in REQUEST) for dtype, tf32 in PRECISIONS]

    def test_what_is_not_asked_for(self) -> None:
        one_channel_a_group = Case("Conv", zeros((1, 3, 5, 5), (3, 1, 3, 3)), {"group": 3})
        empty = Case("Conv", zeros((0, 3, 5, 5), (4, 3, 3, 3)))
        assert cudnn_plans.convolution_requests([one_channel_a_group, empty]) == []

    @pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))
    def test_all_can_be_described_and_are_of_all_kinds(self) -> None:
        requests: list[Any] = cudnn_plans.convolution_requests([*cudnn_plans.convolution_cases(), *cudnn_plans.layers(1)])
        first = [request[0] for request in requests]
        assert {convolution.activation for convolution in first} == set(ACTIVATIONS)
        assert {len(convolution.before) for convolution in first} == {2, 3}
        assert {convolution.transposed for convolution in first} == {convolution.has_residual for convolution in first} == {False, True}
        assert set(Counter((convolution.dtype, convolution.tf32) for convolution in first).values()) == {len(first) // len(PRECISIONS)}
        module = cudnn().module
        for convolution in first:
            convolution.describe(module, empty_graph(module))

    @pytest.mark.usefixtures("device")
    @pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))
    def test_attention_of_all_kinds(self) -> None:
        causal = Case("Attention", zeros((1, 4, 6, 8), (1, 2, 6, 8), (1, 2, 6, 8)), {"is_causal": 1}, 23)
        masked = Case("Attention", zeros((2, 4, 6, 8), (2, 4, 5, 8), (2, 4, 5, 8), (6, 5)), {}, 23)
        one_query = Case("Attention", zeros((1, 4, 1, 8), (1, 4, 6, 8), (1, 4, 6, 8)), {}, 23)
        requests: list[Any] = cudnn_plans.attention_requests([causal, masked, one_query])
        found = [(each.dtype, each.diagonal, each.bias and each.bias.shape, each.bias_dtype) for (each,) in requests]
        assert found == [
            (dtype, *rest) for dtype in ("float16", "bfloat16") for rest in (("TOP_LEFT", None, ""), ("", (1, 1, 6, 5), dtype))
        ]
        module = cudnn().module
        for (attention,) in requests:
            attention.describe(module, empty_graph(module))


class TestAnswers:
    @pytest.mark.parametrize(
        ("has_plan", "expected"),
        [
            (lambda problem, fallback: True, {"outcome": "built", "form": 0, "generic": False, "workspace": 7}),
            (lambda problem, fallback: problem == BARE, {"outcome": "built", "form": 2, "generic": False, "workspace": 7}),
            (lambda problem, fallback: fallback, {"outcome": "built", "form": 0, "generic": True, "workspace": 7}),
            (lambda problem, fallback: False, {"outcome": "none", "reason": "none"}),
            (lambda problem, fallback: {}[fallback], {"outcome": "failed", "reason": "KeyError: False"}),
        ],
    )
    def test_outcomes(self, has_plan: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        class Graph:
            def get_workspace_size(self) -> int:
                return 7

        def build(module: Any, graph: Any, problem: Problem, *, fallback: bool) -> None:
            if not has_plan(problem, fallback):
                raise NotCovered("none")

        monkeypatch.setattr(plan_builder, "empty_graph", lambda module, device_property: Graph())
        monkeypatch.setattr(Convolution, "describe", lambda convolution, module, graph: None)
        monkeypatch.setattr(plan_builder, "build", build)
        assert plan_builder.built(None, None, REQUEST) == expected

    def test_a_request_that_ends_the_process_has_failed(self, tmp_path: Path) -> None:
        python = tmp_path / "python"
        line = '{"outcome": "built", "form": 0, "generic": false, "workspace": 0}'
        python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit\necho \'{line}\' >> "$3"\necho broken >&2\nexit 3\n')
        python.chmod(0o755)
        requests: list[Request] = [REQUEST, (FUSED, BARE), (BARE,)]
        found = cudnn_plans.summary(requests, cudnn_plans.results_for(90, python, requests))
        assert (found["built"], found["built_with_less"], found["none"]) == (2, 0, [])
        assert [(each["problem"], each["reason"]) for each in found["failed"]] == [(str(FUSED), "the process ended with status 3: …broken")]


def test_the_stubs_have_no_gpu(tmp_path: Path) -> None:
    cudnn_plans.make_stubs(tmp_path, 90)
    assert ctypes.CDLL(str(tmp_path / "libcuda.so.1")).cuInit(0) != 0
    assert ctypes.CDLL(str(tmp_path / "libcudart.so.13")).cudaGetDevice(ctypes.byref(ctypes.c_int(5))) == 0
    properties = ctypes.create_string_buffer(1024)
    assert ctypes.CDLL(str(tmp_path / "libcudart.so.13")).cudaGetDeviceProperties(properties, 0) == 0
    assert properties.raw[360:368] == b"\x09\0\0\0\0\0\0\0"
