"""Sparse tensors: the elements that are not zero, and where they lie, in three formats.

The two classes differ in how a program makes them and asks for the format: `SparseTensor` as onnxruntime's Python layer,
`SparseTensorHandle` as its `capi` layer does it. Source: onnxruntime's `sparse_tensor.h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from onnxgpu.devices import HOST_MEMORY, Device, OrtDevice, memory_of, name_of_memory
from onnxgpu.dtypes import name_of
from onnxgpu.errors import NotImplemented
from onnxgpu.options.enums import NamedInteger
from onnxgpu.provider import HOST, Array, Provider


class OrtSparseFormat(NamedInteger):
    """How the places of the elements are stored."""

    ORT_SPARSE_UNDEFINED = 0
    ORT_SPARSE_COO = 1
    ORT_SPARSE_CSRC = 2
    ORT_SPARSE_BLOCK_SPARSE = 4


_FORMAT_NAMES = {
    OrtSparseFormat.ORT_SPARSE_COO: "COO",
    OrtSparseFormat.ORT_SPARSE_CSRC: "CSR(C)",
    OrtSparseFormat.ORT_SPARSE_BLOCK_SPARSE: "BlockSparse",
}


class SparseCooView:
    """The indices of a tensor in COO format."""

    def __init__(self, indices: np.ndarray) -> None:
        self._indices = indices

    def indices(self) -> np.ndarray:
        """int64, [elements]: positions in the flattened tensor; or [elements, rank]: coordinates. Read-only."""
        return self._indices


class SparseCsrView:
    """The indices of a matrix in CSR format."""

    def __init__(self, inner: np.ndarray, outer: np.ndarray) -> None:
        self._inner, self._outer = inner, outer

    def inner(self) -> np.ndarray:
        """int64, [elements]: the column of each. Read-only."""
        return self._inner

    def outer(self) -> np.ndarray:
        """int64, [rows + 1]: where each row begins among the elements. Read-only."""
        return self._outer


class SparseBlockSparseView:
    """The indices of a matrix in blocks."""

    def __init__(self, indices: np.ndarray) -> None:
        self._indices = indices

    def indices(self) -> np.ndarray:
        """int32, [2, blocks]: row and column of each block, counted in blocks. Read-only."""
        return self._indices


class Sparse:
    """What both classes share: elements, indices and where they lie."""

    __slots__ = ("_dense_shape", "_format", "_indices", "_memory", "_values")

    _dense_shape: tuple[int, ...]
    _format: OrtSparseFormat
    _values: Array
    _indices: tuple[Array, ...]
    _memory: Provider

    @classmethod
    def _of(
        cls, kind: OrtSparseFormat, shape: Sequence[int], values: Array, indices: tuple[Array, ...], memory: Provider = HOST_MEMORY
    ) -> Self:
        made = cls.__new__(cls)
        made._format, made._dense_shape, made._values = kind, tuple(int(size) for size in shape), values
        made._indices, made._memory = indices, memory
        return made

    @classmethod
    def _sharing(cls, other: Sparse) -> Self:
        return cls._of(other._format, other._dense_shape, other._values, other._indices, other._memory)

    def values(self) -> np.ndarray:
        """The elements, as an array over the tensor's own memory that cannot be written into.

        Raises:
            RuntimeError: they lie on a device.
        """
        return self._on_host(self._values)

    def dense_shape(self) -> list[int]:
        """The shape of the tensor with its zeros."""
        return list(self._dense_shape)

    def data_type(self) -> str:
        """`sparse_tensor(float)`, …"""
        return f"sparse_tensor({name_of(self._values.dtype)})"

    def dense(self) -> np.ndarray:
        """The tensor with its zeros, as a new array."""
        values, indices = self.values(), tuple(self._on_host(index) for index in self._indices)
        dense: np.ndarray = np.zeros(self._dense_shape, values.dtype) if values.dtype != object else np.full(self._dense_shape, "", object)
        if self._format == OrtSparseFormat.ORT_SPARSE_COO:
            places = indices[0] if indices[0].ndim == 1 else np.ravel_multi_index(tuple(indices[0].T), self._dense_shape)
            dense.reshape(-1)[places] = values
        elif self._format == OrtSparseFormat.ORT_SPARSE_CSRC:
            inner, outer = indices
            dense[np.repeat(np.arange(len(outer) - 1), np.diff(outer)), inner] = values
        else:
            height, width = values.shape[1:3]
            for block, row, column in zip(values, *indices[0], strict=True):
                dense[row * height : (row + 1) * height, column * width : (column + 1) * width] = block
        return dense

    def _on_host(self, array: Array) -> np.ndarray:
        if self._memory.place != HOST:
            raise RuntimeError(f"this sparse tensor lies on {self._memory.place}; its elements can be read on the host only")
        view: np.ndarray = array.view()
        view.flags.writeable = False
        return view

    def _wanted(self, kind: OrtSparseFormat) -> list[np.ndarray]:
        if self._format != kind:
            raise RuntimeError(f"This sparse tensor does not contain {_FORMAT_NAMES[kind]} format; it is {_FORMAT_NAMES[self._format]}")
        return [self._on_host(index) for index in self._indices]

    def _coo_view(self) -> SparseCooView:
        return SparseCooView(*self._wanted(OrtSparseFormat.ORT_SPARSE_COO))

    def _csr_view(self) -> SparseCsrView:
        return SparseCsrView(*self._wanted(OrtSparseFormat.ORT_SPARSE_CSRC))

    def _block_view(self) -> SparseBlockSparseView:
        return SparseBlockSparseView(*self._wanted(OrtSparseFormat.ORT_SPARSE_BLOCK_SPARSE))

    def _at(self, device: Device) -> Sparse:
        memory = memory_of(device)
        if self._values.dtype == object:
            raise RuntimeError("a sparse tensor of strings cannot be copied to a device: strings stay on the host")
        if self._memory.place != HOST:
            raise RuntimeError(f"this sparse tensor lies on {self._memory.place} already; only one on the host can be copied to a device")
        values, *indices = (memory.upload(array) for array in (self._values, *self._indices))
        return Sparse._of(self._format, self._dense_shape, values, tuple(indices), memory)


class SparseTensorHandle(Sparse):
    """A sparse tensor as onnxruntime's `capi` layer has it; there it is called `SparseTensor`."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("onnxgpu.capi.onnxruntime_pybind11_state.SparseTensor: No constructor defined!")

    @staticmethod
    def sparse_coo_from_numpy(arg0: Sequence[int], arg1: np.ndarray, arg2: Any, arg3: Device) -> SparseTensorHandle:
        """See `SparseTensor.sparse_coo_from_numpy`."""
        return SparseTensorHandle._sharing(_coo(arg0, arg1, arg2, arg3))

    @staticmethod
    def sparse_csr_from_numpy(arg0: Sequence[int], arg1: np.ndarray, arg2: Any, arg3: Any, arg4: Device) -> SparseTensorHandle:
        """See `SparseTensor.sparse_csr_from_numpy`."""
        return SparseTensorHandle._sharing(_csr(arg0, arg1, arg2, arg3, arg4))

    @staticmethod
    def blocksparse_from_numpy(arg0: Sequence[int], arg1: np.ndarray, arg2: Any, arg3: Device) -> SparseTensorHandle:
        """A matrix of which whole blocks are zero.

        Args:
            arg0: the shape with its zeros.
            arg1: [blocks, rows of a block, columns of a block].
            arg2: int32, [2, blocks]: row and column of each block, counted in blocks.
            arg3: the host.
        """
        return SparseTensorHandle._sharing(_blocks(arg0, arg1, arg2, arg3))

    @property
    def format(self) -> OrtSparseFormat:
        """How the places of the elements are stored."""
        return self._format

    def device_name(self) -> str:
        """`Cpu`, `Cuda`, …"""
        return name_of_memory(self._memory)

    def get_coo_data(self) -> SparseCooView:
        """The indices, if the format is COO."""
        return self._coo_view()

    def get_csrc_data(self) -> SparseCsrView:
        """The indices, if the format is CSR."""
        return self._csr_view()

    def get_blocksparse_data(self) -> SparseBlockSparseView:
        """The indices, if the format is that of blocks."""
        return self._block_view()

    def to_cuda(self, arg0: Device) -> SparseTensorHandle:
        """A copy on a device."""
        return SparseTensorHandle._sharing(self._at(arg0))


