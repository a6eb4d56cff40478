"""The pretend device: nothing but its own kernels can look into its arrays, and they compute what the host's do."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import HOST, Claim, Operation, Place, Refusal, Spec, ValueInfo
from onnxgpu.providers.array_ops import REGISTRY
from onnxgpu.providers.loopback.opaque import OpaqueArray, unwrap, wrap
from onnxgpu.providers.loopback.provider import LoopbackProvider
from tests.cases import Case, all_cases
from tests.cases.tolerances import assert_same
from tests.test_operator_cases import operation_of

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "look",
    [
        np.asarray,
        np.add.reduce,
        np.concatenate,
        lambda a: np.add(X, a),
        lambda a: X + a,
        lambda a: a + X,
        lambda a: -a,
        lambda a: X @ a,
        lambda a: np.less(X, a),
        lambda a: a == a,
        lambda a: a[0],
        operator.index,
        len,
        list,
        bool,
        float,
        int,
        memoryview,
        hash,
    ],
)
def test_opaque_arrays_refuse_to_be_read(look: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        look(LoopbackProvider().upload(X))


def test_what_is_known_of_an_opaque_array() -> None:
    array = LoopbackProvider().upload(X)
    assert (array.shape, array.dtype, array.ndim, array.size, array.flags.c_contiguous) == ((2, 3), np.dtype(np.float32), 2, 6, True)


def test_copies_are_copies() -> None:
    """Neither an upload nor a download shares memory with what it was made from."""
    provider = LoopbackProvider()
    host = X.copy()
    device = provider.upload(host)
    host[:] = 7
    down = provider.download(device)
    np.testing.assert_array_equal(down, X)
    down[:] = 8
    np.testing.assert_array_equal(provider.download(device), X)


def test_sharing_is_seen_through_views_and_not_between_devices_and_host() -> None:
    provider = LoopbackProvider()
    memory = provider.allocate(Spec((64,), np.dtype(np.uint8)))
    first, second, third = (provider.view(memory, offset, Spec((4,), np.dtype(np.float32))) for offset in (0, 8, 32))
    assert provider.shares_memory(first, second)
    assert not provider.shares_memory(first, third)
    assert not provider.shares_memory(X, first)
    assert not provider.shares_memory(X, X)


def relu() -> Any:
    claim = LoopbackProvider().claim(
        Operation("Relu", (ValueInfo("x", X.dtype, X.shape),), (ValueInfo("y", X.dtype, X.shape),), version=14)
    )
    assert isinstance(claim, Claim)
    return claim.build()


def test_a_host_array_on_the_device_raises() -> None:
    with pytest.raises(TypeError, match="a host array reached the loopback device; a transfer is missing"):
        relu().launch([X], None, None)
    with pytest.raises(TypeError, match="a host array reached"):
        relu().launch([wrap(X)], [np.empty_like(X)], None)


def test_a_device_array_on_the_host_raises() -> None:
    claim = REGISTRY.claim(np, Operation("Relu", (ValueInfo("x", X.dtype, X.shape),), (ValueInfo("y", X.dtype, X.shape),), version=14))
    assert isinstance(claim, Claim)
    with pytest.raises(TypeError, match="lies on the loopback device; a transfer to the host is missing"):
        claim.build().launch([wrap(X)], None, None)


def test_an_opaque_array_where_a_host_input_is_wanted_raises() -> None:
    shape = ValueInfo("s", np.dtype(np.int64), (1,))
    claim = LoopbackProvider().claim(
        Operation("Reshape", (ValueInfo("x", X.dtype, X.shape), shape), (ValueInfo("y", X.dtype),), version=14)
    )
    assert isinstance(claim, Claim)
    assert claim.host_inputs == {1}
    with pytest.raises((TypeError, AttributeError), match="a transfer to the host is missing"):
        claim.build().launch([wrap(X), wrap(np.array([6]))], None, None)


def test_places() -> None:
    assert LoopbackProvider().place == Place("loopback", 0) != HOST
    assert LoopbackProvider({"device_id": 1}).place == Place("loopback", 1)


def test_a_fraction_of_the_nodes() -> None:
    """The same part for the same seed, about as large as asked for, and a reason for the rest."""
    operations = [Operation("Relu", (ValueInfo("x", X.dtype),), (ValueInfo("y", X.dtype),), version=14, name=f"n{i}") for i in range(200)]

    def taken(seed: int) -> list[bool]:
        provider = LoopbackProvider({"fraction": 0.3, "seed": seed})
        answers = [provider.claim(operation) for operation in operations]
        assert all(isinstance(a, Claim) or a.reason == f"left to others by fraction=0.3 seed={seed}" for a in answers)
        return [isinstance(answer, Claim) for answer in answers]

    assert taken(1) == taken(1) != taken(2)
    assert 30 < sum(taken(1)) < 90


def uploaded(case: Case, claim: Claim) -> list[Any]:
    """The case's inputs where the claim wants them."""
    return [x if x is None or i in claim.host_inputs else wrap(x.copy()) for i, x in enumerate(case.inputs)]


def results(kernel: Any, inputs: list[Any], allocate: Callable[[Spec], Any]) -> list[Any]:
    with np.errstate(all="ignore"):
        specs = kernel.outputs(inputs)
        outputs = None if specs is None else [allocate(spec) for spec in specs]
        size = 0 if specs is None else kernel.workspace(inputs)
        return list(kernel.launch(inputs, outputs, allocate(Spec((size,), np.dtype(np.uint8))) if size else None))


def is_random(operation: Operation) -> bool:
    claim = REGISTRY.claim(np, operation)
    return isinstance(claim, Claim) and not claim.deterministic


CLAIMED = [
    case for case in all_cases() if not any(x is not None and x.dtype == object for x in case.inputs) and not is_random(operation_of(case))
]


@pytest.mark.parametrize("case", CLAIMED, ids=str)
def test_every_case_gives_what_the_host_gives(case: Case) -> None:
    """The kernels of `array_ops`, behind opaque arrays and on the arrays themselves."""
    operation = operation_of(case)
    claim = LoopbackProvider().claim(_typed(operation, case))
    if isinstance(claim, Refusal):
        pytest.skip(claim.reason)
    plain = REGISTRY.claim(np, _typed(operation, case))
    assert isinstance(plain, Claim)
    wanted = results(plain.build(), [None if x is None else x.copy() for x in case.inputs], lambda spec: np.empty(spec.shape, spec.dtype))
    found = results(claim.build(), uploaded(case, claim), LoopbackProvider().allocate)
    assert all(isinstance(value, (OpaqueArray, list, type(None))) for value in found)
    assert_same([unwrap(value) for value in found], [np.asarray(v) if isinstance(v, np.generic) else v for v in wanted])


def _typed(operation: Operation, case: Case) -> Operation:
    """The operation with an element type for its outputs, the inputs' for want of a better: the device refuses what it does not know."""
    dtype = next((x.dtype for x in case.inputs if x is not None), np.dtype(np.float32))
    return replace(operation, outputs=tuple(ValueInfo(o.name, dtype) if o else None for o in operation.outputs))
