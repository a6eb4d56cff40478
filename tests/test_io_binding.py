"""Bound inputs and outputs, runs on OrtValues and in other threads: with onnxruntime and with onnxgpu, and on the pretend device."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu import InferenceSession, IOBinding, OrtValue, SessionIOBinding
from onnxgpu.errors import InvalidArgument
from onnxgpu.ort_value import OrtValueVector
from onnxgpu.providers.loopback.provider import LoopbackProvider
from tests.models import model
from tests.models import session as unrewritten
from tests.side_by_side import assert_same, session
from tests.test_ort_value import capi
from tests.threads import in_threads

TWO = """g (float[N,3] x) => (float[N,3] y, float[N] s) {
  y = Add(x, x)
  axes = Constant<value_ints = [1]>()
  s = ReduceSum<keepdims = 0>(x, axes)
}"""
KINDS = """g (string[N] t, seq(float[M]) q, float[2] x) => (string[N] u, seq(float[M]) r, optional(float[2]) o) {
  u = Identity(t)
  r = Identity(q)
  o = Optional(x)
}"""
X = np.arange(6, dtype=np.float32).reshape(2, 3)
CHAIN = "g (float[N] x, float[N] v) => (float[N] y, float[N] z) { y = Add(x, v)\n z = Mul(y, v) }"
LOOPBACK = ["LoopbackExecutionProvider", "CPUExecutionProvider"]


def bound(m: Any, text: str = TWO) -> tuple[Any, Any]:
    made = session(m, model(text))
    return made, made.io_binding()


def ran(m: Any, *outputs: str, x: Any = X) -> tuple[Any, Any]:
    made, binding = bound(m)
    binding.bind_cpu_input("x", x)
    for name in outputs:
        binding.bind_output(name)
    made.run_with_iobinding(binding)
    return made, binding


@pytest.mark.parametrize("outputs", [("y",), ("s", "y"), ("y", "s"), ("q",), ()], ids=str)
def test_outputs_come_in_the_order_in_which_they_were_bound(outputs: tuple[str, ...]) -> None:
    def program(m: Any) -> Any:
        _, binding = ran(m, *outputs)
        return binding.copy_outputs_to_cpu(), [v.numpy() for v in binding.get_outputs()], [v.device_name() for v in binding.get_outputs()]

    assert_same(program)


def test_every_run_reads_what_the_bound_array_then_holds() -> None:
    def program(m: Any) -> Any:
        x = X.copy()
        made, binding = ran(m, "y", "s", x=x)
        x += 10
        made.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    assert_same(program)


@pytest.mark.parametrize(
    "array", [np.asfortranarray(X), np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2], X[:0]], ids=lambda a: str(a.shape)
)
def test_layouts_of_bound_arrays(array: np.ndarray) -> None:
    assert_same(lambda m: ran(m, "y", x=array)[1].copy_outputs_to_cpu())


@pytest.mark.parametrize("given", [X[0], X.astype(np.float64), X[:, :2], [1.0], None, np.float32(3)], ids=str)
def test_arrays_that_cannot_be_bound(given: Any) -> None:
    assert_same(lambda m: ran(m, "y", x=given)[1].copy_outputs_to_cpu())


def test_an_input_that_does_not_exist() -> None:
    assert_same(lambda m: bound(m)[1].bind_cpu_input("q", X))
    assert_same(lambda m: bound(m)[1].bind_ortvalue_input("q", m.OrtValue.ortvalue_from_numpy(X)))


@pytest.mark.parametrize("kind", [np.float32, 1, "float32"], ids=str)
def test_inputs_bound_by_address(kind: Any) -> None:
    def program(m: Any) -> Any:
        made, binding = bound(m)
        binding.bind_input("x", "cpu", 0, kind, [2, 3], X.ctypes.data)
        binding.bind_output("y")
        made.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    assert_same(program)


@pytest.mark.parametrize("place", ["cpu", "foo"])
@pytest.mark.parametrize(("kind", "shape"), [(np.int64, [2, 3]), (7, [2, 3]), (np.float32, [3])], ids=str)
def test_addresses_that_do_not_fit(place: str, kind: Any, shape: Any) -> None:
    def program(m: Any) -> Any:
        made, binding = bound(m)
        binding.bind_input("x", place, 0, kind, shape, X.ctypes.data)
        binding.bind_output("y")
        made.run_with_iobinding(binding)

    assert_same(program)


@pytest.mark.parametrize("way", ["address", "value"])
def test_an_output_is_written_into_bound_memory(way: str) -> None:
    def program(m: Any) -> Any:
        made, binding = bound(m)
        y = np.full((2, 3), 77, np.float32)
        target = m.OrtValue.ortvalue_from_numpy(y)
        binding.bind_ortvalue_input("x", m.OrtValue.ortvalue_from_numpy(X))
        if way == "address":
            binding.bind_output("y", "cpu", 0, np.float32, [2, 3], y.ctypes.data)
        else:
            binding.bind_ortvalue_output("y", target)
        binding.bind_output("s")
        runs = []
        for _ in range(4):
            y[...] = 77
            made.run_with_iobinding(binding)
            runs.append((y.copy(), binding.copy_outputs_to_cpu(), binding.get_outputs()[0].data_ptr() == y.ctypes.data))
        return runs

    assert_same(program)


@pytest.mark.parametrize(("kind", "shape"), [(np.float32, [3, 3]), (np.float32, [6]), (np.float64, [2, 3])], ids=str)
def test_bound_memory_that_does_not_fit_the_output(kind: Any, shape: list[int]) -> None:
    memory = np.zeros(shape, kind)

    def program(m: Any) -> Any:
        made, binding = bound(m)
        binding.bind_cpu_input("x", X)
        binding.bind_output("y", "cpu", 0, kind, shape, memory.ctypes.data)
        made.run_with_iobinding(binding)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="Error in execution: "):
            program(onnxgpu)
    if kind == np.float64:
        assert_same(program)  # of wrong shapes onnxruntime tells with another text
    else:
        with pytest.raises(RuntimeError, match=r"output y is float32\[2, 3\], but the memory given for it is float32"):
            program(onnxgpu)


def test_memory_needs_a_type_and_a_shape() -> None:
    assert_same(lambda m: bound(m)[1].bind_output("y", "cpu", 0, None, None, 3))


def test_another_session_s_binding() -> None:
    assert_same(lambda m: bound(m)[0].run_with_iobinding(bound(m)[1]))
    assert_same(lambda m: bound(m)[0].run_with_iobinding(None))


def test_bindings_are_cleared() -> None:
    def program(m: Any) -> Any:
        made, binding = ran(m, "y", "s")
        binding.synchronize_inputs()
        binding.synchronize_outputs()
        binding.clear_binding_outputs()
        gone = binding.get_outputs()
        binding.bind_output("s")
        made.run_with_iobinding(binding)
        after = binding.copy_outputs_to_cpu()
        binding.clear_binding_outputs()
        made.run_with_iobinding(binding)
        return gone, after

    assert_same(program)


def test_a_missing_input() -> None:
    """onnxruntime names the node that reads it."""
    made, binding = ran(onnxgpu, "y")
    binding.clear_binding_inputs()
    with pytest.raises(RuntimeError, match=r"Error in execution: Required inputs \(\['x'\]\) are missing"):
        made.run_with_iobinding(binding)


def test_without_memory_each_run_has_its_own() -> None:
    """onnxruntime writes into the memory of the first run again, and fails when the shape changes."""
    made, binding = ran(onnxgpu, "y")
    first = binding.get_outputs()[0]
    binding.bind_cpu_input("x", np.ones((4, 3), np.float32))
    made.run_with_iobinding(binding)
    assert binding.get_outputs()[0].shape() == [4, 3]
    np.testing.assert_array_equal(first.numpy(), X + X)


def test_copies_are_the_caller_s() -> None:
    _, binding = ran(onnxgpu, "y")
    binding.copy_outputs_to_cpu()[0][...] = 0
    np.testing.assert_array_equal(binding.get_outputs()[0].numpy(), X + X)


def test_the_lower_layer() -> None:
    def program(m: Any) -> Any:
        made = session(m, model(TWO))
        c = capi(m)
        lower = c.SessionIOBinding(made._sess)
        device = c.OrtDevice(0, 0, 0)
        lower.bind_input("x", X)
        lower.bind_input("x", device, np.float32, [2, 3], X.ctypes.data)
        lower.bind_ortvalue_input("x", m.OrtValue.ortvalue_from_numpy(X)._ortvalue)
        target = m.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
        lower.bind_output("y", device)
        lower.bind_ortvalue_output("y", target._ortvalue)
        lower.bind_output("s", device)
        made._sess.run_with_iobinding(lower, None)
        vector = lower.get_outputs()
        return len(vector), [v.device_name() for v in vector], [v.numpy() for v in vector], target.numpy(), lower.copy_outputs_to_cpu()

    assert_same(program)


def test_run_with_ort_values() -> None:
    def program(m: Any) -> Any:
        made = session(m, model(TWO))
        x = m.OrtValue.ortvalue_from_numpy(X)
        some, everything = made.run_with_ort_values(["s"], {"x": x}), made.run_with_ort_values(None, {"x": x})
        return [type(v).__name__ for v in some], [v.numpy() for v in some], [v.numpy() for v in everything], made.run(None, {"x": x})

    assert_same(program)


@pytest.mark.parametrize("names", [["y"], ["q"]], ids=str)
@pytest.mark.parametrize("feed", [{}, {"x": X}, {"x": X.astype(np.float64)}, {"x": X, "q": X}], ids=lambda f: str(list(f)))
def test_ort_values_that_do_not_fit(names: list[str], feed: dict[str, np.ndarray]) -> None:
    if names == ["q"] and len(feed) != 1:
        pytest.skip("which of two mistakes is told first does not matter")
    if names == ["q"] and feed["x"].dtype == np.float64:
        pytest.skip("as above")
    assert_same(
        lambda m: (
            session(m, model(TWO)).run_with_ort_values(names, {n: m.OrtValue.ortvalue_from_numpy(a) for n, a in feed.items()})[0].numpy()
        )
    )


def test_arrays_are_no_ort_values() -> None:
    assert_same(lambda m: session(m, model(TWO)).run_with_ort_values(["y"], {"x": X}))


def test_strings_sequences_and_optionals_as_values() -> None:
    maker = """g (float[2] x) => (string[2] t, seq(float[2]) q, optional(float[2]) o) {
        t = Cast<to = 8>(x)
        q = SequenceConstruct(x, x)
        o = Optional(x)
    }"""

    def program(m: Any) -> Any:
        pair = m.OrtValue.ortvalue_from_numpy(np.array([1, 2], np.float32))
        values = session(m, model(maker)).run_with_ort_values(None, {"x": pair})
        facts = [(v.data_type(), v.element_type(), v.is_tensor(), v.is_tensor_sequence(), v.has_value()) for v in values]
        feed = {"t": values[0], "q": values[1], "x": values[2]}
        return facts, values[0].numpy(), values[2].numpy(), session(m, model(KINDS)).run(None, feed)

    assert_same(program)


@pytest.mark.parametrize("method", ["numpy", "shape", "data_ptr", "tensor_size_in_bytes", "device_name", "__dlpack_device__"])
def test_what_a_sequence_does_not_have(method: str) -> None:
    made = "g (float[2] x) => (seq(float[2]) q) { q = SequenceConstruct(x, x) }"

    def program(m: Any) -> Any:
        pair = m.OrtValue.ortvalue_from_numpy(np.array([1, 2], np.float32))
        return getattr(session(m, model(made)).run_with_ort_values(None, {"x": pair})[0], method)()

    assert_same(program)


def test_a_list_of_maps_as_a_value() -> None:
    one = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    maps = onnx.helper.make_sequence_type_proto(onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, one))
    node = onnx.helper.make_node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[1, 2, 3])
    inputs, outputs = [onnx.helper.make_tensor_value_info("x", 1, ["N", 3])], [onnx.helper.make_value_info("z", maps)]
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    made = onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, outputs), opset_imports=opsets, ir_version=8)

    def program(m: Any) -> Any:
        (value,) = session(m, made).run_with_ort_values(None, {"x": m.OrtValue.ortvalue_from_numpy(X)})
        return value.data_type(), value.is_tensor(), value.is_tensor_sequence(), value.is_sparse_tensor(), value.has_value()

    assert_same(program)
    for method in ("element_type", "shape", "numpy", "device_name"):

        def refused(m: Any, name: str = method) -> Any:
            (value,) = session(m, made).run_with_ort_values(None, {"x": m.OrtValue.ortvalue_from_numpy(X)})
            return getattr(value, name)()

        assert_same(refused)
    binding = session(onnxgpu, made).io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("z", "loopback", 0)
    binding._session.run_with_iobinding(binding)
    assert binding.copy_outputs_to_cpu() == [[{1: 0.0, 2: 1.0, 3: 2.0}, {1: 3.0, 2: 4.0, 3: 5.0}]]


def test_an_optional_that_is_absent() -> None:
    made = session(onnxgpu, model("g (float[2] x) => (optional(float[2]) o) { o = Optional<type = float[2]>() }"))
    (value,) = made.run_with_ort_values(None, {"x": OrtValue.ortvalue_from_numpy(np.ones(2, np.float32))})
    assert (value.has_value(), value.data_type()) == (False, "optional(tensor(float))")


def test_sequences_and_strings_are_bound() -> None:
    """onnxruntime does not bind them as inputs."""
    made, binding = bound(onnxgpu, KINDS)
    binding.bind_cpu_input("t", np.array(["a", "b"]))
    binding.bind_ortvalue_input("q", OrtValue(OrtValue.of([X[0], X[1]], type_text="seq(tensor(float))")))
    binding.bind_cpu_input("x", np.ones(2, np.float32))
    for name in ("u", "r", "o"):
        binding.bind_output(name)
    made.run_with_iobinding(binding)
    strings, sequence, optional = binding.copy_outputs_to_cpu()
    assert strings.tolist() == ["a", "b"]
    np.testing.assert_array_equal(sequence, X)
    np.testing.assert_array_equal(optional, [1, 1])


def test_vectors() -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        made = session(m, model(TWO))
        feeds, fetches, given = c.OrtValueVector(), c.OrtValueVector(), c.OrtValueVector()
        feeds.push_back(m.OrtValue.ortvalue_from_numpy(X)._ortvalue)
        target = m.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
        given.push_back(target._ortvalue)
        device = c.OrtDevice(0, 0, 0)
        made.run_with_ortvaluevector(m.RunOptions(), ["x"], feeds, ["s", "y"], fetches, [device, device])
        made.run_with_ortvaluevector(m.RunOptions(), ["x"], feeds, ["y"], given, [device])
        return [v.numpy() for v in fetches], target.numpy(), len(given), given[0].data_ptr() == target.data_ptr()

    assert_same(program)


@pytest.mark.parametrize("options", [True, False])
def test_vectors_that_do_not_fit(options: bool) -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        made = session(m, model(TWO))
        made.run_with_ortvaluevector(
            m.RunOptions() if options else None, ["x"], c.OrtValueVector(), ["y"], c.OrtValueVector(), [c.OrtDevice(0, 0, 0)]
        )

    assert_same(program)


def waited_for(made: Any, names: Any, feed: Any) -> Any:
    called, heard = threading.Event(), []

    def callback(results: Any, user_data: Any, problem: str) -> None:
        heard.append(
            (
                type(results).__name__,
                list(results),
                user_data,
                problem.split(": q")[0].strip(),
                threading.current_thread() is threading.main_thread(),
            )
        )
        called.set()

    returned = made.run_async(names, feed, callback, {"mine": 1})
    assert called.wait(30)
    return returned, heard


@pytest.mark.parametrize("names", [["y"], None, ["s", "y"]], ids=str)
def test_run_async(names: Any) -> None:
    assert_same(lambda m: waited_for(session(m, model(TWO)), names, {"x": X}))


@pytest.mark.parametrize("feed", [{}, {"x": X, "q": X}], ids=lambda f: str(list(f)))
def test_run_async_with_inputs_that_do_not_fit(feed: Any) -> None:
    assert_same(lambda m: waited_for(session(m, model(TWO)), ["y"], feed))


def test_run_async_tells_what_went_wrong() -> None:
    text = "g (float[N] x, int64[M] k) => (float[P,Q] y) { y = Reshape(x, k) }"

    def heard(m: Any, name: str, **feed: np.ndarray) -> str:
        return str(waited_for(session(m, model(text)), [name], feed)[1][0][3])

    wrong = {"x": X.reshape(-1), "k": np.array([4, 4])}
    for module in (onnxgpu, pytest.importorskip("onnxruntime")):
        assert heard(module, "y", **wrong).startswith("Non-zero status code returned while running Reshape node. Name:''")
        assert heard(module, "y", **(wrong | {"k": np.array([4.0])})).startswith("Unexpected input data type. Actual: (tensor(double))")


@pytest.mark.parametrize("place", [("cpu",), ("cpu", 0), ("cuda", 0)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, 1], ids=str)
def test_memory_of_a_session(place: Any, kind: Any) -> None:
    def program(m: Any) -> Any:
        value = session(m, model(TWO)).create_ortvalue_from_shape_and_type([2], kind, *place)
        return value.shape(), value.data_type(), value.device_name()

    if place[0] == "cpu":
        assert_same(program)
    else:
        with pytest.raises(RuntimeError, match=r"No session allocator found for Device:.DeviceType:1.*this session has host"):
            program(onnxgpu)


def test_memory_infos_of_a_session() -> None:
    def program(m: Any) -> Any:
        made = session(m, model(TWO))
        infos = *made.get_input_memory_infos(), *made.get_output_memory_infos()
        return [(i.name, i.device_id, str(i.mem_type), str(i.allocator_type), i.device_vendor_id) for i in infos]

    assert_same(program)


@pytest.fixture(params=["", "op:Mul=CPUExecutionProvider"], ids=["device", "split"])
def there(request: pytest.FixtureRequest) -> InferenceSession:
    return unrewritten(CHAIN, LOOPBACK, placement=f"{request.param};mode=listed")


def on_device(array: np.ndarray) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(array, "loopback", 0)


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The copies between places that a run makes, in order."""
    from onnxgpu.plan.transfer import TransferKernel

    seen: list[str] = []
    move = TransferKernel._move

    def counted(self: TransferKernel, value: Any) -> Any:
        seen.append("down" if self._copy.__name__ == "download" else "up")
        return move(self, value)

    monkeypatch.setattr(TransferKernel, "_move", counted)
    return seen


