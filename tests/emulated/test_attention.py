"""Attention by our own kernel and by the libraries: masks, positions, lengths, sinks and layouts, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.dtypes import dtype_named
from onnxgpu.errors import EPFail
from onnxgpu.explain import explanation
from onnxgpu.operators import Registry
from onnxgpu.provider import Claim, Operation, ValueInfo
from onnxgpu.providers.cuda.attention import Seen, attend
from onnxgpu.providers.cuda.emulator.cudnn_graphs import InterpretedGraph
from onnxgpu.providers.cuda.libraries import attention_products, cublas, found, fused_attention, graphs
from onnxgpu.providers.cuda.libraries.attention import LibraryAttention, Scratch
from onnxgpu.providers.cuda.libraries.attention_graphs import Attention, Tensor
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from tests.emulated import LIBRARIES_MISSING, PLAIN

pytestmark = pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))
MODES = {"plain": PLAIN, "lazy": replace(PLAIN, lazy=True, schedule=1), "checked": replace(PLAIN, checked=True, schedule=7)}
TOLERANCE = {"float": 2e-5, "double": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}
EVERYTHING = Seen()


@dataclass(frozen=True)
class Problem:
    """Sizes, and what is seen: the names of the parts that `arrays` makes."""

    name: str
    batch: int = 2
    heads: int = 4
    key_heads: int = 2
    queries: int = 5
    keys: int = 13
    size: int = 16
    value_size: int = 24
    seen: Seen = EVERYTHING
    mask: str = ""
    mask_shape: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    has_sinks: bool = False
    by_rows: bool = False
    """Whether heads lie beside each other, as in (batch, S, heads * D)."""

    def __str__(self) -> str:
        return self.name


PROBLEMS = (
    Problem("plain"),
    Problem("one key head", heads=3, key_heads=1, keys=8),
    Problem("heads of their own", key_heads=4),
    Problem("heads beside each other", by_rows=True),
    Problem("causal", keys=5, seen=Seen(right=0)),
    Problem("causal behind a past", seen=Seen(start=8, right=0)),
    Problem("causal from the middle", seen=Seen(start=3, right=0)),
    Problem("more queries than keys", queries=9, keys=4, seen=Seen(right=0)),
    Problem("negative start", queries=9, keys=4, seen=Seen(start=-5, right=0)),
    Problem("window", queries=12, seen=Seen(left=2, right=3)),
    Problem("bool mask", mask="bool", mask_shape=(2, 4, 5, 13)),
    Problem("bool mask of a batch", mask="bool", mask_shape=(2, 1, 1, 13)),
    Problem("mask of a row", mask="bool", mask_shape=(13,), seen=Seen(right=0)),
    Problem("short mask", mask="bool", mask_shape=(4, 1, 9)),
    Problem("added mask", mask="added", mask_shape=(4, 5, 13)),
    Problem("added float mask", mask="float", mask_shape=(2, 1, 5, 13), seen=Seen(start=8, right=0)),
    Problem("lengths", lengths=(13, 4)),
    Problem("lengths and starts", starts=(8, 1), lengths=(13, 6), seen=Seen(right=0)),
    Problem("no key is seen", starts=(0, -3), lengths=(13, 0), seen=Seen(right=0)),
    Problem("sinks", has_sinks=True, seen=Seen(cap=2.0)),
    Problem("smooth softmax", seen=Seen(sink=0.0)),
    Problem("rows for a block", queries=3, keys=1100, heads=2, mask="bool", mask_shape=(1100,)),
    Problem("rows for passes", batch=1, queries=2, keys=4200, heads=2, size=8, value_size=8, seen=Seen(start=4000, right=0)),
)


def expected(arrays: dict[str, Any], problem: Problem, scale: float) -> np.ndarray:
    """In float64."""
    q, k, v = (arrays[name].astype(np.float64) for name in "qkv")
    k, v = (np.repeat(x, problem.heads // problem.key_heads, 1) for x in (k, v))
    scores, seen = q @ k.swapaxes(2, 3) * scale, problem.seen
    if seen.cap:
        scores = seen.cap * np.tanh(scores / seen.cap)
    starts = np.array(problem.starts or (seen.start,) * problem.batch)
    lengths = np.array(problem.lengths or (problem.keys,) * problem.batch)
    keys, position = np.arange(problem.keys), (starts[:, None] + np.arange(problem.queries))[:, None, :, None]
    is_seen = (keys < lengths[:, None])[:, None, None]
    is_seen = is_seen & ((seen.right < 0) | (keys <= position + seen.right)) & ((seen.left < 0) | (keys >= position - seen.left))
    if problem.mask:
        mask = arrays["mask"]
        padding = [(0, 0)] * (mask.ndim - 1) + [(0, problem.keys - mask.shape[-1])]
        is_seen = is_seen & np.pad(mask if mask.dtype == bool else np.ones(mask.shape, bool), padding)
        if mask.dtype != bool:
            scores = scores + np.pad(mask.astype(np.float64), padding)
    scores = np.where(is_seen, scores, -np.inf)
    has_sink = problem.has_sinks or seen.sink is not None
    sink = arrays["sinks"].astype(np.float64)[:, None, None] if problem.has_sinks else np.zeros((1, 1, 1))
    greatest = np.maximum(scores.max(-1, keepdims=True), sink if has_sink else -np.inf)
    weights = np.exp(scores - np.where(np.isinf(greatest), 0, greatest))
    total = weights.sum(-1, keepdims=True) + (np.exp(sink - greatest) if has_sink else 0)
    result: np.ndarray = weights / np.where(total == 0, 1, total) @ v
    return result


def arrays_of(problem: Problem, dtype: np.dtype) -> dict[str, Any]:
    random = np.random.default_rng(7)
    shapes = {
        "q": (problem.heads, problem.queries, problem.size),
        "k": (problem.key_heads, problem.keys, problem.size),
        "v": (problem.key_heads, problem.keys, problem.value_size),
    }
    found = {name: random.standard_normal((problem.batch, *shape)).astype(dtype) for name, shape in shapes.items()}
    if problem.mask == "bool":
        found["mask"] = random.random(problem.mask_shape) < 0.5
        found["mask"][..., :2] = False  # with what is causal, rows that see nothing
    elif problem.mask:
        mask = random.standard_normal(problem.mask_shape).astype(np.float32 if problem.mask == "float" else dtype)
        mask[..., 1, :] = -np.inf
        mask[..., :3] = -np.inf
        found["mask"] = mask
    if problem.has_sinks:
        found["sinks"] = random.standard_normal(problem.heads).astype(dtype)
    return found


def by_products(cp: Any, dtype: str) -> LibraryAttention:
    return library_kernel(attention_products.REGISTRY, Context(cp, lambda: cublas.plans(0), False), dtype)


def fused(cp: Any, dtype: str) -> LibraryAttention:
    return library_kernel(fused_attention.REGISTRY, Context(cp, lambda: graphs.plans(0), False), dtype)


def library_kernel(registry: Registry, context: Context[Any], dtype: str) -> LibraryAttention:
    value = ValueInfo("value", dtype_named(dtype), (2, 4, None, 16))
    claim = registry.claim(context, Operation("Attention", (value,) * 3, (value,), version=23))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    assert isinstance(kernel, LibraryAttention)
    return kernel


def check(run: Callable[..., None], cp: Any, problem: Problem, dtype: str) -> None:
    """`run` writes what NumPy computes, and leaves its inputs as they were."""
    arrays, scale = arrays_of(problem, dtype_named(dtype)), 0.3
    given = {name: cp.asarray(array) for name, array in arrays.items()}
    q, k, v = (given[name] for name in "qkv")
    out = cp.full((problem.batch, problem.heads, problem.queries, problem.value_size), 77, q.dtype)
    if problem.by_rows:
        q, k, v, out = (cp.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for x in (q, k, v, out))
    seen = replace(
        problem.seen,
        mask=given.get("mask"),
        start=cp.asarray(np.array(problem.starts, np.int64)) if problem.starts else problem.seen.start,
        lengths=cp.asarray(np.array(problem.lengths, np.int64)) if problem.lengths else None,
        sink=given["sinks"] if problem.has_sinks else problem.seen.sink,
    )
    run(q, k, v, out, scale, seen)
    cp.cuda.Device().synchronize()
    wanted = expected(arrays, problem, scale)
    np.testing.assert_allclose(out.get().astype(np.float64), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    for name, array in arrays.items():
        np.testing.assert_array_equal(given[name].get(), array)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
class TestProblems:
    def test_our_own_kernel(self, problem: Problem, dtype: str, mode: str, device: Any, cp: Any, exact_bounds: None) -> None:
        device.configure(MODES[mode])
        check(lambda *arguments: attend(cp, *arguments), cp, problem, dtype)

    def test_products(self, problem: Problem, dtype: str, mode: str, device: Any, cp: Any, exact_bounds: None) -> None:
        device.configure(MODES[mode])
        kernel = by_products(cp, dtype)
        check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, problem, dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_fused(problem: Problem, dtype: str, mode: str, device: Any, cp: Any, exact_bounds: None) -> None:
    """By a graph of cuDNN's."""
    device.configure(MODES[mode])
    kernel = fused(cp, dtype)

    def run() -> None:
        check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, problem, dtype)

    if problem.seen.cap or problem.seen.sink is not None or problem.has_sinks:
        with pytest.raises(NotCovered, match="no cap and no sink"):
            run()
    else:
        run()


