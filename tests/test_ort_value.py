"""OrtValue, OrtDevice, OrtMemoryInfo: the same programs with onnxruntime and with onnxgpu, and what only onnxgpu has."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import onnxgpu
import onnxgpu.capi.onnxruntime_pybind11_state
from onnxgpu import OrtValue, copy_tensors, memory_info
from onnxgpu.devices import Device
from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.ort_value import OrtValueHandle
from tests.side_by_side import assert_same, described

ort = pytest.importorskip("onnxruntime")

X = np.arange(6, dtype=np.float32).reshape(2, 3)
Program = Callable[[Any], Any]


def capi(module: ModuleType) -> Any:
    return module.capi.onnxruntime_pybind11_state


def value(module: Any, array: Any = X, *arguments: Any) -> Any:
    return module.OrtValue.ortvalue_from_numpy(array, *arguments)


def facts(v: Any) -> Any:
    """Everything a tensor tells of itself."""
    return [
        v.shape(),
        v.data_type(),
        v.element_type(),
        v.tensor_size_in_bytes(),
        v.has_value(),
        v.is_tensor(),
        v.is_sparse_tensor(),
        v.is_tensor_sequence(),
        v.device_name(),
        v.__dlpack_device__(),
    ]


@pytest.mark.parametrize("name", ["cpu", "cuda", "cann", "dml", "webgpu", "gpu", "npu", "CPU", "foo"])
@pytest.mark.parametrize("vendor", [-1, 0x1002])
def test_make_a_device(name: str, vendor: int) -> None:
    def program(m: Any) -> Any:
        made = m.OrtDevice.make(name, 2, vendor)
        return made.device_id(), made.device_type(), made.device_vendor_id(), made.device_mem_type()

    assert_same(program)


@pytest.mark.parametrize("numbers", [(1, 0, 2), (1, 5, 0x10DE, 2), (77, 0, 0), ("cpu", 0, 0), (1, 0), ()], ids=str)
def test_a_device_of_numbers(numbers: Any) -> None:
    def program(m: Any) -> Any:
        made = capi(m).OrtDevice(*numbers)
        return made.device_type(), made.mem_type(), made.vendor_id(), made.device_id()

    assert_same(program)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cann", "dml", "fpga", "gpu", "npu", "webgpu", "default_memory"])
def test_the_numbers_of_device_types(name: str) -> None:
    assert_same(lambda m: getattr(capi(m).OrtDevice, name)())


@pytest.mark.parametrize("name", ["Cpu", "Cuda", "CudaPinned", "DML", "Hip", "HipPinned", "OpenVINO_GPU", "Foo"])
def test_memory_infos_by_name(name: str) -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        info = c.OrtMemoryInfo(name, c.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 1, c.OrtMemType.CPU_OUTPUT)
        return [
            int(x) for x in (info.allocator_type, info.device_mem_type, info.mem_type, info.device_id, info.device_vendor_id)
        ], info.name

    assert_same(program)


@pytest.mark.parametrize("memory", ["DEFAULT", "HOST_ACCESSIBLE"])
def test_memory_infos_by_numbers(memory: str) -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        kind, allocator = c.OrtMemoryInfoDeviceType.GPU, c.OrtAllocatorType.ORT_DEVICE_ALLOCATOR
        info = c.OrtMemoryInfo.create_v2("mine", kind, 0x10DE, 1, getattr(c.OrtDeviceMemoryType, memory), 64, allocator)
        return [
            str(x) for x in (info.name, info.allocator_type, info.device_mem_type, info.mem_type, info.device_id, info.device_vendor_id)
        ]

    assert_same(program)


@pytest.mark.parametrize("settings", [(1, 2, 3, 4), ({"max_mem": 7},), ({},), (1, 2)], ids=str)
def test_arena_settings(settings: Any) -> None:
    def program(m: Any) -> Any:
        made = capi(m).OrtArenaCfg(*settings)
        return [getattr(made, name) for name in memory_info.OrtArenaCfg.__slots__]

    assert_same(program)


def test_values_print_as_what_they_are(there: OrtValue) -> None:
    assert repr(there) == "OrtValue(tensor(float) [2, 3] on loopback:1)"
    assert repr(there._ortvalue) == "OrtValueHandle(tensor(float) [2, 3] on loopback:1)"
    assert repr(OrtValue(OrtValue.of([X], type_text="seq(tensor(float))"))) == "OrtValue(seq(tensor(float)))"
    assert repr(OrtValue(OrtValue.of(None, type_text="optional(tensor(float))"))) == "OrtValue(optional(tensor(float)), absent)"


@pytest.mark.parametrize(("name", "settings"), [("Cpu", True), ("Cpu", None), ("Cuda", True), (3, None)], ids=str)
def test_allocators_are_taken(name: Any, settings: Any) -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        memory = c.OrtMemoryInfo(name, c.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, c.OrtMemType.DEFAULT) if name != 3 else 3
        m.create_and_register_allocator(memory, c.OrtArenaCfg({}) if settings else None)

    assert_same(program)


@pytest.mark.parametrize("name", ["CPUExecutionProvider", "FooExecutionProvider", "CUDAExecutionProvider"])
def test_allocators_of_a_provider_are_taken(name: str) -> None:
    def program(m: Any) -> Any:
        c = capi(m)
        memory = c.OrtMemoryInfo("Cpu", c.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, c.OrtMemType.DEFAULT)
        m.create_and_register_allocator_v2(name, memory, {}, c.OrtArenaCfg({}))

    assert_same(program)


@pytest.mark.parametrize("memory", ["DEFAULT", "HOST_ACCESSIBLE", None])
def test_the_host_as_a_device(memory: str | None) -> None:
    def program(m: Any) -> Any:
        device = next(device for device in m.get_ep_devices() if device.ep_name == "CPUExecutionProvider")
        return device.memory_info(3 if memory is None else getattr(capi(m).OrtDeviceMemoryType, memory))

    assert_same(program)
    assert_same(lambda m: m.get_ep_devices()[0].create_sync_stream())


def test_a_device_of_a_provider() -> None:
    host = onnxgpu.get_ep_devices()[0]
    device = replace(host, ep_name="LoopbackExecutionProvider")
    info = device.memory_info(onnxgpu.OrtDeviceMemoryType.DEFAULT)
    assert info is not None
    assert (info.name, info.device_id) == ("Loopback", 0)
    assert OrtValue.ortvalue_from_shape_and_type([2], 1, memory_info=info).device_name() == "loopback"
    with pytest.raises(RuntimeError, match="has no queue of its own to lend"):
        device.create_sync_stream()


ARRAYS = [
    X,
    X.T,
    np.asfortranarray(X),
    X[:, ::2],
    X[::-1],
    X[:0],
    np.array(2.5),
    *(np.array([0, 1, 2]).astype(kind) for kind in "bBhHiIlLe?d"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype} {a.shape}")
def test_tensors_from_numpy(array: np.ndarray) -> None:
    assert_same(lambda m: (facts(value(m, array)), value(m, array).numpy()))


@pytest.mark.parametrize("given", [3, [1.0], np.float32(1), np.zeros(2, np.longdouble), None], ids=repr)
def test_what_no_tensor_is_made_of(given: Any) -> None:
    assert_same(lambda m: value(m, given))


@pytest.mark.parametrize("place", [("cuda", 0), ("gpu", 0, 0x1002), ("dml", 0), ("foo", 0)], ids=str)
def test_devices_that_are_not_there(place: Any) -> None:
    assert_same(lambda m: value(m, X, *place))


def test_why_a_device_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="CUDAExecutionProvider: "):
        OrtValue.ortvalue_from_shape_and_type([2], 1, "cuda", 0)


@pytest.mark.parametrize("kind", [np.float32, "float32", np.dtype("i2"), 1, 16, 17, 0, 999, object, str, bool, int, float, ">f4"], ids=str)
def test_memory_of_a_type(kind: Any) -> None:
    assert_same(lambda m: facts(m.OrtValue.ortvalue_from_shape_and_type([2, 3], kind)))


@pytest.mark.parametrize("shape", [[], [0, 3], (2,), [-1, 3], 3, ["a"], np.array([2, 2])], ids=str)
def test_memory_of_a_shape(shape: Any) -> None:
    def program(m: Any) -> Any:
        return facts(m.OrtValue.ortvalue_from_shape_and_type(shape, 1))

    if isinstance(shape, list) and -1 in shape:
        with pytest.raises(RuntimeError, match="must be >= 0"):
            program(onnxgpu)
    assert_same(program)


@pytest.mark.parametrize(
    ("code", "array"),
    [
        (16, np.arange(4, dtype=np.uint16)),
        (16, np.zeros(4, np.float16)),
        (16, np.zeros(4, ml_dtypes.bfloat16)),
        (16, np.zeros(4, np.uint8)),
        (17, np.zeros(4, np.uint8)),
        (1, np.zeros(4, np.int32)),
        (8, np.zeros(4, np.int32)),
        (999, np.zeros(4, np.int32)),
        (1, [1]),
    ],
    ids=str,
)
def test_memory_read_as_another_type(code: int, array: Any) -> None:
    def program(m: Any) -> Any:
        made = m.OrtValue.ortvalue_from_numpy_with_onnx_type(array, code)
        return facts(made), made.data_ptr() == array.ctypes.data

    assert_same(program)


def test_nothing_is_copied_on_the_host() -> None:
    def program(m: Any) -> Any:
        x = X.copy()
        v = value(m, x)
        arrays = v.numpy(), np.asarray(v), np.from_dlpack(v), m.OrtValue.from_dlpack(v).numpy(), m.OrtValue.from_dlpack(x).numpy()
        x += 1
        return [a.ctypes.data == x.ctypes.data for a in arrays], v.data_ptr() == x.ctypes.data, list(arrays), v.numpy().flags.writeable

    assert_same(program)


@pytest.mark.parametrize(
    "options", [{}, {"dtype": np.float64}, {"copy": True}, {"copy": False}, {"dtype": np.int8, "copy": False}], ids=str
)
def test_the_array_protocol(options: Any) -> None:
    def program(m: Any) -> Any:
        array = value(m).__array__(**options)
        return array, np.shares_memory(array, X)

    assert_same(program)


@pytest.mark.parametrize(
    "data",
    [X + 1, np.zeros((3, 2), np.float32), np.asfortranarray(X), X[:1], np.zeros(12, np.float32), [1.0], None],
    ids=lambda d: str(getattr(d, "shape", d)),
)
def test_update_in_place(data: Any) -> None:
    def program(m: Any) -> Any:
        v = value(m, X.copy())
        before = v.data_ptr()
        v.update_inplace(data)
        return v.numpy(), v.data_ptr() == before

    assert_same(program)


@pytest.mark.parametrize("data", [X + 1, np.zeros((3, 2), np.float32), np.zeros(9, np.float32), np.zeros((2, 3))], ids=str)
def test_update_in_place_from_another_value(data: np.ndarray) -> None:
    def program(m: Any) -> Any:
        v = value(m, X.copy())
        v.update_inplace(value(m, data))
        return v.numpy()

    assert_same(program)


def test_an_update_of_another_type_is_refused() -> None:
    """onnxruntime copies the bytes, or what follows them in memory."""
    with pytest.raises(RuntimeError, match="same data type; they have float64 and float32"):
        OrtValue.ortvalue_from_numpy(X.copy()).update_inplace(X.astype(np.float64))


@pytest.mark.parametrize(
    "data",
    [np.array([True]), np.ones(1, np.float16), X.T, np.zeros(2, np.complex64), 3, None, [1]],
    ids=lambda d: str(getattr(d, "dtype", d)),
)
def test_from_dlpack(data: Any) -> None:
    if getattr(data, "dtype", None) == np.complex64:
        assert OrtValue.from_dlpack(data).data_type() == "tensor(complex64)"  # onnxruntime has no complex tensors there
    else:
        assert_same(lambda m: (facts(m.OrtValue.from_dlpack(data)), m.OrtValue.from_dlpack(data).numpy()))


def test_a_capsule_is_taken_once() -> None:
    def program(m: Any) -> Any:
        capsule = X.__dlpack__()
        taken = m.OrtValue.from_dlpack(capsule)
        assert taken.data_ptr() == X.ctypes.data
        m.OrtValue.from_dlpack(capsule)

    assert_same(program)


def test_a_read_only_array_has_no_capsule() -> None:
    def program(m: Any) -> Any:
        array = X.copy()
        array.flags.writeable = False
        m.OrtValue.from_dlpack(array)

    assert_same(program)


def test_the_memory_of_another_library_is_given_back() -> None:
    x = X.copy()
    before = sys.getrefcount(x)
    taken = OrtValue.from_dlpack(x)
    view = taken.numpy()
    assert sys.getrefcount(x) == before + 1
    del taken
    gc.collect()
    assert sys.getrefcount(x) == before + 1  # the view holds it
    np.testing.assert_array_equal(view, X)
    del view
    gc.collect()
    assert sys.getrefcount(x) == before
    capsule = x.__dlpack__()
    del capsule
    assert sys.getrefcount(x) == before


@pytest.mark.parametrize("code", [*range(1, 8), *range(9, 21), 24])
def test_dlpack_keeps_every_type_of_whole_bytes(code: int) -> None:
    array = np.arange(4).astype(dtype_of(code))
    made = OrtValue.ortvalue_from_numpy(array)
    back = OrtValue.from_dlpack(made)
    assert back.element_type() == code
    assert back.data_ptr() == made.data_ptr() == array.ctypes.data
    np.testing.assert_array_equal(back.numpy().view(np.uint8), array.view(np.uint8))


@pytest.mark.parametrize("code", [16, 17, 19, 24, 10, 9])
def test_onnxruntime_takes_our_capsules_and_we_take_its(code: int) -> None:
    ours = OrtValue.ortvalue_from_shape_and_type([3], code)
    theirs = ort.OrtValue.from_dlpack(ours)
    assert (theirs.element_type(), theirs.data_ptr()) == (code, ours.data_ptr())
    back = OrtValue.from_dlpack(theirs)
    assert (back.element_type(), back.data_ptr()) == (code, ours.data_ptr())


@pytest.mark.parametrize("code", [21, 22, 23, 25, 26])
def test_types_of_part_of_a_byte_have_no_capsule(code: int) -> None:
    with pytest.raises(RuntimeError, match="one element a byte; cast it first"):
        OrtValue.ortvalue_from_shape_and_type([3], code).__dlpack__()


def test_strings() -> None:
    """onnxruntime refuses arrays of strings here, but has such values as outputs."""
    made = OrtValue.ortvalue_from_numpy(np.array(["a", "bc"]))
    assert (made.data_type(), made.element_type(), made.shape(), made.numpy().tolist()) == ("tensor(string)", 8, [2], ["a", "bc"])
    for refused in (made.data_ptr, made.__dlpack__):
        with pytest.raises(RuntimeError, match="strings"):
            refused()
    for array in (np.array([b"a"]), np.array([1, "a"], object)):
        with pytest.raises(RuntimeError, match="Creation of OrtValues"):
            OrtValue.ortvalue_from_numpy(array)


def test_big_endian_elements_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"big-endian elements \(>f4\); convert it with"):
        OrtValue.ortvalue_from_numpy(X.astype(">f4"))


def test_vectors() -> None:
    def program(m: Any) -> Any:
        vector = capi(m).OrtValueVector()
        vector.push_back(value(m)._ortvalue)
        vector.push_back(X.__dlpack__())
        vector.push_back_batch([X], [X.ctypes.data], [np.float32], [[3, 2]], [capi(m).OrtDevice(0, 0, 0)])
        vector.reserve(3)
        vector.shrink_to_fit()
        names = [type(capsule).__name__ for capsule in vector.to_dlpacks(None)], type(vector.dlpack_at(0)).__name__
        shapes = vector.to_dlpacks(lambda capsule: m.OrtValue.from_dlpack(capsule).shape())
        return len(vector), [v.numpy() for v in vector], vector[1].data_ptr() == X.ctypes.data, vector.element_type_at(2), names, shapes

    assert_same(program)


@pytest.mark.parametrize("index", [-1, "a"])
def test_positions_that_a_vector_does_not_take(index: Any) -> None:
    assert_same(lambda m: capi(m).OrtValueVector()[index])


@pytest.mark.parametrize("item", [X, 3], ids=str)
def test_what_a_vector_does_not_take(item: Any) -> None:
    assert_same(lambda m: capi(m).OrtValueVector().push_back(item))


def test_no_values_of_the_lower_layer_without_a_factory() -> None:
    with pytest.raises(TypeError, match="No constructor defined"):
        OrtValueHandle()
    for refused in (OrtValue, onnxgpu.OrtDevice, onnxgpu.SparseTensor):
        with pytest.raises(ValueError, match="needs to be of type"):
            refused(3)  # type: ignore[arg-type]


def test_the_layers_share_one_value() -> None:
    public = OrtValue.ortvalue_from_numpy(X.copy())
    lower = public._ortvalue
    lower.update_inplace(X + 5)
    np.testing.assert_array_equal(public.numpy(), X + 5)
    assert lower.device_name() == "Cpu"
    assert OrtValue(lower).data_ptr() == public.data_ptr()


@pytest.fixture
def there() -> OrtValue:
    return OrtValue.ortvalue_from_numpy(X, "loopback", 1)


def test_a_value_on_a_device(there: OrtValue) -> None:
    assert facts(there)[-2:] == ["loopback", (12, 1)]
    assert facts(there)[:4] == facts(OrtValue.ortvalue_from_numpy(X))[:4]
    np.testing.assert_array_equal(there.numpy(), X)
    with pytest.raises(TypeError, match="lies on the loopback device"):
        np.asarray(there.content)


def test_values_move_between_devices_and_the_host(there: OrtValue) -> None:
    before = there.data_ptr()
    there.update_inplace(X + 1)
    elsewhere = OrtValue.ortvalue_from_shape_and_type([3, 2], np.float32, "loopback", 0)
    home = OrtValue.ortvalue_from_shape_and_type([6], np.float32)
    copy_tensors([there, there], [elsewhere, home])
    np.testing.assert_array_equal(elsewhere.numpy(), (X + 1).reshape(3, 2))
    np.testing.assert_array_equal(home.numpy(), (X + 1).reshape(6))
    assert there.data_ptr() == before


@pytest.mark.parametrize("pair", [(1, 0), (0, 1)], ids=str)
def test_copies_need_as_many_destinations(pair: tuple[int, int]) -> None:
    assert_same(lambda m: m.copy_tensors([value(m)] * pair[0], [value(m)] * pair[1]))


def test_dlpack_of_a_device_is_not_host_memory(there: OrtValue) -> None:
    assert OrtValue.from_dlpack(there).data_ptr() == there.data_ptr()
    assert OrtValue.from_dlpack(there).device_name() == "loopback"
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(there)


def test_strings_stay_on_the_host() -> None:
    with pytest.raises(RuntimeError, match="strings cannot lie on loopback:0"):
        OrtValue.ortvalue_from_numpy(np.array(["a"]), "loopback", 0)


def test_memory_for_a_memory_info() -> None:
    info = onnxgpu.OrtMemoryInfo.create_v2(
        "there",
        onnxgpu.OrtMemoryInfoDeviceType.FPGA,
        0,
        1,
        onnxgpu.OrtDeviceMemoryType.DEFAULT,
        0,
        onnxgpu.OrtAllocatorType.ORT_DEVICE_ALLOCATOR,
    )
    assert OrtValue.ortvalue_from_shape_and_type([2], np.float32, memory_info=info).device_name() == "loopback"
    with pytest.warns(UserWarning, match="are ignored when memory_info is provided"):
        OrtValue.ortvalue_from_shape_and_type([2], np.float32, "cuda", memory_info=info)


VALUES = np.array([1, 2, 3], np.float32)
PLACES = np.array([0, 4, 8], np.int64)
ROWS = np.array([0, 1, 2, 3], np.int64)
COLUMNS = np.array([0, 1, 2], np.int64)
BLOCKS = np.arange(8, dtype=np.float32).reshape(2, 2, 2)


def coo(m: Any, shape: Any = (3, 3), values: Any = VALUES, places: Any = PLACES, device: str = "cpu") -> Any:
    return m.SparseTensor.sparse_coo_from_numpy(list(shape), values, places, m.OrtDevice.make(device, 0))


def csr(m: Any, shape: Any = (3, 3), values: Any = VALUES, columns: Any = COLUMNS, rows: Any = ROWS) -> Any:
    return m.SparseTensor.sparse_csr_from_numpy(list(shape), values, columns, rows, m.OrtDevice.make("cpu", 0))


def sparse_facts(s: Any) -> Any:
    values = s.values()
    return int(s.format()), s.dense_shape(), s.data_type(), s.device_name(), values, values.flags.writeable


@pytest.mark.parametrize("places", [PLACES, np.array([[0, 0], [1, 1], [2, 2]]), PLACES.astype(np.int32), [0, 4, 8], PLACES[:2]], ids=str)
def test_coo(places: Any) -> None:
    def program(m: Any) -> Any:
        made = coo(m, places=places)
        return sparse_facts(made), made.as_coo_view().indices(), np.shares_memory(made.values(), VALUES)

    assert_same(program)


@pytest.mark.parametrize("values", [VALUES.reshape(1, 3), np.arange(6, dtype=np.float32)[::2], [1.0, 2.0, 3.0], VALUES[:0]], ids=str)
def test_values_that_coo_refuses(values: Any) -> None:
    assert_same(lambda m: sparse_facts(coo(m, values=values)))


@pytest.mark.parametrize(
    ("shape", "columns", "rows"),
    [((3, 3), COLUMNS, ROWS), ((3, 3), COLUMNS[:2], ROWS), ((3, 3), COLUMNS, ROWS[:2]), ((3, 3, 3), COLUMNS, ROWS)],
    ids=str,
)
def test_csr(shape: Any, columns: Any, rows: Any) -> None:
    def program(m: Any) -> Any:
        made = csr(m, shape, VALUES, columns, rows)
        view = made.as_csrc_view()
        return sparse_facts(made), view.inner(), view.outer()

    assert_same(program)


@pytest.mark.parametrize("view", ["as_coo_view", "as_csrc_view", "as_blocksparse_view"])
def test_a_view_of_another_format(view: str) -> None:
    assert_same(lambda m: type(getattr(coo(m), view)()).__name__)
    assert_same(lambda m: type(getattr(csr(m), view)()).__name__)


def test_sparse_tensors_as_values() -> None:
    def program(m: Any) -> Any:
        made = m.OrtValue.ort_value_from_sparse_tensor(coo(m))
        flags = made.is_sparse_tensor(), made.is_tensor(), made.is_tensor_sequence(), made.has_value()
        inside = made.as_sparse_tensor()
        return flags, made.data_type(), made.shape(), made.element_type(), made.device_name(), sparse_facts(inside)

    assert_same(program)


@pytest.mark.parametrize("method", ["numpy", "data_ptr", "tensor_size_in_bytes", "__dlpack__", "__dlpack_device__"])
def test_what_a_sparse_value_does_not_have(method: str) -> None:
    assert_same(lambda m: getattr(m.OrtValue.ort_value_from_sparse_tensor(coo(m)), method)())


def test_a_dense_value_is_not_sparse() -> None:
    assert_same(lambda m: value(m).as_sparse_tensor())


def test_blocks() -> None:
    """onnxruntime's own classes cannot read such a tensor's indices back."""
    handle = onnxgpu.sparse.SparseTensorHandle
    made = handle.blocksparse_from_numpy([4, 4], BLOCKS, np.array([[0, 1], [1, 0]], np.int32), Device(0, 0, 0))
    assert made.get_blocksparse_data().indices().tolist() == [[0, 1], [1, 0]]
    assert made.format == onnxgpu.OrtSparseFormat.ORT_SPARSE_BLOCK_SPARSE
    expected = np.zeros((4, 4), np.float32)
    expected[0:2, 2:4], expected[2:4, 0:2] = BLOCKS
    np.testing.assert_array_equal(made.dense(), expected)


def test_the_dense_form_of_sparse_tensors() -> None:
    expected = np.diag(VALUES)
    for made in (coo(onnxgpu), coo(onnxgpu, places=np.array([[0, 0], [1, 1], [2, 2]])), csr(onnxgpu)):
        np.testing.assert_array_equal(made.dense(), expected)


def test_sparse_tensors_on_a_device() -> None:
    there = csr(onnxgpu).to_cuda(onnxgpu.OrtDevice.make("loopback", 0))
    assert there.device_name() == "loopback"
    with pytest.raises(RuntimeError, match="lies on loopback:0"):
        there.values()
    with pytest.raises(RuntimeError, match="lies on loopback:0 already"):
        there.to_cuda(onnxgpu.OrtDevice.make("loopback", 0))
    with pytest.raises(RuntimeError, match="Can't allocate memory on the device"):
        coo(onnxgpu).to_cuda(onnxgpu.OrtDevice.make("cuda", 0))


def test_element_types_are_onnx_s() -> None:
    assert OrtValue.ortvalue_from_numpy(X.astype(ml_dtypes.bfloat16)).element_type() == onnx.TensorProto.BFLOAT16
    assert described(OrtValue.ortvalue_from_shape_and_type([2], onnx.TensorProto.INT4).numpy())[1] == "int4"
