"""The choice between NVIDIA's libraries and our own kernels, and what cuBLASLt is asked for."""

from __future__ import annotations

import logging
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.errors import EPFail
from onnxgpu.explain import explanation
from onnxgpu.provider import Claim, Operation, ValueInfo
from onnxgpu.providers.cuda import state_products
from onnxgpu.providers.cuda.emulator.cudnn_graphs import InterpretedGraph
from onnxgpu.providers.cuda.libraries import convolution_graphs, convolution_products, convolutions, cublas, found, graphs, selection
from onnxgpu.providers.cuda.libraries.found import Found
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.memory import Memory
from onnxgpu.providers.cuda.recorder import Recorder
from tests.emulated import LIBRARIES_MISSING, PLAIN

pytestmark = pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
ABSENT = Found("cuBLASLt", "libcublasLt was not found: pip install it")
NO_PRODUCT = "cuBLASLt does not run it (FusedConv is not known to have windows of one element without strides and padding)"
SMALL = convolution_graphs.Convolution("float", (1, 3, 5, 5), (4, 3, 3, 3), (1, 4, 3, 3), (0, 0), (0, 0), (1, 1), (1, 1))


def session(body: str, **options: Any) -> ort.InferenceSession:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> {body}')
    chosen = ort.SessionOptions()
    chosen.add_session_config_entry("onnxgpu.placement", "mode=listed")
    return ort.InferenceSession(model, chosen, providers=[(CUDA, options), CPU])


def product(**options: Any) -> ort.InferenceSession:
    return session("g (float[M,K] a, float[K,N] b) => (float[M,N] y) { y = MatMul (a, b) }", **options)