@pytest.mark.usefixtures("device")
class TestGraphs:
    def test_which_plans_are_made(self, cp: Any) -> None:
        """What cuDNN has itself is no bias."""
        made: list[Any] = []

        class Plans:
            def first(self, problems: Any) -> Any:
                made.extend(problems)
                return graphs.plans(0).first(problems)

        kernel = library_kernel(fused_attention.REGISTRY, Context(cp, Plans, False), "float16")
        by_name = {problem.name: problem for problem in PROBLEMS}
        seen = []
        for name in ("plain", "causal", "causal behind a past", "causal from the middle", "mask of a row", "added float mask"):
            made.clear()
            check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, by_name[name], "float16")
            seen.append((made[-1].diagonal, made[-1].bias and made[-1].bias.shape, made[-1].bias_dtype))
        assert seen == [
            ("", None, ""),
            ("TOP_LEFT", None, ""),
            ("BOTTOM_RIGHT", None, ""),
            ("", (1, 1, 5, 13), "float16"),
            ("TOP_LEFT", (1, 1, 5, 13), "float16"),
            ("", (2, 1, 5, 13), "float"),
        ]

    @pytest.mark.parametrize(
        "problem",
        [
            Problem("head of 20", size=20),
            Problem("values of 12", value_size=12),
            Problem("a large bias", mask="bool", mask_shape=(1, 13)),
        ],
        ids=str,
    )
    def test_what_it_does_not_have(self, problem: Problem, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused_attention, "MOST_BIAS", 128)
        kernel = fused(cp, "float16")
        with pytest.raises(NotCovered, match=r"multiples of 16 bytes|too large"):
            check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, problem, "float16")

    @pytest.mark.parametrize(
        "change",
        [
            {"y": Tensor((2, 4, 5, 24), (480, 120, 24, 1))},
            {"v": Tensor((2, 2, 12, 16), (384, 192, 16, 1))},
            {"diagonal": "BOTTOM_RIGHT", "bias": Tensor((1, 1, 5, 13), (80, 80, 16, 1)), "bias_dtype": "float16"},
            {"bias": Tensor((2, 1, 5, 16), (80, 80, 16, 1)), "bias_dtype": "float16"},
            {"bias": Tensor((1, 1, 5, 13), (80, 80, 16, 1)), "bias_dtype": "bfloat16"},
            {"diagonal": "BOTTOM_RIGHT", "q": Tensor((2, 4, 15, 16), (960, 240, 16, 1)), "y": Tensor((2, 4, 15, 16), (960, 240, 16, 1))},
            {"q": Tensor((2, 4, 5, 16), (324, 80, 16, 1))},
        ],
    )
    def test_a_graph_that_does_not_fit_is_refused(self, change: dict[str, Any]) -> None:
        queries, keys = Tensor((2, 4, 5, 16), (320, 80, 16, 1)), Tensor((2, 2, 13, 16), (416, 208, 16, 1))
        problem = Attention("float16", queries, keys, keys, queries, 0.25)
        InterpretedGraph(described(problem))
        with pytest.raises(EPFail, match="has operands that do not fit"):
            InterpretedGraph(described(replace(problem, **change)))


