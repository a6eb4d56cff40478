"""What runs read without a copy: arrays in any layout, OrtValues, tensors of other libraries, on the host and on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

import onnxgpu
from onnxgpu import OrtValue, SparseTensor, discovery
from onnxgpu.errors import InvalidArgument
from onnxgpu.feeds import checked_feed
from onnxgpu.metadata import NodeArg
from onnxgpu.provider import DeviceMemory, Place
from onnxgpu.providers.loopback.provider import LoopbackProvider
from onnxgpu.values import Value
from tests.models import model
from tests.models import session as unrewritten
from tests.side_by_side import assert_same, session

X = np.arange(6, dtype=np.float32).reshape(2, 3)
NEGATIVE = "g (float[N,3] x) => (float[N,3] y) { y = Neg(x) }"
ARGUMENT = NodeArg("x", "tensor(float)", ["N", 3])


class Array:
    """A tensor of another library, with `__array__` alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array


class Dlpack:
    """A tensor of another library, with DLPack alone; `device` says where it lies."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Bfloat16:
    """As a tensor of PyTorch with a type that NumPy does not have: DLPack knows it, `__array__` refuses."""

    def __init__(self, value: OrtValue) -> None:
        self.__dlpack__, self.__dlpack_device__ = value.__dlpack__, value.__dlpack_device__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Got unsupported ScalarType BFloat16")


WAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda array: array,
    "Fortran order": lambda array: array.T.copy().T,
    "strided": lambda array: np.repeat(array, 2, axis=1)[:, ::2],
    "OrtValue": OrtValue.ortvalue_from_numpy,
    "OrtValue of the lower layer": lambda array: OrtValue.ortvalue_from_numpy(array)._ortvalue,
    "__array__": Array,
    "DLPack": Dlpack,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_memory_is_the_caller_s(way: str) -> None:
    given = WAYS[way](X.copy())
    read = checked_feed(ARGUMENT, given)
    owner = getattr(given, "array", given)
    assert np.shares_memory(read, owner.numpy() if isinstance(owner, Value) else owner)
    if way == "array":
        assert read is given


@pytest.mark.parametrize("way", WAYS)
def test_the_same_buffer_is_changed_and_fed_again(way: str) -> None:
    made = session(onnxgpu, model(NEGATIVE))
    given = WAYS[way](X.copy())
    kept = []
    for number in range(4):
        array = getattr(given, "array", given)
        array = array.numpy() if isinstance(array, Value) else array
        array[...] = X + number
        kept.append(made.run(None, {"x": given})[0])
    for number, found in enumerate(kept):
        np.testing.assert_array_equal(found, -(X + number))


@pytest.mark.parametrize("way", ["array", "Fortran order", "strided"])
def test_changed_buffers_as_onnxruntime_reads_them(way: str) -> None:
    def program(m: Any) -> Any:
        made = session(m, model(NEGATIVE))
        given = WAYS[way](X.copy())
        found = [made.run(None, {"x": given})[0]]
        given += 1
        found += made.run(None, {"x": given})
        return found

    assert_same(program)


def test_read_only_arrays_are_read() -> None:
    array = X.copy()
    array.flags.writeable = False
    ways: list[Any] = [array, Array(array), Dlpack(array), np.broadcast_to(array[0], (2, 3))]
    for given in ways:
        expected = np.negative(getattr(given, "array", given))
        np.testing.assert_array_equal(session(onnxgpu, model(NEGATIVE)).run(None, {"x": given})[0], expected)


def test_a_type_that_only_dlpack_knows() -> None:
    given = Bfloat16(OrtValue.ortvalue_from_numpy(np.array([1.5, -2], ml_dtypes.bfloat16)))
    text = "g (bfloat16[2] x) => (float[2] y) { y = Cast<to = 1>(x) }"
    np.testing.assert_array_equal(session(onnxgpu, model(text)).run(None, {"x": given})[0], [1.5, -2])


@pytest.mark.parametrize("integer", ["i1", "i2", "i4", "u4", "u8"])
def test_integers_of_another_width_are_refused(integer: str) -> None:
    text = "g (int64[N] x) => (int64[N] y) { y = Neg(x) }"
    assert_same(lambda m: session(m, model(text)).run(None, {"x": np.ones(2, integer)}))
    assert_same(lambda m: session(m, model(text)).run(None, {"x": [1, 2]}))


def test_values_of_sparse_tensors() -> None:
    place = onnxgpu.OrtDevice.make("cpu", 0)
    sparse = SparseTensor.sparse_coo_from_numpy([2, 3], np.array([5, 7], np.float32), np.array([1, 5], np.int64), place)
    (found,) = session(onnxgpu, model(NEGATIVE)).run(None, {"x": OrtValue.ort_value_from_sparse_tensor(sparse)})
    np.testing.assert_array_equal(found, [[0, -5, 0], [0, 0, -7]])


def test_ort_values_in_sequences() -> None:
    text = "g (seq(float[M]) q) => (float[M] y) { i = Constant<value = int64 {1}>()\n y = SequenceAt(q, i) }"
    values = [OrtValue.ortvalue_from_numpy(X[0]), OrtValue.ortvalue_from_numpy(X[1], "loopback")]
    np.testing.assert_array_equal(session(onnxgpu, model(text)).run(None, {"q": values})[0], X[1])


class PretendCuda(LoopbackProvider):
    """The pretend device by the names of CUDA memory, as another package could bring it."""

    name: ClassVar[str] = "PretendCudaProvider"
    memory: ClassVar[DeviceMemory] = DeviceMemory("Cuda", device_type=1, vendor_id=0x10DE, dlpack_type=2)
    option_types: ClassVar[Mapping[str, type]] = {"device_id": int}
    synchronized: ClassVar[list[Place]] = []

    @property
    def place(self) -> Place:
        return Place("cuda", int(self.options.get("device_id", 0)))

    def synchronize(self) -> None:
        self.synchronized.append(self.place)


class Passed:
    """A tensor on a device, of another library with DLPack alone."""

    def __init__(self, value: OrtValue) -> None:
        self.__dlpack__, self.__dlpack_device__ = value.__dlpack__, value.__dlpack_device__


class CudaInterface:
    """A tensor with the CUDA Array Interface alone."""

    def __init__(self, array: np.ndarray, **more: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "version": 3,
            **more,
        }


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A session's list of providers with `PretendCuda`, known as a plug-in is; every upload of a run raises."""
    known = {**discovery._all(), PretendCuda.name: ("pretend", PretendCuda)}
    monkeypatch.setattr(discovery, "_all", lambda: known)
    return [PretendCuda.name, "CPUExecutionProvider"]