A, B = np.array([1, 2], np.float32), np.array([3, 5], np.float32)


def test_nothing_is_copied_where_all_lies_on_the_device(transfers: list[str]) -> None:
    made = unrewritten(CHAIN, LOOPBACK, placement="mode=listed")
    transfers.clear()
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_ortvalue_input("v", on_device(B))
    binding.bind_output("y", "loopback", 0)
    binding.bind_output("z", "loopback", 0)
    for _ in range(3):
        made.run_with_iobinding(binding)
        values = binding.get_outputs()
        assert [value.device_name() for value in values] == ["loopback", "loopback"]
        np.testing.assert_array_equal(values[0].numpy(), A + B)
        np.testing.assert_array_equal(values[1].numpy(), (A + B) * B)
    assert transfers == []


def test_inputs_and_outputs_in_any_place(there: InferenceSession) -> None:
    expected = A + B, (A + B) * B
    places = ["cpu", "loopback"]
    for number in range(16):
        x, v, y, z = (places[number >> bit & 1] for bit in range(4))
        binding = there.io_binding()
        binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(A, x, 0))
        binding.bind_ortvalue_input("v", OrtValue.ortvalue_from_numpy(B, v, 0))
        binding.bind_output("y", y, 0)
        binding.bind_output("z", z, 0)
        for _ in range(3):
            there.run_with_iobinding(binding)
            assert [value.device_name() for value in binding.get_outputs()] == [y, z]
            for found, wanted in zip(binding.copy_outputs_to_cpu(), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_the_outputs_of_one_run_are_inputs_of_the_next(there: InferenceSession) -> None:
    x, v = on_device(A), on_device(B)
    expected = A
    for _ in range(4):
        binding = there.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_input("v", v)
        binding.bind_output("z", "loopback", 0)
        there.run_with_iobinding(binding)
        (x,) = binding.get_outputs()
        expected = (expected + B) * B
        np.testing.assert_array_equal(x.numpy(), expected)


def test_an_output_is_written_into_memory_on_the_device(there: InferenceSession) -> None:
    target = OrtValue.ortvalue_from_shape_and_type([2], np.float32, "loopback", 0)
    binding = there.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_cpu_input("v", B)
    binding.bind_ortvalue_output("z", target)
    for _ in range(3):
        target.update_inplace(np.zeros(2, np.float32))
        there.run_with_iobinding(binding)
        np.testing.assert_array_equal(target.numpy(), (A + B) * B)
        assert binding.get_outputs()[0].data_ptr() == target.data_ptr()


def test_memory_on_the_device_by_address(there: InferenceSession) -> None:
    x, z = on_device(A), OrtValue.ortvalue_from_shape_and_type([2], np.float32, "loopback", 0)
    binding = there.io_binding()
    binding.bind_input("x", "loopback", 0, np.float32, [2], x.data_ptr())
    binding.bind_cpu_input("v", B)
    binding.bind_output("z", "loopback", 0, np.float32, [2], z.data_ptr())
    there.run_with_iobinding(binding)
    np.testing.assert_array_equal(z.numpy(), (A + B) * B)


def test_device_memory_of_the_wrong_shape(there: InferenceSession) -> None:
    binding = there.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_cpu_input("v", B)
    binding.bind_ortvalue_output("z", OrtValue.ortvalue_from_shape_and_type([3], np.float32, "loopback", 0))
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"output z is float32\[2\], but the memory given for it is float32\[3\]"):
            there.run_with_iobinding(binding)