def described(problem: Attention) -> str:
    module = found.cudnn().module
    graph = graphs.empty_graph(module)
    problem.describe(module, graph)
    return repr(graph)


@pytest.mark.usefixtures("device")
class TestProducts:
    @pytest.mark.parametrize("dtype", ["double", "bfloat16"])
    def test_other_types(self, dtype: str, cp: Any) -> None:
        kernel = by_products(cp, dtype)
        for problem in PROBLEMS[:12]:
            check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, problem, dtype)

    @pytest.mark.parametrize("most", [1 << 6, 1 << 7, 1 << 9, 1 << 10])
    @pytest.mark.parametrize("problem", PROBLEMS[:21], ids=str)
    def test_scores_piece_by_piece(self, problem: Problem, most: int, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attention_products, "MOST_SCORES", most)
        kernel = by_products(cp, "float")
        try:
            check(lambda *arguments: kernel.attend(Scratch(cp, None), *arguments), cp, problem, "float")
        except NotCovered:
            assert most < problem.heads // problem.key_heads * 64


@pytest.mark.usefixtures("device")
class TestSessions:
    def test_which_one_runs(self, device: Any) -> None:
        made = session("float")
        assert "; by cuBLASLt 13.2.0" in reason(made)
        feeds = queries_keys_values(np.float32)
        for _ in range(2):
            made.run(None, feeds)
        device.counters(clear=True)
        result = made.run(None, feeds)[0]
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"], counted["allocations"]) == (2, 1, 0)
        own = session("float", enable_cublas=0)
        assert "; by onnxgpu's own kernel: " in reason(own) and "enable_cublas is off" in reason(own)
        np.testing.assert_allclose(own.run(None, feeds)[0], result, rtol=1e-5, atol=1e-5)

    def test_float16(self, device: Any) -> None:
        made, feeds = session("float16"), queries_keys_values(np.float16)
        assert "; by cuDNN graphs of front end" in reason(made)
        for _ in range(2):
            made.run(None, feeds)
        device.counters(clear=True)
        result = made.run(None, feeds)[0]
        counted = device.counters()
        assert (counted["library_calls"], counted["launches"], counted["allocations"]) == (1, 0, 0)
        others = [session("float16", enable_cudnn=0), session("float16", enable_cudnn=0, enable_cublas=0)]
        assert "; by cuBLASLt" in reason(others[0]) and "; by onnxgpu's own kernel: enable_cudnn is off" in reason(others[1])
        for other in others:
            np.testing.assert_allclose(other.run(None, feeds)[0], result, rtol=4e-3, atol=4e-3)

    def test_one_query_is_our_own_kernels(self, device: Any) -> None:
        made, feeds = session("float"), queries_keys_values(np.float32)
        feeds["q"] = np.ascontiguousarray(feeds["q"][:, :, :1])
        made.run(None, feeds)
        device.counters(clear=True)
        made.run(None, feeds)
        assert device.counters()["library_calls"] == 0


def session(element: str, **options: Any) -> ort.InferenceSession:
    inputs = ", ".join(f"{element}[2,4,{'S' if name == 'q' else 'T'},16] {name}" for name in "qkv")
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 23]> g ({inputs}) => ({element}[A,B,C,D] y) {{ y = Attention (q, k, v) }}'
    )
    return ort.InferenceSession(model, providers=[("CUDAExecutionProvider", options), "CPUExecutionProvider"])


def reason(made: ort.InferenceSession) -> str:
    return str(explanation(made)["nodes"][0]["reason"])


def queries_keys_values(dtype: Any) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {name: random.standard_normal((2, 4, 7, 16)).astype(dtype) for name in "qkv"}