def test_a_plug_in_s_memory_has_its_names(cuda: list[str]) -> None:
    value = OrtValue.ortvalue_from_numpy(X, "cuda", 1)
    assert (value.device_name(), value.__dlpack_device__()) == ("cuda", (2, 1))
    assert OrtValue.ortvalue_from_numpy(X, "gpu", 0).device_name() == "cuda"
    assert OrtValue.ortvalue_from_numpy(X, "gpu", 0, onnxgpu.OrtDeviceVendorId.NVIDIA).device_name() == "cuda"
    with pytest.raises(RuntimeError, match="Can't allocate memory on the device"):
        OrtValue.ortvalue_from_numpy(X, "gpu", 0, onnxgpu.OrtDeviceVendorId.AMD)


@pytest.mark.parametrize("way", ["interface", "DLPack"])
def test_tensors_on_a_device_are_read_there(way: str, cuda: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    array = X.copy()
    made = unrewritten(NEGATIVE, cuda, placement="mode=listed")
    given: Any = CudaInterface(array) if way == "interface" else OrtValue.ortvalue_from_numpy(array, "cuda", 0)
    if way == "DLPack":
        given = Passed(given)
    uploads: list[int] = []
    monkeypatch.setattr(PretendCuda, "upload", lambda self, array: uploads.append(1))
    for _ in range(3):
        np.testing.assert_array_equal(made.run(None, {"x": given})[0], -X)
    assert uploads == []
    if way == "interface":
        assert PretendCuda.synchronized
        array += 1
        np.testing.assert_array_equal(made.run(None, {"x": given})[0], -(X + 1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (CudaInterface(X, strides=(4, 8)), "dense in C order.*strides are"),
        (CudaInterface(X.astype(np.float64)), r"Actual: \(tensor\(double\)\)"),
        (CudaInterface(X[0]), "Invalid rank for input: x Got: 1 Expected: 2"),
    ],
    ids=["strides", "type", "rank"],
)
def test_tensors_on_a_device_that_do_not_fit(given: Any, words: str, cuda: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=words):
        unrewritten(NEGATIVE, cuda, placement="mode=listed").run(None, {"x": given})


class Elsewhere:
    """A tensor on a device that no provider has."""

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("it lies on a device of another kind")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (7, 0)


@pytest.mark.parametrize("given", [CudaInterface(X), Elsewhere()], ids=["interface", "DLPack"])
def test_tensors_on_a_device_that_is_not_there(given: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"input x: tests.test_feeds_without_copies.* cannot be read where it lies"):
        session(onnxgpu, model(NEGATIVE)).run(None, {"x": given})