def test_an_output_never_lies_in_a_bound_input() -> None:
    made = unrewritten(
        "g (float[N] x) => (float[N] y, float[N] z) { y = Identity(x)\n z = Identity(y) }", LOOPBACK, placement="mode=listed"
    )
    x = on_device(A)
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", x)
    binding.bind_output("y", "loopback", 0)
    binding.bind_output("z", "loopback", 0)
    for _ in range(3):
        made.run_with_iobinding(binding)
        addresses = {x.data_ptr(), *(value.data_ptr() for value in binding.get_outputs())}
        assert len(addresses) == 3
        for value in binding.get_outputs():
            np.testing.assert_array_equal(value.numpy(), A)


def test_an_output_never_lies_in_a_constant() -> None:
    text = "g (float[2] x) => (float[2] w, float[2] y) <float[2] w = {1.0, 2.0}> { y = Relu(x) }"
    made = unrewritten(text, LOOPBACK, placement="mode=listed")
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_output("w", "loopback", 0)
    for _ in range(3):
        made.run_with_iobinding(binding)
        (w,) = binding.get_outputs()
        np.testing.assert_array_equal(w.numpy(), [1, 2])
        w.update_inplace(np.zeros(2, np.float32))


def test_strings_stay_on_the_host() -> None:
    made = unrewritten("g (float[2] x) => (string[2] t) { t = Cast<to = 8>(x) }", LOOPBACK)
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_output("t", "loopback", 0)
    made.run_with_iobinding(binding)
    assert (binding.get_outputs()[0].device_name(), binding.copy_outputs_to_cpu()[0].tolist()) == ("cpu", ["1", "2"])