def with_gelu(**options: Any) -> ort.InferenceSession:
    text = "g (float[N,40] x) => (float[N,12] y) <float[40,12] w, float[12] b> { p = MatMul (x, w)  s = Add (p, b)  y = Gelu (s) }"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    for name, weights in (("w", random(40, 12)), ("b", random(12))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    return ort.InferenceSession(model.SerializeToString(), providers=[(CUDA, options), CPU])


def random(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def reason(made: ort.InferenceSession, field: str = "reason") -> str:
    return str(explanation(made)["nodes"][0][field])


@pytest.mark.usefixtures("device")
class TestChoice:
    def test_the_library_by_default(self, device: Any) -> None:
        made = product()
        assert reason(made) == "first in the list that can run it; by cuBLASLt 13.2.0"
        a, b = random(5, 7), random(7, 3)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, {"a": a, "b": b})[0], a @ b, rtol=1e-5, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (1, 0)

    def test_our_own_kernel_where_it_is_off(self) -> None:
        assert reason(product(enable_cublas=0)).endswith("; by onnxgpu's own kernel: enable_cublas is off")

    def test_our_own_kernel_for_what_it_does_not_have(self) -> None:
        made = session("g (int32[2,3] a, int32[3,2] b) => (int32[2,2] y) { y = MatMul (a, b) }")
        assert "by onnxgpu's own kernel: cuBLASLt does not run it (MatMul does not take element type int32" in reason(made)

    def test_an_absent_library_is_one_warning(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(found, "cublas_lt", lambda: ABSENT)
        monkeypatch.setattr(selection, "_told", set())
        with caplog.at_level(logging.WARNING, "onnxgpu"):
            made = [product(), product()]
        assert [record.getMessage() for record in caplog.records] == [
            "cuBLASLt is not used: libcublasLt was not found: pip install it. onnxgpu's own kernels run in its place, some of them slower; "
            "enable_cublas=0 says that this is meant"
        ]
        assert reason(made[1]).endswith("; by onnxgpu's own kernel: cuBLASLt: libcublasLt was not found: pip install it")
        assert made[0].run(None, {"a": random(2, 3), "b": random(3, 2)})[0].shape == (2, 2)

    def test_an_absent_library_that_was_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(found, "cublas_lt", lambda: ABSENT)
        with pytest.raises(EPFail, match="option 'enable_cublas' asks for cuBLASLt: libcublasLt was not found"):
            product(enable_cublas=1)

    def test_another_major_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(found.cublas_lt().module, "get_version", lambda: 120900)
        state = found.cublas_lt.__wrapped__()
        assert state.problem == f"found version 12.9.0, but CuPy is made for CUDA 13: {found.remedy()}"


@pytest.mark.usefixtures("device")
class TestProducts:
    def test_bias_and_activation_are_in_the_epilogue(self, device: Any) -> None:
        made = session(
            'g (float[2,3] a, float[3,4] b, float[4] c) => (float[2,4] y) { y = com.microsoft.FusedGemm <activation = "Relu"> (a, b, c) }'
        )
        a, b, c = random(2, 3), random(3, 4), random(4)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, {"a": a, "b": b, "c": c})[0], np.maximum(a @ b + c, 0), rtol=1e-5, atol=1e-6)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (1, 0)

    def test_what_the_epilogue_does_not_have_is_one_kernel_behind_it(self, device: Any) -> None:
        """The exact form of Gelu; our own product takes the bias with it, and Gelu is a kernel in both."""
        made = [with_gelu(enable_cublas=on) for on in (1, 0)]
        assert ["FusedMatMul" in str(each.placement) for each in made] == [True, True]
        x = random(7, 40)
        counts, results = [], []
        for each in made:
            each.run(None, {"x": x})
            device.counters(clear=True)
            results.append(each.run(None, {"x": x})[0])
            counted = device.counters()
            counts.append((counted["library_calls"], counted["launches"]))
        np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)
        assert counts == [(1, 1), (0, 2)]

    def test_tf32_only_where_it_is_asked_for(self) -> None:
        a, b = random(8, 64), random(64, 8)
        exact = a.astype(np.float64) @ b
        errors = [float(np.abs(product(use_tf32=tf32).run(None, {"a": a, "b": b})[0] - exact).max()) for tf32 in (0, 1)]
        assert errors[0] < 1e-5 < 1e-4 < errors[1]

    def test_our_own_kernel_takes_empty_matrices(self) -> None:
        made = product()
        assert made.run(None, {"a": random(2, 0), "b": random(0, 3)})[0].tolist() == [[0, 0, 0], [0, 0, 0]]
        assert made.run(None, {"a": random(0, 2), "b": random(2, 3)})[0].shape == (0, 3)

    def test_batch_axes_that_do_not_join(self, device: Any) -> None:
        made = session("g (float[2,1,3,4,5] a, float[2,3,5,6] b) => (float[2,2,3,4,6] y) { y = MatMul (a, b) }")
        a, b = random(2, 1, 3, 4, 5), random(2, 3, 5, 6)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, {"a": a, "b": b})[0], a @ b, rtol=1e-4, atol=1e-5)
        assert device.counters()["library_calls"] == 4

    def test_a_captured_product(self, device: Any, cp: Any) -> None:
        device.configure(replace(PLAIN, lazy=True))
        plan = cublas.plans(0).plan(problem())
        a, b, out = cp.asarray(random(4, 4)), cp.asarray(random(4, 4)), cp.zeros((4, 4), np.float32)
        scratch = cp.empty(plan.workspace, np.uint8)
        stream = cp.cuda.Stream(non_blocking=True)
        cp.cuda.Device().synchronize()
        with stream:
            stream.begin_capture()
            plan.run(a.data.ptr, b.data.ptr, out.data.ptr, out.data.ptr, 0, scratch.data.ptr, stream.ptr)
            graph = stream.end_capture()
            assert not out.get().any()
            graph.launch()
            stream.synchronize()
        np.testing.assert_allclose(out.get(), a.get() @ b.get(), rtol=1e-5, atol=1e-5)

    def test_a_handle_cannot_be_made_during_a_capture(self, cp: Any) -> None:
        lt = found.cublas_lt().module
        stream = cp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture(cp.cuda.runtime.streamCaptureModeGlobal)
            with pytest.raises(lt.cuBLASLtError, match="NOT_INITIALIZED"):
                cublas.Plans(0)
            stream.end_capture()

    def test_an_algorithm_is_for_its_alignment(self, cp: Any) -> None:
        plan, memory = cublas.plans(0).plan(problem(), 0), cp.zeros(64, np.float32)
        with pytest.raises(found.cublas_lt().module.cuBLASLtError, match="INVALID_VALUE"):
            plan.run(memory.data.ptr + 4, memory.data.ptr, memory.data.ptr, memory.data.ptr, 0, 0, 0)

    def test_a_problem_without_an_algorithm(self) -> None:
        gelu = replace(problem(), dtype="double", activation="GeluTanh")
        with pytest.raises(NotCovered, match="no algorithm"):
            cublas.plans(0).plan(gelu)
        plan, is_fused = cublas.plans(0).fused(gelu)
        assert not is_fused and plan is cublas.plans(0).plan(replace(gelu, activation=""))