class SparseTensor(Sparse):
    """A tensor of which only the elements that are not zero are stored.

    Args:
        sparse_tensor: one to share memory with; the factories make one from arrays.
    """

    __slots__ = ()

    def __init__(self, sparse_tensor: Sparse) -> None:
        if not isinstance(sparse_tensor, Sparse):
            raise ValueError("`Provided object` needs to be of type `onnxgpu.capi.onnxruntime_pybind11_state.SparseTensor`")
        self._format, self._dense_shape, self._values = sparse_tensor._format, sparse_tensor._dense_shape, sparse_tensor._values
        self._indices, self._memory = sparse_tensor._indices, sparse_tensor._memory

    @property
    def _tensor(self) -> SparseTensorHandle:
        return SparseTensorHandle._sharing(self)

    def _get_c_tensor(self) -> SparseTensorHandle:
        return self._tensor

    @classmethod
    def sparse_coo_from_numpy(
        cls, dense_shape: Sequence[int] | np.ndarray, values: np.ndarray, coo_indices: np.ndarray, ort_device: OrtDevice
    ) -> SparseTensor:
        """A tensor in COO format, over the memory of the arrays.

        Args:
            dense_shape: the shape with its zeros.
            values: [elements], dense in memory.
            coo_indices: int64, [elements]: positions in the flattened tensor; or [elements, 2]: coordinates.
            ort_device: the host.

        Raises:
            RuntimeError: the arrays do not fit each other, or the device is not the host.
        """
        return cls(_coo(dense_shape, values, coo_indices, ort_device._get_c_device()))

    @classmethod
    def sparse_csr_from_numpy(
        cls,
        dense_shape: Sequence[int] | np.ndarray,
        values: np.ndarray,
        inner_indices: np.ndarray,
        outer_indices: np.ndarray,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """A matrix in CSR format, over the memory of the arrays.

        Args:
            dense_shape: rows and columns.
            values: [elements], dense in memory.
            inner_indices: int64, [elements]: the column of each.
            outer_indices: int64, [rows + 1]: where each row begins among the elements.
            ort_device: the host.

        Raises:
            RuntimeError: the arrays do not fit each other, or the device is not the host.
        """
        return cls(_csr(dense_shape, values, inner_indices, outer_indices, ort_device._get_c_device()))

    def as_coo_view(self) -> SparseCooView:
        """The indices, if the format is COO."""
        return self._coo_view()

    def as_csrc_view(self) -> SparseCsrView:
        """The indices, if the format is CSR."""
        return self._csr_view()

    def as_blocksparse_view(self) -> SparseBlockSparseView:
        """The indices, if the format is that of blocks."""
        return self._block_view()

    def to_cuda(self, ort_device: OrtDevice) -> SparseTensor:
        """A copy on a device (any that a provider has, whatever the name says).

        Raises:
            RuntimeError: the device is not available here, or this tensor holds strings or is on a device already.
        """
        return SparseTensor(self._at(ort_device._get_c_device()))

    def format(self) -> OrtSparseFormat:
        """How the places of the elements are stored."""
        return self._format

    def device_name(self) -> str:
        """`cpu`, `cuda`, …"""
        return name_of_memory(self._memory).lower()


def _coo(shape: Any, values: np.ndarray, indices: Any, device: Device) -> Sparse:
    caller = "sparse_coo_from_numpy()"
    values = _checked_values(values, device, caller)
    if values.ndim != 1:
        raise RuntimeError(f"Expecting values 1-D numpy values array for COO format. Got dims: {values.ndim}")
    places = _checked_indices(indices, np.int64, caller)
    if places.size not in (values.size, 2 * values.size):
        raise RuntimeError(f"Index size: {places.size} must be equal to or twice the values size: {values.size}")
    if places.size == 2 * values.size and values.size:
        places = places.reshape(-1, 2)
    return Sparse._of(OrtSparseFormat.ORT_SPARSE_COO, shape, values, (places,))


def _csr(shape: Any, values: np.ndarray, inner: Any, outer: Any, device: Device) -> Sparse:
    caller = "sparse_csr_from_numpy()"
    values = _checked_values(values, device, caller)
    columns, rows = _checked_indices(inner, np.int64, caller), _checked_indices(outer, np.int64, caller)
    if len(shape) != 2:
        raise RuntimeError(f"dense shape must 2-D. Got: {len(shape)}")
    if columns.size != values.size:
        raise RuntimeError(f"Expecting inner index size: {columns.size} the same as values size: {values.size}")
    if rows.size not in (0, shape[0] + 1):
        raise RuntimeError(f"Outer index count must be rows + 1 or zero. Got: {rows.size} rows: {shape[0]}")
    return Sparse._of(OrtSparseFormat.ORT_SPARSE_CSRC, shape, values, (columns, rows))


def _blocks(shape: Any, values: np.ndarray, indices: Any, device: Device) -> Sparse:
    caller = "blocksparse_from_numpy()"
    values = _checked_values(values, device, caller)
    places = _checked_indices(indices, np.int32, caller)
    if values.ndim < 3:
        raise RuntimeError(f"Expecting to have at lest 3-D shape. Got:{values.ndim} (blocks, rows of a block, columns of a block)")
    if places.ndim != 2 or places.shape[0] != 2:
        raise RuntimeError(f"Indices shape must have dim[0] == 2. Got shape {list(places.shape)}")
    if places.shape[1] != values.shape[0]:
        raise RuntimeError(f"there are {values.shape[0]} blocks and {places.shape[1]} places for them")
    return Sparse._of(OrtSparseFormat.ORT_SPARSE_BLOCK_SPARSE, shape, values, (places,))


def _checked_values(values: Any, device: Device, caller: str) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{caller}: incompatible function arguments. Values are a NumPy array, got {type(values).__name__}")
    if memory_of(device).place != HOST:
        raise RuntimeError("Unsupported OrtDevice type: NumPy arrays lie on the host; make the tensor there, then copy it with to_cuda")
    if not values.flags.c_contiguous:
        raise RuntimeError("Require contiguous numpy array of values")
    if values.dtype.kind in "UT":
        return values.astype(object)
    try:
        name_of(values.dtype)
    except NotImplemented as error:
        raise RuntimeError(f"Unsupported values data type: {error.message}") from None
    return values


def _checked_indices(indices: Any, dtype: Any, caller: str) -> np.ndarray:
    array: np.ndarray = np.ascontiguousarray(indices)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{caller}: incompatible function arguments. Indices are integers, got {array.dtype}")
    return array.astype(dtype, copy=False)
