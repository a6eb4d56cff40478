"""Faults put into our own kernels, copies and plans, a line each: every one of them is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

import onnxgpu as ort
from onnxgpu.execute.fixed import FixedPlan
from onnxgpu.provider import Operation, Spec
from onnxgpu.providers.array_ops.convolution import conv
from onnxgpu.providers.array_ops.linear_attention import Tokens, stepwise
from onnxgpu.providers.array_ops.recurrent import lstm
from onnxgpu.providers.cuda import generated, kernels, weights
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.narrow import stored_dtype, typed
from onnxgpu.providers.cuda.operators.linear_attention import by_kernel
from onnxgpu.providers.cuda.streams import Streams
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, DIGITS, model

MODES = (PLAIN, replace(PLAIN, schedule=7), replace(PLAIN, checked=True, schedule=7))


@dataclass(frozen=True)
class Fault:
    """One edit of a kernel's source."""

    name: str
    file: str
    old: str
    new: str
    operator: str


FAULTS = [
    Fault(
        "missing barrier: before the warps' values are read",
        "reduce.cuh",
        "scratch[warp] = value;\n    __syncthreads();",
        "scratch[warp] = value;",
        "DynamicQuantizeLinear",
    ),
    Fault(
        "missing barrier: before scratch is used again",
        "reduce.cuh",
        "neutral, combine);\n    __syncthreads();",
        "neutral, combine);",
        "DynamicQuantizeLinear",
    ),
    Fault(
        "missing barrier: left by half of the block",
        "reduce.cuh",
        "    __syncthreads();\n    value = reduce_warp(lane",
        "    if (warp % 2 == 0) __syncthreads();\n    value = reduce_warp(lane",
        "DynamicQuantizeLinear",
    ),
    Fault("missing barrier: before a team's values are read", "rows.cuh", "= value;\n    __syncthreads();", "= value;", "Softmax"),
    Fault("missing barrier: a team uses scratch twice", "softmax.cu", "A(0), sums,", "A(0), maxima,", "Softmax"),
    Fault("uninitialised shared memory: one warp too many", "rows.cuh", "lane < warps ?", "lane <= warps ?", "Softmax"),
    Fault("warp: a mask without all lanes", "reduce.cuh", "0xffffffffu", "0x0fffffffu", "Softmax"),
    Fault("warp: half of the lanes are left out", "rows.cuh", "blockDim.x : WARP) / 2", "blockDim.x : WARP) / 4", "Softmax"),
    Fault("off by one: read and written behind the row", "rows.cuh", "piece < pieces", "piece <= pieces", "Softmax"),
    Fault("off by one: the row's first piece", "rows.cuh", "first + threadIdx.x +", "first + threadIdx.x + 1 +", "Softmax"),
    Fault("rows: a team behind the last row", "rows.cuh", "row < rows ? count / width : 0", "count / width", "Softmax of short rows"),
    Fault(
        "index: columns of a strided axis overlap",
        "softmax.cu",
        "begin = outer * inner * count",
        "begin = outer * count",
        "Softmax strided",
    ),
    Fault(
        "race: every thread writes the mean, one another value",
        "normalization.cu",
        "    if (threadIdx.x == 0 && team.row < rows) {\n        if (mean) mean[team.row] = average;",
        "    if (team.row < rows) {\n        if (mean) mean[team.row] = average + threadIdx.x;",
        "LayerNormalization",
    ),
    Fault(
        "off by one: scale of the next column", "normalization.cu", "team.with_row(scale,", "team.with_row(scale + 1,", "LayerNormalization"
    ),
    Fault("off by one: behind a state's last row", "linear_attention.cu", "n * WARP < s.size", "n * WARP <= s.size", "LinearAttention"),
    Fault("warp: sums of another column", "linear_attention.cu", "sum, c * LANES_EACH)", "sum, c)", "LinearAttention"),
    Fault(
        "tail: one element too many",
        "elementwise.cuh",
        "for (long long i = vectors * width + thread_index(); i < count;",
        "for (long long i = vectors * width + thread_index(); i <= count;",
        "Add",
    ),
    Fault(
        "tail: the first elements are left out",
        "elementwise.cuh",
        "long long i = vectors * width + thread_index()",
        "long long i = (vectors + 1) * width + thread_index()",
        "Add",
    ),
    Fault("alignment: vectors from any address", "elementwise.cuh", "is_aligned ? count / width : 0", "count / width", "Add shifted"),
    Fault("index: the wrong size of an axis", "elementwise.cuh", "(index - rest * size)", "(index - rest * (size - 1))", "Add broadcast"),
    Fault(
        "missing barrier: between the slices of a convolution",
        "convolution.cu",
        "first + 2 * depth, end);\n            }\n            __syncthreads();",
        "first + 2 * depth, end);\n            }",
        "Conv",
    ),
    Fault(
        "race: the taps that are read are written over",
        "convolution_fragments.cu",
        "taps[current].template",
        "taps[1 - current].template",
        "Conv of halves",
    ),
    Fault("lanes: a column of the fragment that is not theirs", "fragments.cuh", "(column + n % 2) * 4", "column * 4", "Conv of halves"),
    Fault("index: taps behind the depth are read", "convolution_columns.cuh", "{0, 1u << MOST_MASKED}", "{0, 0}", "Conv of halves"),
    Fault(
        "off by one: a strip's row behind the map", "depthwise.cu", "if (t >= rows_left)", "if (t > rows_left)", "Conv of single channels"
    ),
    Fault(
        "sign: uint8 is multiplied as it lies", "integer_convolution.cu", "of_column[n] ^ codes.flip_x", "of_column[n] ^ 0", "Conv of bytes"
    ),
    Fault("index: the zero point of the first map", "integer_convolution.cu", "[map * q.w_zero_step]", "[0]", "Conv of bytes"),
    Fault("padding: 0 in place of the zero point", "integer_convolution.cu", "? codes.x_zero :", "? 0 :", "Conv of bytes"),
    Fault(
        "missing barrier: the sums of rows are read too soon",
        "integer_convolution.cu",
        "= sum_of_column;\n        __syncthreads();",
        "= sum_of_column;",
        "Conv of bytes",
    ),
    Fault("missing barrier: the sums of the first maps are written over", "winograd.cu", "if (half) __syncthreads();", "", "Conv of 3 × 3"),
    Fault("race: the slice that is multiplied is written over", "winograd.cu", "store(1 - current)", "store(current)", "Conv of 3 × 3"),
    Fault("off by one: a tile's second column behind the map", "winograd.cu", "if (is_column[1])", "if (true)", "Conv of 3 × 3"),
    Fault("index: channels behind the input are read", "winograd.cu", "first + line < end ? outside : ~0u", "outside", "Conv of 3 × 3"),
    Fault("missing barrier: between two steps", "recurrent.cu", "if (step > begin) grid_barrier(arrivals);", "", "LSTM"),
    Fault("race: the states that are read are written over", "recurrent.cu", "rows && step & 1 ?", "false ?", "LSTM"),
    Fault("lanes: the sum of another gate", "state_products.cuh", "offset /= 2) sum +=", "offset /= 4) sum +=", "LSTM of one state"),
    Fault(
        "missing barrier: parts are added too soon",
        "state_fragments.cuh",
        "= sums[n];\n    __syncthreads();",
        "= sums[n];",
        "LSTM of halves",
    ),
    Fault("lanes: gates of another place", "state_fragments.cuh", "picked(received, n ^ own)", "picked(received, n)", "LSTM of halves"),
    Fault("index: the part behind the depth", "state_fragments.cuh", "begin + span < depth ?", "true ?", "LSTM of halves"),
]


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Fault], None]]:
    """Kernels are compiled from a copy of their folder, with one edit."""

    def edit(fault: Fault) -> None:
        folder = tmp_path / "kernels"
        shutil.copytree(kernels.FOLDER, folder)
        text = (folder / fault.file).read_text()
        assert fault.old in text, f"{fault.file} has changed: bring the fault up to date"
        (folder / fault.file).write_text(text.replace(fault.old, fault.new, 1))
        monkeypatch.setattr(kernels, "FOLDER", folder)
        _forget()

    yield edit
    _forget()