def test_run_takes_values_on_a_device(there: InferenceSession, transfers: list[str]) -> None:
    found = there.run(["y"], {"x": on_device(A), "v": on_device(B)})
    np.testing.assert_array_equal(found[0], A + B)
    assert transfers == ["down"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (A.astype(np.float64), r"Unexpected input data type. Actual: \(tensor\(double\)\)"),
        (A[None], "Invalid rank for input: x Got: 2 Expected: 1"),
    ],
    ids=str,
)
def test_values_on_a_device_are_checked(there: InferenceSession, array: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        there.run(None, {"x": on_device(array), "v": B})


def test_a_session_without_the_device_takes_its_values() -> None:
    made = unrewritten(CHAIN, ["CPUExecutionProvider"])
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_cpu_input("v", B)
    binding.bind_output("y", "loopback", 1)
    made.run_with_iobinding(binding)
    assert binding.get_outputs()[0].__dlpack_device__() == (12, 1)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], A + B)


def test_vectors_on_the_device(there: InferenceSession) -> None:
    feeds, fetches = OrtValueVector(), OrtValueVector()
    feeds.push_back(on_device(A))
    feeds.push_back(OrtValue.ortvalue_from_numpy(B))
    devices = [onnxgpu.OrtDevice.make(name, 0)._get_c_device() for name in ("loopback", "cpu")]
    there.run_with_ortvaluevector(onnxgpu.RunOptions(), ["x", "v"], feeds, ["z", "y"], fetches, devices)
    assert [value.device_name() for value in fetches] == ["Loopback", "Cpu"]
    np.testing.assert_array_equal(fetches[0].numpy(), (A + B) * B)