@pytest.mark.usefixtures("device")
class TestRecurrent:
    @pytest.mark.parametrize(("most", "counts"), [(0, (4, 4)), (10, (1, 1))], ids=["many states", "few states"])
    def test_products(self, device: Any, monkeypatch: pytest.MonkeyPatch, most: int, counts: tuple[int, int]) -> None:
        """One for all inputs, and with many states one a step."""
        monkeypatch.setattr(state_products, "MOST_ELEMENTS", {4: most})
        inputs = "float[4,2,3] x, float[1,20,3] w, float[1,20,5] r"
        body = f"g ({inputs}) => (float[4,1,2,5] y) {{ y = LSTM <hidden_size = 5> (x, w, r) }}"
        made, feeds = session(body, enable_cuda_graph=1), {"x": random(4, 2, 3), "w": random(1, 20, 3), "r": random(1, 20, 5)}
        device.counters(clear=True)
        (first,) = made.run(None, feeds)
        counted = device.counters(clear=True)
        assert (counted["library_calls"], counted["launches"]) == counts  # the first step has no state to multiply
        made.run(None, feeds)
        made.run(None, feeds)
        device.counters(clear=True)
        np.testing.assert_array_equal(made.run(None, feeds)[0], first)
        assert device.counters()["graph_launches"] == 1