def _forget() -> None:
    kernels._function.cache_clear()
    generated._compiled.cache_clear()


def launches(cp: Any) -> dict[str, Callable[[], None]]:
    """What is run for an operator; raises where a result is wrong."""
    from onnxgpu.providers.cuda.operators.convolution import Conv
    from onnxgpu.providers.cuda.operators.integer_convolution import ConvInteger
    from onnxgpu.providers.cuda.operators.normalization import layer_normalization
    from onnxgpu.providers.cuda.operators.quantization import DynamicQuantizeLinear
    from onnxgpu.providers.cuda.operators.recurrent import LSTM
    from onnxgpu.providers.cuda.operators.softmax import softmax

    rng = np.random.default_rng(0)

    def same(actual: Any, expected: np.ndarray) -> None:
        np.testing.assert_allclose(cp.asnumpy(actual), expected, rtol=1e-4, atol=1e-5)

    def rows(axis: int) -> None:
        x = rng.standard_normal((3, 70, 4)).astype(np.float32) * 4
        powers = np.exp(x - x.max(axis, keepdims=True))
        same(softmax(cp, cp.asarray(x), axis=axis, out=cp.empty(x.shape, x.dtype)), powers / powers.sum(axis, keepdims=True))

    def long_rows() -> None:
        x = rng.standard_normal((4, 300)).astype(np.float32)
        powers = np.exp(x - x.max(-1, keepdims=True))
        same(softmax(cp, cp.asarray(x), out=cp.empty(x.shape, x.dtype)), powers / powers.sum(-1, keepdims=True))

    def quantized() -> None:
        x, kernel_of = rng.standard_normal(1500).astype(np.float32), cast(Any, DynamicQuantizeLinear)
        x[700], x[1300] = -9, 8
        kernel, out = kernel_of(cp, None), (cp.empty(1500, np.uint8), cp.empty((), np.float32), cp.empty((), np.uint8))
        kernel.launch([cp.asarray(x)], out, cp.empty(kernel.workspace([x]), np.uint8))
        same(out[1], np.array(17 / 255))

    def normalized() -> None:
        x, scale = rng.standard_normal((3, 100)).astype(np.float32), rng.standard_normal(100).astype(np.float32)
        out = (cp.empty((3, 100), np.float32), cp.empty((3, 1), np.float32), cp.empty((3, 1), np.float32))
        layer_normalization(cp, cp.asarray(x), cp.asarray(scale), output_count=3, out=out)
        mean, deviation = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        same(out[0], (x - mean) / deviation * scale)
        same(out[1], mean)

    def attended() -> None:
        shapes = (1, 5, 2, 40), (1, 5, 2, 40), (1, 5, 2, 6), (1, 5, 2, 40)
        arrays = [rng.standard_normal(shape).astype(np.float32) / 8 for shape in shapes]
        arrays.append(rng.random((1, 5, 2)).astype(np.float32))

        def tokens(xp: Any) -> Tokens:
            q, k, v, decay, rate = map(xp.asarray, arrays)
            return Tokens(q, k, v, decay, rate, 0.2)

        y, state, _ = by_kernel(cp, tokens(cp), None)
        expected = stepwise(np, tokens(np), None)
        same(y, expected[0])
        same(state, expected[1])

    def added(count: int = 103, shift: int = 0) -> None:
        x, y = (rng.standard_normal(count + shift).astype(np.float32) for _ in range(2))
        out = cp.full(count, np.nan, np.float32)
        generated.evaluate(("Add 0 1",), [cp.asarray(x)[shift:], cp.asarray(y)[shift:]], out)
        same(out, x[shift:] + y[shift:])

    def broadcast() -> None:
        x, y = rng.standard_normal((3, 1, 5)).astype(np.float32), rng.standard_normal((4, 1)).astype(np.float32)
        out = cp.full((3, 4, 5), np.nan, np.float32)
        generated.evaluate(("Add 0 1",), [cp.asarray(x), cp.asarray(y)], out)
        same(out, x + y)

    def convolved(x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: Any, group: int = 1) -> None:
        attributes: dict[str, Any] = {"pads": [1, 1, 1, 1], "group": group}
        x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
        kernel = Conv(cp, Operation("Conv", (None, None), (None,), attributes=attributes, version=11))
        expected, operands = conv(np, x.astype(np.float32), w.astype(np.float32), **attributes), [cp.asarray(x), cp.asarray(w)]
        out, room = cp.empty(expected.shape, dtype), cp.empty(max(1, kernel.workspace(operands)), np.uint8)
        kernel.launch(operands, [out], room)
        np.testing.assert_allclose(cp.asnumpy(out), expected, rtol=1e-2, atol=2e-2 * np.abs(expected).max())

    def convolved_bytes() -> None:
        x, w = rng.integers(0, 256, (1, 5, 6, 7)).astype(np.uint8), rng.integers(-128, 128, (40, 5, 3, 3)).astype(np.int8)
        zero, zeros = np.array(100, np.uint8), rng.integers(-9, 9, 40).astype(np.int8)
        kernel = ConvInteger(cp, Operation("ConvInteger", (None,) * 4, (None,), attributes={"pads": [1, 1, 1, 1]}, version=10))
        whole = x.astype(np.float64) - zero, w.astype(np.float64) - zeros.reshape(-1, 1, 1, 1)
        out = cp.empty((1, 40, 6, 7), np.int32)
        kernel.launch([cp.asarray(each) for each in (x, w, zero, zeros)], [out], None)
        same(out, conv(np, *whole, pads=[1, 1, 1, 1]))

    def remembered(batch: int, size: int, dtype: Any, tolerance: float) -> None:
        shapes = (3, batch, 5), (1, 4 * size, 5), (1, 4 * size, size)
        inputs = [(rng.standard_normal(shape) / 4).astype(dtype) for shape in shapes]
        operation = Operation("LSTM", (None,) * 3, (None,) * 3, attributes={"hidden_size": size}, version=14)
        kernel, operands = LSTM(cp, operation), [cp.asarray(x) for x in inputs]
        outputs = [cp.empty(spec.shape, spec.dtype) for spec in kernel.outputs(operands)]
        kernel.launch(operands, outputs, cp.empty(kernel.workspace(operands), np.uint8))
        expected = lstm(np, *(x.astype(np.float32) for x in inputs), output_count=3)
        for actual, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(cp.asnumpy(actual), wanted, rtol=tolerance, atol=tolerance)

    return {
        "LSTM": lambda: remembered(9, 12, np.float32, 1e-4),
        "LSTM of one state": lambda: remembered(1, 12, np.float32, 1e-4),
        "LSTM of halves": lambda: remembered(9, 40, np.float16, 4e-3),
        "Conv of bytes": convolved_bytes,
        "Conv": lambda: convolved((1, 9, 5, 7), (40, 9, 2, 3), np.float32),
        "Conv of 3 × 3": lambda: convolved((1, 9, 5, 7), (40, 9, 3, 3), np.float32),
        "Conv of halves": lambda: convolved((1, 9, 5, 7), (20, 9, 3, 3), np.float16),
        "Conv of single channels": lambda: convolved((2, 3, 7, 5), (3, 1, 3, 3), np.float32, 3),
        "Softmax": long_rows, "Softmax of short rows": lambda: rows(2), "Softmax strided": lambda: rows(1),
        "DynamicQuantizeLinear": quantized, "LayerNormalization": normalized, "LinearAttention": attended, "Add": added,
        "Add shifted": lambda: added(100, 1), "Add broadcast": broadcast,
    }  # fmt: skip