def test_where_the_plan_wants_inputs_and_has_outputs() -> None:
    made = unrewritten(CHAIN, LOOPBACK, placement="op:Mul=CPUExecutionProvider;mode=listed")
    assert [info.name for info in made.get_input_memory_infos()] == ["Loopback", "Cpu"]
    assert [info.name for info in made.get_output_memory_infos()] == ["Loopback", "Cpu"]
    assert [device.ep_name for device in made.get_input_epdevices() if device is not None] == ["CPUExecutionProvider"] * 2
    value = made.create_ortvalue_from_shape_and_type([2], np.float32, "loopback", 0)
    assert value.device_name() == "loopback"


def test_one_program_for_each_choice_of_places(there: InferenceSession) -> None:
    for _ in range(2):
        for place in ("cpu", "loopback"):
            binding = there.io_binding()
            binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(A, place, 0))
            binding.bind_cpu_input("v", B)
            binding.bind_output("y", place, 0)
            there.run_with_iobinding(binding)
    assert len(there.programs) == 3
    assert sorted(str(program.plan).splitlines()[0] for program in there.programs) == [
        "plan g(x, v) -> (y)",
        "plan g(x, v) -> (y, z)",
        "plan g(x@loopback:0, v) -> (y@loopback:0)",
    ]


