"""InferenceSession from outside: loading, running, describing itself, and ending; side by side with onnxruntime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxgpu
from onnxgpu.errors import Fail, InvalidArgument
from tests.models import model
from tests.side_by_side import CPU, assert_same, session

ROOT = Path(__file__).resolve().parents[1]
X = np.arange(6, dtype=np.float32).reshape(2, 3)
MODEL = """<ir_version: 9, opset_import: ["" : 18], producer_name: "maker", producer_version: "2", domain: "d.o", model_version: 7,
 doc_string: "about the model", metadata_props: ["k": "v"]>
g (float[N,3] x, float[3] w) => (float[N,3] y, float[N,3] x, float[3] w) <float[3] w = {1.0, 2.0, 3.0}> { y = Add(x, w) }"""
CHAIN = "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)\n z = Abs(y) }"
COUNTING = """g (int64 n, float[4] x) => (float[4] y) {
  t = Constant<value = bool {1}>()
  y = Loop<body = step (int64 i, bool c, float[4] a) => (bool d, float[4] b) { d = Identity(c)
    b = Sin(a) }>(n, t, x)
}"""


def arguments(given: list[Any]) -> list[Any]:
    return [(each.name, each.type, each.shape, str(each)) for each in given]


def run(text: str, names: Any = None, *options: Any, **feed: Any) -> Callable[[ModuleType], Any]:
    return lambda module: session(module, model(text)).run(names, feed, *options)


@pytest.mark.parametrize("names", [None, [], ["y"], ["x"], ["w", "y"], ("y",), ["y", "y"], ["y", "x", "w"]], ids=str)
def test_outputs_by_name(names: Any) -> None:
    """Outputs may be inputs and initializers, in any order and more than once."""
    assert_same(run(MODEL, names, x=X))
    assert_same(run(MODEL, names, x=X, w=X[0]))


@pytest.mark.parametrize("names", [["nope"], ["y", "nope"], "y", [1]], ids=str)
def test_wrong_output_names(names: Any) -> None:
    assert_same(run(MODEL, names, x=X))


def test_an_unknown_output_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match=r"Invalid output name:nope. The model's outputs are \['y', 'x', 'w'\]"):
        run(MODEL, ["nope"], x=X)(onnxgpu)


def test_run_options_of_another_type() -> None:
    assert_same(run(MODEL, None, {}, x=X))


@pytest.mark.parametrize("feed", [{"w": X[0]}, {"x": X, "w": X}, {"x": X, "w": X[0].astype(float)}, {"x": X, "w": np.ones(4, np.float32)}])
def test_overridden_initializers(feed: dict[str, Any]) -> None:
    assert_same(run(MODEL, None, **feed))


def test_an_initializer_that_is_no_input_cannot_be_overridden() -> None:
    assert_same(run("g (float[3] x) => (float[3] y) <float[3] w = {1.0, 2.0, 3.0}> { y = Add(x, w) }", None, x=X[0], w=X[0]))


@pytest.mark.parametrize(
    "text",
    [
        "g () => (float[3] y) <float[3] w = {1.0, -2.0, 3.0}> { y = Abs(w) }",
        "g () => (float[2] w) <float[2] w = {1.0, -2.0}> { y = Abs(w) }",
        "g () => (float[2] y) { y = Constant<value = float[2] {1.0, 2.0}>() }",
    ],
)
def test_models_without_inputs(text: str) -> None:
    assert_same(run(text))


def test_same_symbol_other_sizes() -> None:
    assert_same(run("g (float[N] x, float[N] y) => (float[N] z) { z = Add(x, y) }", x=X[0], y=X[0, :1]))


@pytest.mark.parametrize("sizes", [{}, {"N": 2}, {"N": 4}, {"other": 4}], ids=str)
def test_free_dimension_overrides(sizes: dict[str, int]) -> None:
    made = model("g (float[N,M] x) => (float[N,M] y) { y = Neg(x) }")
    assert_same(lambda module: arguments([*session(module, made, **sizes).get_inputs(), *session(module, made, **sizes).get_outputs()]))
    assert_same(lambda module: session(module, made, **sizes).run(None, {"x": X}))


@pytest.mark.parametrize(
    "text",
    [
        MODEL,
        "g (float x, float[] q, float[?,M] r, string[2] s, bfloat16[1] b) => (float y, float[2,K] z) { y = Neg(x)\n z = Neg(r) }",
        "g (seq(float[3]) s, optional(float[2]) p) => (seq(float[3]) t, bool b) { t = Identity(s)\n b = OptionalHasElement(p) }",
    ],
)
def test_arguments_and_metadata(text: str) -> None:
    made = model(text)
    made.model_version = made.model_version or 1

    def described(module: ModuleType) -> Any:
        opened = session(module, made)
        about = opened.get_modelmeta()
        fields = "custom_metadata_map description domain graph_description graph_name producer_name version"
        lists = (opened.get_inputs(), opened.get_outputs(), opened.get_overridable_initializers())
        return [arguments(each) for each in lists], {name: getattr(about, name) for name in fields.split()}

    assert_same(described)


def test_ways_to_give_a_model(tmp_path: Path) -> None:
    made = model(CHAIN)
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    for given in (str(path), path, made, made.SerializeToString(), bytearray(made.SerializeToString())):
        opened = onnxgpu.InferenceSession(given, providers=CPU)  # type: ignore[arg-type]
        np.testing.assert_array_equal(opened.run(["z"], {"x": X[0, :2]})[0], [0, 1])
        assert opened.model_path == (path if given in (str(path), path) else None)


def damaged(node: onnx.NodeProto) -> bytes:
    made = model(CHAIN)
    made.graph.node[0].CopyFrom(node)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    "given",
    [
        "no_such_file.onnx",
        b"garbage",
        b"",
        123,
        None,
        damaged(helper.make_node("NoSuchOperator", ["x"], ["y"])),
        model("g (float[2] a, float[3] b) => (float[N] y) { y = Add(a, b) }").SerializeToString(),
    ],
    ids=lambda given: repr(given)[:30],
)
def test_models_that_do_not_load(given: Any) -> None:
    assert_same(lambda module: module.InferenceSession(given, providers=CPU))


def test_an_operator_that_fails_is_named() -> None:
    text = "g (float[N] x, int64[1] s) => (float[M] y) { [rs] y = Reshape(x, s) }"
    with pytest.raises(Fail, match=r"Non-zero status code returned while running Reshape node. Name:'rs' Status Message: .*\{3\}.*\{5\}"):
        run(text, None, x=X[0], s=np.array([5]))(onnxgpu)
    assert_same(run(text, None, x=None, s=np.array([5])))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("intra_op_num_threads", 2),
        ("intra_op_num_threads", "2"),
        ("inter_op_num_threads", np.int64(3)),
        ("enable_profiling", 1),
        ("enable_mem_pattern", "no"),
        ("graph_optimization_level", 3),
        ("logid", 3),
        ("log_severity_level", 4),
        ("optimized_model_filepath", None),
        ("no_such_option", 1),
    ],
)
def test_session_options(name: str, value: Any) -> None:
    def program(module: ModuleType) -> Any:
        options = module.SessionOptions()
        try:
            setattr(options, name, value)
        except (TypeError, AttributeError) as error:
            return type(error).__name__
        return getattr(options, name)

    assert_same(program)


def test_configuration_entries() -> None:
    def options(module: ModuleType) -> Any:
        made = module.SessionOptions()
        made.add_session_config_entry("a", "b")
        return made

    assert_same(lambda module: options(module).get_session_config_entry("a"))
    assert_same(lambda module: options(module).get_session_config_entry("b"))
    assert_same(lambda module: module.RunOptions().get_run_config_entry("a"))
    made = onnxgpu.SessionOptions()
    with pytest.raises(TypeError, match="wants str, got int 1"):
        made.add_session_config_entry("a", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="size wants int, got str 'two'"):
        made.add_free_dimension_override_by_name("N", "two")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"sess_options is an onnxgpu.SessionOptions, got \{1: 2\}"):
        onnxgpu.InferenceSession(model(CHAIN), {1: 2})  # type: ignore[arg-type]


def test_levels_print_as_names() -> None:
    assert_same(
        lambda module: [str(module.GraphOptimizationLevel.ORT_ENABLE_BASIC), repr(module.SessionOptions().graph_optimization_level)]
    )
    assert_same(lambda module: [str(module.ExecutionMode.ORT_PARALLEL), str(module.ExecutionOrder.DEFAULT)])


def test_a_run_that_is_terminated_before_it_begins() -> None:
    def program(module: ModuleType) -> Any:
        options = module.RunOptions()
        options.terminate = True
        return session(module, model(CHAIN)).run(None, {"x": X[0, :2]}, options)

    assert_same(program)


def test_terminate_from_another_thread_ends_a_long_loop() -> None:
    opened = session(onnxgpu, model(COUNTING))
    feed = {"n": np.array(10**9), "x": np.ones(4, np.float32)}
    for _ in range(2):
        options = onnxgpu.RunOptions()
        timer = threading.Timer(0.1, setattr, (options, "terminate", True))
        timer.start()
        start = time.perf_counter()
        with pytest.raises(Fail, match="Exiting due to terminate flag being set to true"):
            opened.run(None, feed, options)
        timer.join()
        assert time.perf_counter() - start < 5
    (after,) = opened.run(None, feed | {"n": np.array(1)})
    np.testing.assert_allclose(after, np.sin(np.ones(4)), rtol=1e-6)


class Interrupting:
    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise KeyboardInterrupt


def test_keyboard_interrupt_passes_through() -> None:
    def observer(*_: Any) -> None:
        raise KeyboardInterrupt

    opened = session(onnxgpu, model(CHAIN))
    with pytest.raises(KeyboardInterrupt):
        opened.run(None, {"x": Interrupting()})
    with pytest.raises(KeyboardInterrupt):
        opened.run_observed({"x": X[0, :2]}, observer)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As in a terminal: a shell that starts a program in the background has it ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_a_long_run(interruptible: None) -> None:
    opened = session(onnxgpu, model(COUNTING))
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        opened.run(None, {"n": np.array(10**9), "x": np.ones(4, np.float32)})
    timer.join()


def test_no_warning_on_the_cpu(tmp_path: Path) -> None:
    """From the import on: in a child, so that nothing was imported before warnings became errors."""
    path = tmp_path / "m.onnx"
    onnx.save(model(CHAIN), path)
    program = f"""
import numpy as np, onnxgpu
s = onnxgpu.InferenceSession({str(path)!r}, providers=["CPUExecutionProvider"])
x = np.array([np.inf, np.nan], np.float32)
for _ in range(3):
    s.run(None, {{"x": x}})
onnxgpu.InferenceSession({str(path)!r}).run(None, {{"x": x}})
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