def is_noticed(cp: Any, device: Any, run: Callable[[], None]) -> bool:
    """True if a result is wrong, or the device reports, in one of the modes."""
    for mode in MODES:
        device.configure(mode)
        _forget()
        try:
            run()
            cp.cuda.Device().synchronize()
        except (AssertionError, cp.cuda.runtime.CUDARuntimeError, cp.cuda.driver.CUDADriverError):
            device.forget_error()  # before the arrays of the failed run are freed
            return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("exact_bounds")
class TestKernels:
    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_a_fault_is_noticed(self, cp: Any, device: Any, edited: Callable[[Fault], None], fault: Fault) -> None:
        edited(fault)
        assert is_noticed(cp, device, launches(cp)[fault.operator])

    @pytest.mark.parametrize("operator", sorted({fault.operator for fault in FAULTS}))
    def test_without_a_fault_nothing_is_noticed(self, cp: Any, device: Any, operator: str) -> None:
        assert not is_noticed(cp, device, launches(cp)[operator])


LOOP = """g (int64 n, bool go, float[4,8] x) => (float[4,8] y) {
    y = Loop (n, go, x) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
        c2 = Identity (c) f = Cast <to = 1> (i) h = Add (v, f) v2 = Abs (h) }> }"""
ALLOCATING = """g (float[9,40] x) => (float[9,40] y) {
    a = Softmax (x) b = Softmax (a) c = LpNormalization (b) d = LpNormalization (c) e = Softmax (d) y = Softmax (e) }"""