def test_a_run_with_options_can_be_ended() -> None:
    made, binding = ran(onnxgpu, "y")
    options = onnxgpu.RunOptions()
    options.terminate = True
    with pytest.raises(RuntimeError, match="Exiting due to terminate flag"):
        made.run_with_iobinding(binding, options)


def test_the_operator_writes_into_the_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second run on; the first is recorded."""
    made = unrewritten(CHAIN, LOOPBACK, placement="mode=listed")
    target = OrtValue.ortvalue_from_shape_and_type([2], np.float32, "loopback", 0)
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", on_device(A))
    binding.bind_ortvalue_input("v", on_device(B))
    binding.bind_ortvalue_output("z", target)
    copies: list[int] = []
    monkeypatch.setattr(LoopbackProvider, "copy_into", lambda self, target, source: copies.append(1))
    made.run_with_iobinding(binding)
    assert copies == [1]
    for _ in range(3):
        made.run_with_iobinding(binding)
    assert copies == [1]
    np.testing.assert_array_equal(target.numpy(), (A + B) * B)


@pytest.mark.parametrize("place", ["cpu", "loopback"])
def test_an_output_that_is_a_view_is_copied_once_into_the_bound_memory(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second run on; beside it lies the same output without memory for it."""
    text = "g (float[2,3] x) => (float[3,2] y, float[3,2] z) { y = Transpose(x)\n z = Identity(y) }"
    provider = {"cpu": "CPUExecutionProvider", "loopback": "LoopbackExecutionProvider"}[place]
    made = unrewritten(text, LOOPBACK, placement=f"op:Transpose={provider};op:Identity={provider};mode=listed")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    given, target = OrtValue.ortvalue_from_numpy(x.copy(), place, 0), OrtValue.ortvalue_from_shape_and_type([3, 2], np.float32, place, 0)
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", given)
    binding.bind_ortvalue_output("y", target)
    binding.bind_output("z", place, 0)
    made.run_with_iobinding(binding)
    copies: list[tuple[Any, Any]] = []
    copy_into = LoopbackProvider.copy_into

    def counted(self: LoopbackProvider, target: Any, source: Any) -> None:
        copies.append((target, source))
        copy_into(self, target, source)

    monkeypatch.setattr(LoopbackProvider, "copy_into", counted)
    for shift in (1, 2, 3):
        given.update_inplace(x + shift)
        copies.clear()
        made.run_with_iobinding(binding)
        assert len(copies) == (2 if place == "loopback" else 0)  # one an output
        for value in (target, *binding.get_outputs()):
            np.testing.assert_array_equal(value.numpy(), (x + shift).T)