@pytest.mark.usefixtures("device")
class TestConvolutions:
    def test_bias_residual_and_activation_are_in_the_graph(self, device: Any) -> None:
        made = by_cudnn("c = Conv <pads = [1,1,1,1]> (x, w, b)  s = Add (c, z)  y = Relu (s)")
        assert "FusedConv" in reason(made, "operator") and f"; by cuDNN {found.cudnn().version}; enable_cublas is off" in reason(made)
        feeds = {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        expected = convolution("c = Conv <pads = [1,1,1,1]> (x, w, b)  s = Add (c, z)  y = Relu (s)", CPU).run(None, feeds)[0]
        made.run(None, feeds)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (4, 0)  # four nodes of one graph

    def test_what_the_graph_does_not_have_is_one_kernel_behind_it(self, device: Any) -> None:
        body = "c = Conv <pads = [1,1,1,1]> (x, w, b)  s = Add (c, z)  y = HardSwish (s)"
        made, feeds = by_cudnn(body), {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        made.run(None, feeds)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, feeds)[0], convolution(body, CPU).run(None, feeds)[0], rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (3, 1)

    def test_padding_of_one_side_is_in_the_graph(self, device: Any) -> None:
        body = "y = Conv <pads = [0,1,2,1]> (x, w, b)"
        made, feeds = by_cudnn(body), {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        made.run(None, feeds)
        made.run(None, feeds)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, feeds)[0], convolution(body, CPU).run(None, feeds)[0], rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert counted["allocations"] == 0 and (counted["library_calls"], counted["launches"]) == (2, 0)

    def test_without_the_library(self) -> None:
        body = "c = Conv <pads = [1,1,1,1]> (x, w, b)  y = Relu (c)"
        made, feeds = by_cudnn(body, enable_cudnn=0), {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        assert reason(made).endswith("; by onnxgpu's own kernel: enable_cublas is off; enable_cudnn is off")
        np.testing.assert_allclose(made.run(None, feeds)[0], convolution(body, CPU).run(None, feeds)[0], rtol=1e-4, atol=1e-5)

    def test_a_graph_that_does_not_fit_is_refused(self) -> None:
        module = found.cudnn().module
        graph = graphs.empty_graph(module)
        replace(SMALL, y=(1, 4, 5, 5)).describe(module, graph)
        with pytest.raises(EPFail, match=r"conv_fprop.0 of a cuDNN graph has operands that do not fit: \[1, 3, 5, 5\], \[4, 3, 3, 3\], "):
            InterpretedGraph(repr(graph))

    def test_an_address_that_no_plan_is_for(self, cp: Any) -> None:
        value = ValueInfo("value", np.dtype(np.float32), (1, 1, None, None))
        context = Context(cp, lambda: graphs.plans(0), False)
        claim = convolutions.REGISTRY.claim(context, Operation("Conv", (value, value), (value,), version=11))
        assert isinstance(claim, Claim)
        memory = cp.zeros(28, np.float32)
        with pytest.raises(NotCovered, match="multiples of 16 bytes"):
            claim.build().launch([memory[1:26].reshape(1, 1, 5, 5), cp.zeros((1, 1, 3, 3), np.float32)], None, None)


@pytest.mark.usefixtures("device")
class TestConvolutionsAsProducts:
    @pytest.mark.parametrize(
        ("body", "sides", "calls"),
        [
            ("c = Conv (x, w, b)  s = Add (c, z)  y = Relu (s)", (5, 4), (1, 1)),
            ("c = Conv (x, w, b)  s = Add (c, z)  y = HardSwish (s)", (5, 4), (1, 1)),
            ("y = Conv (x, w, b)", (5, 4), (1, 1)),
            ("c = Conv (x, w)  s = Add (c, z)  y = Relu (s)", (5, 4), (1, 0)),
            ("y = Conv (x, w)", (5, 4), (1, 0)),
            ("c = Conv (x, w, b)  s = Add (c, z)  y = Relu (s)", (1, 1), (1, 0)),
            ("c = Conv (x, w, b)  y = HardSwish (c)", (1, 1), (1, 1)),
        ],
    )
    def test_they_are_products(self, device: Any, body: str, sides: tuple[int, int], calls: tuple[int, int]) -> None:
        """A kernel follows where cuBLASLt does not have the rest: a bias of rows, and activations."""
        made, feeds = pointwise(body, sides=sides), {"x": random(2, 3, *sides), "z": random(2, 4, *sides)}
        assert reason(made).endswith("; by cuBLASLt 13.2.0")
        expected = pointwise(body, CPU, sides=sides).run(None, feeds)[0]
        np.testing.assert_allclose(made.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)
        device.counters(clear=True)
        made.run(None, feeds)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == calls

    def test_without_the_first_library(self) -> None:
        made = pointwise("y = Conv (x, w, b)", enable_cublas=0)
        assert reason(made).endswith(f"; by cuDNN {found.cudnn().version}; enable_cublas is off")

    def test_without_both(self) -> None:
        made = pointwise("y = Conv (x, w, b)", enable_cublas=0, enable_cudnn=0)
        assert reason(made).endswith("; by onnxgpu's own kernel: enable_cublas is off; enable_cudnn is off")

    @pytest.mark.parametrize("attributes", ["strides = [2,2]", "pads = [0,1,0,0]"])
    def test_strides_and_padding_are_columns(self, attributes: str) -> None:
        made = pointwise(f"y = Conv <{attributes}> (x, w, b)")
        assert reason(made).endswith("; by cuBLASLt 13.2.0")
        feeds = {"x": random(2, 3, 5, 4), "z": random(2, 4, 5, 4)}
        expected = pointwise(f"y = Conv <{attributes}> (x, w, b)", CPU).run(None, feeds)[0]
        np.testing.assert_allclose(made.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)

    def test_windows_are_written_as_columns(self, device: Any) -> None:
        body = "c = Conv <pads = [0,1,2,1]> (x, w, b)  s = Add (c, z)  y = Relu (s)"
        made, feeds = convolution(body), {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        assert reason(made).endswith("; by cuBLASLt 13.2.0")
        expected = convolution(body, CPU).run(None, feeds)[0]
        for _ in range(3):
            device.counters(clear=True)
            np.testing.assert_allclose(made.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert counted["allocations"] == 0 and (counted["library_calls"], counted["launches"]) == (1, 2)

    def test_a_window_as_large_as_the_input_needs_no_columns(self, device: Any) -> None:
        made = _convolution("float[2,3,3,3] x", "c = Conv (x, w, b)  y = Relu (c)", random(4, 3, 3, 3))
        x = random(2, 3, 3, 3)
        made.run(None, {"x": x})
        device.counters(clear=True)
        expected = np.einsum("nchw,mchw->nm", x, random(4, 3, 3, 3)) + random(4)
        np.testing.assert_allclose(made.run(None, {"x": x})[0][..., 0, 0], np.maximum(expected, 0), rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (1, 0)

    @pytest.mark.parametrize(("most", "calls"), [(2700, (2, 4)), (2699, (4, 0))])
    def test_a_batch_goes_in_parts(self, device: Any, monkeypatch: pytest.MonkeyPatch, most: int, calls: tuple[int, int]) -> None:
        """A sample's columns have 2700 bytes; where they are too many, cuDNN takes the convolution."""
        monkeypatch.setattr(convolution_products, "_MOST_COLUMNS", most)
        body = "c = Conv <pads = [1,1,1,1]> (x, w, b)  s = Add (c, z)  y = Relu (s)"
        made, feeds = convolution(body), {"x": random(2, 3, 5, 5), "z": random(2, 4, 5, 5)}
        made.run(None, feeds)
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, feeds)[0], convolution(body, CPU).run(None, feeds)[0], rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == calls

    def test_cudnn_where_its_heuristic_names_good_plans(self) -> None:
        made = convolution("c = Conv (x, w, b)  y = Relu (c)", use_tf32=1)
        assert reason(made).endswith(f"; by cuDNN {found.cudnn().version}; {NO_PRODUCT}")
        chosen = [convolution_products.registry_for(capability, tf32) for capability, tf32 in ((75, False), (90, True), (90, False))]
        assert chosen == [convolution_products.POINTWISE, convolution_products.POINTWISE, convolution_products.PRODUCTS]


@pytest.mark.usefixtures("device")
class TestDepthwiseConvolutions:
    @pytest.mark.parametrize("activation", ["Relu (c)", "HardSwish (c)", "Sigmoid (c)", "Clip (c, low, high)"])
    def test_one_kernel_with_all_that_follows(self, device: Any, activation: str) -> None:
        body = "low = Constant <value_float = 0.0> ()  high = Constant <value_float = 1.5> ()  "
        body += f"c = Conv <group = 4, pads = [0,0,1,1], strides = [2,2]> (x, w, b)  y = {activation}"
        made, reference = (_convolution("float[2,4,6,6] x", body, random(4, 1, 3, 3), *providers) for providers in ((), (CPU,)))
        assert "by onnxgpu's own kernel: " in reason(made)
        assert reason(made).endswith("cuDNN does not run it (FusedConv is left to the kernel for groups of one channel)")
        x = random(2, 4, 6, 6)
        made.run(None, {"x": x})
        device.counters(clear=True)
        np.testing.assert_allclose(made.run(None, {"x": x})[0], reference.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"]) == (0, 1)


@pytest.mark.usefixtures("device")
class TestCapturedConvolutions:
    def test_they_are_replayed(self, device: Any) -> None:
        body = "c = Conv <pads = [1,1,1,1]> (x, w, b)  s = Add (c, z)  r = Softmax (s)  y = Softmax (r)"
        made, reference = by_cudnn(body, enable_cuda_graph=1), convolution(body, CPU)
        for run in range(4):
            feeds = {"x": random(2, 3, 5, 5) + run, "z": random(2, 4, 5, 5)}
            device.counters(clear=True)
            np.testing.assert_allclose(made.run(None, feeds)[0], reference.run(None, feeds)[0], rtol=1e-4, atol=1e-5)
        assert device.counters()["graph_launches"] == 1

    def test_no_plan_is_made_during_a_capture(self, cp: Any, caplog: pytest.LogCaptureFixture) -> None:
        plans, unseen = graphs.plans(0), replace(SMALL, high=1.5)

        def work() -> None:
            plans.plan(unseen)

        with caplog.at_level(logging.DEBUG, "onnxgpu"):
            assert recorder(cp).record(work) is None
        assert "NotCapturable: it makes a cuDNN plan" in caplog.text
        work()
        assert recorder(cp).record(work) is not None

    def test_plan_and_handle_of_a_captured_graph(self, cp: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """No handle is made during a capture; with a plan cuDNN unloads its code, so that it lives as long as the graph."""
        module = _Library()
        monkeypatch.setattr(graphs, "cudnn", lambda: Found("cuDNN", None, module, "9.0.0"))
        plan = graphs.BackendPlan(graphs.Backend(0), module)
        lives = weakref.ref(plan)

        def work() -> None:
            found_again = lives()
            assert found_again is not None
            found_again.run({}, 0, cp.cuda.get_current_stream().ptr)

        with caplog.at_level(logging.DEBUG, "onnxgpu"):
            assert recorder(cp).record(work) is None
        assert "NotCapturable: it makes a cuDNN handle" in caplog.text and not module.handles
        work()
        replay = recorder(cp).record(work)
        del plan
        assert replay is not None and lives() is not None and len(module.handles) == 1
        del replay
        assert lives() is None


def recorder(cp: Any) -> Recorder:
    return Recorder(cp, cp.cuda.Device(0), Memory(cp, cp.cuda.Device(0), {}))


class _Library:
    """What of the module `cudnn` and of its graphs runs a plan."""

    __version__ = "1.22.0"

    def __init__(self) -> None:
        self.handles: list[object] = []

    def create_handle(self) -> object:
        self.handles.append(object())
        return self.handles[-1]

    def set_stream(self, handle: object, stream: int) -> None:
        assert handle in self.handles

    def get_workspace_size(self) -> int:
        return 0

    def execute(self, addresses: dict[int, int], workspace: int, handle: object) -> None:
        assert handle in self.handles


def convolution(body: str, *providers: str, **options: Any) -> ort.InferenceSession:
    """A session with weights `w` of (4, 3, 3, 3) and `b`."""
    return _convolution("float[2,3,5,5] x, float[2,4,5,5] z", body, random(4, 3, 3, 3), *providers, **options)


def by_cudnn(body: str, **options: Any) -> ort.InferenceSession:
    """The same without cuBLASLt, which has it first in float32."""
    return convolution(body, enable_cublas=0, **options)


def pointwise(body: str, *providers: str, sides: tuple[int, int] = (5, 4), **options: Any) -> ort.InferenceSession:
    """A session with weights `w` of (4, 3, 1, 1) and `b`."""
    height, width = sides
    inputs = f"float[2,3,{height},{width}] x, float[2,4,{height},{width}] z"
    return _convolution(inputs, body, random(4, 3, 1, 1), *providers, **options)


def _convolution(inputs: str, body: str, w: np.ndarray, *providers: str, **options: Any) -> ort.InferenceSession:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g ({inputs}) => (float[2,4,H,W] y) {{ {body} }}')
    for name, weights in (("w", w), ("b", random(4))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    return ort.InferenceSession(model.SerializeToString(), providers=list(providers) or [(CUDA, options), CPU])


def problem() -> cublas.Problem:
    square = cublas.Factor(False, 4)
    return cublas.Problem("float", 4, 4, 4, 1, square, square, None, square)