def added(number: int) -> onnx.ModelProto:
    """Adds weights that differ from those of another number where no sample is taken."""
    values = np.arange(2000, dtype=np.float32)
    values[501] = number
    made = model("g (float[1,2000] x) => (float[1,2000] y) { y = Add (x, w) }")
    made.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    return made


def models() -> list[tuple[Any, Callable[[np.random.Generator], dict[str, Any]]]]:
    """Models, and what makes inputs for each."""
    return [
        (DIGITS, lambda rng: {"images": rng.random((4, 1, 8, 8), np.float32)}),
        (model(LOOP), lambda rng: {"n": np.int64(6), "go": np.bool_(True), "x": rng.random((4, 8), np.float32)}),
        (model(ALLOCATING), lambda rng: {"x": rng.random((9, 40), np.float32)}),
        (added(1), lambda rng: {"x": rng.random((1, 2000), np.float32)}),
        (added(2), lambda rng: {"x": rng.random((1, 2000), np.float32)}),
        (
            model("g (float[9,40] x, float[9,40] s) => (float[9,40] y) { a = Softmax (x) b = Softmax (s) y = Sub (a, b) }"),
            lambda rng: {"x": rng.random((9, 40), np.float32), "s": rng.random((9, 40), np.float32)},
        ),
    ]