@pytest.mark.parametrize("places", [("cpu", "loopback"), ("loopback", "cpu")], ids=str)
def test_a_copy_between_places_goes_into_the_bound_memory(places: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second run on; an output that the host computes goes up into device memory, one of the device down."""
    provider, place = {"cpu": "CPUExecutionProvider", "loopback": "LoopbackExecutionProvider"}[places[0]], places[1]
    made = unrewritten(CHAIN, LOOPBACK, placement=f"op:Mul={provider};op:Add={provider};mode=listed")
    target = OrtValue.ortvalue_from_shape_and_type([2], np.float32, place, 0)
    binding = made.io_binding()
    x = OrtValue.ortvalue_from_numpy(A.copy(), places[0], 0)
    binding.bind_ortvalue_input("x", x)
    binding.bind_ortvalue_input("v", OrtValue.ortvalue_from_numpy(B, places[0], 0))
    binding.bind_ortvalue_output("z", target)
    made.run_with_iobinding(binding)
    for method in ("upload", "download"):
        monkeypatch.setattr(LoopbackProvider, method, None)
    for shift in (0, 1, 2):
        x.update_inplace(A + shift)
        made.run_with_iobinding(binding)
    monkeypatch.undo()
    np.testing.assert_array_equal(target.numpy(), (A + 2 + B) * B)


def test_a_shape_that_depends_on_values_and_bound_memory() -> None:
    text = "g (float[N] x) => (int64[1,M] y) { n = NonZero(x)\n y = Neg(n) }"
    made = unrewritten(text, LOOPBACK, placement="mode=listed")
    target = OrtValue.ortvalue_from_shape_and_type([1, 2], np.int64)
    binding = made.io_binding()
    x = np.array([1, 0, 2], np.float32)
    binding.bind_cpu_input("x", x)
    binding.bind_ortvalue_output("y", target)
    for _ in range(3):
        made.run_with_iobinding(binding)
        np.testing.assert_array_equal(target.numpy(), [[0, -2]])
    x[1] = 5
    with pytest.raises(RuntimeError, match=r"output y is int64\[1, 3\], but the memory given for it is int64\[1, 2\]"):
        made.run_with_iobinding(binding)
    x[0] = 0
    for _ in range(3):
        made.run_with_iobinding(binding)
        np.testing.assert_array_equal(target.numpy(), [[-1, -2]])


def test_memory_that_is_an_input_and_an_output() -> None:
    """The run is as if the output had memory of its own."""
    made = unrewritten("g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)\n z = Add(y, x) }", ["CPUExecutionProvider"])
    for place in ("cpu", "loopback"):
        x = OrtValue.ortvalue_from_numpy(A.copy(), place)
        binding = made.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", x)
        binding.bind_output("z")
        for _ in range(4):
            x.update_inplace(A)
            made.run_with_iobinding(binding)
            y, z = binding.copy_outputs_to_cpu()
            np.testing.assert_array_equal(y, -A)
            np.testing.assert_array_equal(z, [0, 0])
            np.testing.assert_array_equal(x.numpy(), -A)


def test_run_options_are_run_options() -> None:
    made, binding = ran(onnxgpu, "y")
    with pytest.raises(TypeError, match="run_options is a RunOptions, got 3"):
        made.run_with_iobinding(binding, 3)


def test_bindings_in_threads(there: InferenceSession) -> None:
    """Each thread with a binding of its own."""

    def work(number: int) -> None:
        x = A + number
        binding = there.io_binding()
        binding.bind_ortvalue_input("x", on_device(x))
        binding.bind_cpu_input("v", B)
        binding.bind_output("z", "loopback", 0)
        for _ in range(20):
            there.run_with_iobinding(binding)
            np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], (x + B) * B)

    in_threads(work, range(4))


def test_the_classes_have_onnxruntime_s_names() -> None:
    assert isinstance(bound(onnxgpu)[1], IOBinding)
    assert isinstance(bound(onnxgpu)[1]._iobinding, SessionIOBinding)
    assert OrtValue.ortvalue_from_numpy(X).element_type() == onnx.TensorProto.FLOAT
