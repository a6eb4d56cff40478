"""Launches that are written down once and repeated: what stands for arrays meanwhile, and what a session makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu.errors import RuntimeException
from onnxgpu.provider import Operation
from onnxgpu.providers.cuda.addresses import Address, address_of, broadcast_to
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.launches import make, written_down
from onnxgpu.providers.cuda.narrow import typed
from tests.emulated.test_provider import CPU, model
from tests.emulated.test_runtime import DEEP, deep, session

VIEWS: dict[str, Callable[[Any], Any]] = {
    "row": lambda x: x[1],
    "column": lambda x: x[..., 2],
    "steps": lambda x: x[:, ::-2, None, 1:],
    "transpose": lambda x: x.transpose(2, 0, 1),
    "all axes": lambda x: x.T,
    "swap": lambda x: x.swapaxes(-1, -2)[1:],
    "reshape": lambda x: x.reshape(2, -1),
    "shape in a tuple": lambda x: x.reshape((6, 4))[3],
    "bytes": lambda x: x.view(np.uint8)[..., 3:],
    "same type": lambda x: x[1].astype(np.float32, copy=False),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.T.reshape(-1),
    "copying conversion": lambda x: x.astype(np.float32),
    "conversion": lambda x: x.astype(np.float64, copy=False),
    "indices": lambda x: x[[0, 1]],
    "mask": lambda x: x[True],
    "truth": lambda x: bool(x),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_views_lie_where_cupys_lie(cp: Any, view: Callable[[Any], Any]) -> None:
    array = cp.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found, expected = view(Address.of(array)), view(array)
    for name in ("shape", "strides", "dtype", "ndim", "size", "itemsize", "nbytes"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.data.ptr == expected.data.ptr
    assert found.flags.c_contiguous == expected.flags.c_contiguous


def test_broadcasting(cp: Any) -> None:
    array = cp.arange(3, dtype=np.float32)
    found, expected = broadcast_to(cp, Address.of(array), (2, 3)), broadcast_to(cp, array, (2, 3))
    assert (found.shape, found.strides, found.data.ptr) == (expected.shape, expected.strides, expected.data.ptr)


@pytest.mark.parametrize("copy", COPIES.values(), ids=list(COPIES))
def test_what_needs_elements_is_refused(cp: Any, copy: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        copy(Address.of(cp.zeros((2, 3, 4), np.float32)))


def test_cupy_refuses_addresses(cp: Any) -> None:
    """Whatever it would compute is not missing from what is written down: there is an error in its place."""
    array = cp.zeros((2, 3), np.float32)
    address: Any = Address.of(array)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: cp.add(array, address),
        lambda: cp.add(array, array, out=address),
        lambda: cp.copyto(address, array),
        lambda: cp.copyto(array, address),
        lambda: cp.matmul(array.T, array, out=address),
        lambda: cp.take(address, array.astype(int)),
        lambda: cp.ascontiguousarray(address),
        lambda: array.__setitem__(..., address),
        lambda: address.__setitem__(..., array),
        lambda: address.fill(0),
        lambda: cp.asnumpy(address),
        lambda: array + address,
        lambda: address + array,
    )
    for call in calls:
        with pytest.raises((TypeError, ValueError, AttributeError)):
            call()


def test_what_stands_for_arguments(cp: Any) -> None:
    host, narrow = np.zeros(3), typed(cp.zeros(3, np.uint8), np.dtype(ml_dtypes.int4))
    assert address_of(None) is None and address_of(host) is host
    stands = address_of(narrow)
    assert stands.dtype == narrow.dtype and stands.bits.data.ptr == narrow.bits.data.ptr
    with pytest.raises(TypeError):
        address_of([host])


def test_launches_are_written_down_in_order() -> None:
    found: list[int] = []

    def work() -> None:
        make(found.append, 1)
        make(found.append, 2, held="kept")

    launches, held = written_down(work)
    assert not found and held == (None, "kept")
    for launch in (*launches, *launches):
        launch()
    assert found == [1, 2, 1, 2]
    assert make(found.append, 3) and found[-1] == 3


class Stub:
    """A kernel that does as it is told."""

    def __init__(self, launch: Callable[..., Any]) -> None:
        self.launch = launch

    def outputs(self, inputs: Any) -> None:
        """Not known."""


def of(launch: Callable[..., Any], cp: Any) -> CupyKernel:
    return CupyKernel(Stub(launch), cp, cp.cuda.Device(), Operation("Stub", (), (), name="here"), frozenset())  # type: ignore[arg-type]


def test_a_kernel_that_allocates_or_computes_with_cupy_is_launched_every_time(cp: Any) -> None:
    x = cp.zeros((2, 3), np.float32)
    assert of(lambda inputs, outputs, workspace: cp.empty(4), cp).repeating([x], [x], None) is None
    assert of(lambda inputs, outputs, workspace: cp.exp(inputs[0], out=outputs[0]), cp).repeating([x], [x], None) is None


def test_an_error_of_a_repeated_launch_names_the_node(cp: Any) -> None:
    def fail() -> None:
        raise RuntimeError("the driver is out of order")

    repeat = of(lambda *_: make(fail), cp).repeating([], [], None)
    assert repeat is not None
    with pytest.raises(RuntimeException, match=r"Stub.*the driver is out of order"):
        repeat()


def test_from_the_third_run_on_nothing_is_decided(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Softmax of the model has launches of its own; LpNormalization, which is CuPy's, is launched as before."""
    ours, reference = session(DEEP, {"enable_cuda_graph": 0}), ort.InferenceSession(model(DEEP), providers=[CPU])
    launched: list[str] = []
    launch = CupyKernel.launch

    def noted(self: CupyKernel, *arguments: Any) -> Any:
        launched.append(self._label)
        return launch(self, *arguments)

    monkeypatch.setattr(CupyKernel, "launch", noted)
    for seed in range(5):
        launched.clear()
        device.counters(clear=True)
        found = ours.run(None, deep(seed))
        for ours_each, expected in zip(found, reference.run(None, deep(seed)), strict=True):
            np.testing.assert_allclose(ours_each, expected, rtol=1e-5, atol=1e-6)
        softmaxes = [label for label in launched if "Softmax" in label]
        assert bool(softmaxes) == (seed < 2)