def bound(session: ort.InferenceSession, feeds: dict[str, Any]) -> np.ndarray:
    """The first output, left on the device and fetched from there."""
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, np.asarray(array))
    binding.bind_output(session.get_outputs()[0].name, "cuda")
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0].numpy()


def models_are_right() -> bool:
    """Several runs of each model on the device agree with the CPU; all sessions live until the end."""
    sessions, options = [], ort.SessionOptions()
    options.add_session_config_entry("onnxgpu.placement", "op:Identity=CPUExecutionProvider; mode=listed")
    for proto, inputs in models():
        session, reference = ort.InferenceSession(proto, options, providers=[CUDA, CPU]), ort.InferenceSession(proto, providers=[CPU])
        sessions.append(session)
        for seed in range(5):
            feeds = inputs(np.random.default_rng(seed))
            expected, found = reference.run(None, feeds)[0], (session.run(None, feeds)[0], bound(session, feeds))
            if not all(np.allclose(result, expected, rtol=1e-3, atol=1e-4) for result in found):
                return False
    return True


def kernels_do_not_wait_for_copies(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    monkeypatch.setattr(Streams, "kernels_follow", lambda self: self.copying.record(self.event()))


def copies_do_not_wait_for_kernels(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    monkeypatch.setattr(Streams, "copies_follow", lambda self: None)


def nobody_waits_for_outputs(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    class Event:
        done = True

        def synchronize(self) -> None:
            """Nothing."""

    begin = Copies._begin
    monkeypatch.setattr(Copies, "_begin", lambda self, source: (Event(), begin(self, source)[1]))


def pinned_memory_is_used_again_too_early(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    monkeypatch.setattr(Copies, "_hold", lambda self, done, pinned: None)


def copies_for_a_body_go_ahead(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    """New memory makes copies wait too and would hide this, as the body asks for some: so its rule is left out as well."""

    def allocate(self: CupyDevice, spec: Spec) -> Any:
        return typed(cp.empty(spec.shape, stored_dtype(spec.dtype)), spec.dtype)

    monkeypatch.setattr(CupyDevice, "allocate", allocate)
    monkeypatch.setattr(FixedPlan, "is_ahead", lambda self, step, made: step.is_transfer and step.outputs[0] in made)


def weights_are_the_same_if_samples_are(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    monkeypatch.setattr(weights, "_is_same", lambda *arguments: True)


def all_values_at_one_place_of_the_arena(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    from onnxgpu.plan.arena import assign_offsets as real

    def overlapping(*arguments: Any, **options: Any) -> Any:
        offsets, size = real(*arguments, **options)
        return [0] * len(offsets), size

    monkeypatch.setattr("onnxgpu.execute.memory.assign_offsets", overlapping)


PLAN_FAULTS = (
    kernels_do_not_wait_for_copies,
    copies_do_not_wait_for_kernels,
    nobody_waits_for_outputs,
    pinned_memory_is_used_again_too_early,
    copies_for_a_body_go_ahead,
    weights_are_the_same_if_samples_are,
    all_values_at_one_place_of_the_arena,
)


@pytest.mark.parametrize("fault", PLAN_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_copies_and_plans_is_noticed(cp: Any, device: Any, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]) -> None:
    device.configure(replace(PLAIN, lazy=True))
    assert models_are_right()
    fault(monkeypatch, cp)
    try:
        noticed = not models_are_right()
    except Exception as error:
        noticed = "emulated device" in str(error)
    assert noticed
