"""OrtValues and bindings in CUDA memory, on the emulated device, whose counters tell what was copied."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu import OrtValue
from onnxgpu.errors import InvalidArgument

X = np.arange(6, dtype=np.float32).reshape(2, 3)
V = X + 1
CHAIN = "g (float[N,3] x, float[N,3] v) => (float[N,3] y, float[N,3] z) { y = Add (x, v) z = Mul (y, v) }"
pytestmark = pytest.mark.usefixtures("device")


def chain(placement: str = "mode=listed") -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("onnxgpu.placement", placement)
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {CHAIN}')
    return ort.InferenceSession(model, options, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


def there(array: np.ndarray, index: int = 0) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(array, "cuda", index)


def test_values_in_cuda_memory() -> None:
    value = there(X, 1)
    assert (value.device_name(), value.__dlpack_device__(), value.shape()) == ("cuda", (2, 1), [2, 3])
    before = value.data_ptr()
    value.update_inplace(V)
    home, other = OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32), there(X, 0)
    ort.copy_tensors([value, value], [home, other])
    for found in (value, home, other):
        np.testing.assert_array_equal(found.numpy(), V)
    assert value.data_ptr() == before
    assert ort.get_device() == "GPU"


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(InvalidArgument, match="this machine has 2 CUDA devices"):
        there(X, 5)


def test_tensors_of_cupy_come_and_go_without_a_copy(cp: Any) -> None:
    array = cp.asarray(X)
    value = OrtValue.from_dlpack(array)
    assert (value.data_ptr(), value.device_name()) == (array.data.ptr, "cuda")
    assert cp.from_dlpack(value).data.ptr == array.data.ptr
    array += 1
    np.testing.assert_array_equal(value.numpy(), V)


def test_bfloat16_keeps_its_type_through_dlpack() -> None:
    value = there(np.array([1.5, 2], ml_dtypes.bfloat16))
    back = OrtValue.from_dlpack(value)
    assert (back.data_type(), back.data_ptr()) == ("tensor(bfloat16)", value.data_ptr())


def test_eight_bit_floats_lie_in_cuda_memory_and_keep_their_type_through_dlpack() -> None:
    array = np.array([[1.5, -2, 448]], ml_dtypes.float8_e4m3fn)
    value = there(array)
    back = OrtValue.from_dlpack(value)
    assert (back.data_type(), back.data_ptr(), back.shape()) == ("tensor(float8e4m3fn)", value.data_ptr(), [1, 3])
    value.update_inplace(-array)
    assert back.numpy().dtype == array.dtype and back.numpy().tobytes() == (-array).tobytes()


def test_a_bound_run_copies_nothing(device: Any) -> None:
    session = chain()
    binding = session.io_binding()
    target = OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32, "cuda", 0)
    binding.bind_ortvalue_input("x", there(X))
    binding.bind_ortvalue_input("v", there(V))
    binding.bind_output("y", "cuda", 0)
    binding.bind_ortvalue_output("z", target)
    for _ in range(3):
        session.run_with_iobinding(binding)
    device.counters(clear=True)
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    counted = device.counters()
    assert (counted["copies_to_device"], counted["copies_to_host"], counted["allocations"]) == (0, 0, 0)
    np.testing.assert_array_equal(target.numpy(), (X + V) * V)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], X + V)
    assert [value.device_name() for value in binding.get_outputs()] == ["cuda", "cuda"]
    assert binding.get_outputs()[1].data_ptr() == target.data_ptr()


@pytest.mark.parametrize("placement", ["mode=listed", "op:Mul=CPUExecutionProvider;mode=listed"], ids=["device", "split"])
@pytest.mark.parametrize("indices", [(0, 0), (1, 0), (0, 1)], ids=str)
def test_inputs_and_outputs_on_two_devices(placement: str, indices: tuple[int, int]) -> None:
    session = chain(placement)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", there(X, indices[0]))
    binding.bind_cpu_input("v", V)
    binding.bind_output("z", "cuda", indices[1])
    for _ in range(3):
        session.run_with_iobinding(binding)
        assert binding.get_outputs()[0].__dlpack_device__() == (2, indices[1])
        np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], (X + V) * V)


def test_memory_by_address(cp: Any) -> None:
    session, x, z = chain(), cp.asarray(X), cp.zeros((2, 3), np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, [2, 3], x.data.ptr)
    binding.bind_cpu_input("v", V)
    binding.bind_output("z", "cuda", 0, np.float32, [2, 3], z.data.ptr)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(cp.asnumpy(z), (X + V) * V)


class Interface:
    """A tensor with the CUDA Array Interface alone."""

    def __init__(self, array: Any) -> None:
        self.array, self.__cuda_array_interface__ = array, array.__cuda_array_interface__


@pytest.mark.parametrize("wrapped", [lambda array: array, Interface], ids=["cupy", "interface"])
def test_runs_read_tensors_of_other_libraries_where_they_lie(wrapped: Any, cp: Any, device: Any) -> None:
    session, given = chain(), wrapped(cp.asarray(X))
    for _ in range(3):
        session.run(["y"], {"x": given, "v": V})
    device.counters(clear=True)
    np.testing.assert_array_equal(session.run(["y"], {"x": given, "v": V})[0], X + V)
    assert (device.counters()["copies_to_device"], device.counters()["copies_to_host"]) == (1, 1)
