"""What a run takes as inputs, side by side with onnxruntime, and what it says of those it refuses."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import InvalidArgument
from tests.models import model
from tests.side_by_side import assert_same, session

TENSORS = """g (float[N,3] x, string[K] s, float16[2] h, bool b) => (float[N,3] y, string[K] t, float16[2] k, bool c) {
  y = Neg(x)
  t = Identity(s)
  k = Neg(h)
  c = Not(b)
}"""
SEQUENCE = """g (seq(float[N]) s, float[2] x) => (seq(float[N]) t, float[2] e, int64 n) {
  t = SequenceInsert(s, x)
  i = Constant<value = int64 {0}>()
  e = SequenceAt(t, i)
  n = SequenceLength(t)
}"""
OPTIONAL = "g (optional(float[2]) p) => (bool b) { b = OptionalHasElement(p) }"
X = np.arange(6, dtype=np.float32).reshape(2, 3)
PAIR = np.array([1, 2], np.float32)


def good() -> dict[str, Any]:
    return {"x": X, "s": np.array(["a", "ü"]), "h": np.ones(2, np.float16), "b": np.array(True)}


def named(value: Any) -> str:
    """A test's name for a value: what it prints as, without the address of an object."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def run(text: str | onnx.ModelProto, feed: Any, names: Any = None) -> Any:
    made = model(text) if isinstance(text, str) else text
    return lambda module: session(module, made).run(names, feed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", [[1.0, 2.0, 3.0]]),
        ("x", [[1, 2, 3]]),
        ("x", [np.ones(3, np.float32)] * 2),
        ("x", np.ones((0, 3), np.float32)),
        ("x", np.asfortranarray(X)),
        ("x", np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]),
        ("x", np.broadcast_to(np.float32(2), (2, 3))),
        ("x", np.ma.masked_array(X)),
        ("s", ["a", "b"]),
        ("s", [1, 2]),
        ("s", []),
        ("s", np.array(["a", "b"], object)),
        ("s", np.array(["a", 1], object)),
        ("s", np.array(["a", None], object)),
        ("h", [1.0, 2.0]),
    ],
    ids=named,
)
def test_taken_as_onnxruntime_takes_it(name: str, value: Any) -> None:
    assert_same(run(TENSORS, good() | {name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", X.astype(np.float64)),
        ("x", X.astype(np.int64)),
        ("x", X.astype(object)),
        ("x", X[0]),
        ("x", X[None]),
        ("x", []),
        ("x", X[:, :2]),
        ("x", [[1.0, 2.0], [3.0]]),
        ("x", [["a", "b", "c"]]),
        ("x", 1.0),
        ("x", 3),
        ("x", "text"),
        ("x", {1}),
        ("x", range(3)),
        ("x", iter([1.0])),
        ("x", None),
        ("s", np.array([1, 2])),
        ("s", np.array([["a"]])),
        ("h", PAIR),
        ("h", np.ones(2, np.uint16)),
        ("h", np.ones(3, np.float16)),
        ("b", np.array(1)),
        ("b", True),
    ],
    ids=named,
)
def test_refused_as_onnxruntime_refuses_it(name: str, value: Any) -> None:
    assert_same(run(TENSORS, good() | {name: value}))


@pytest.mark.parametrize("feed", [{}, {"x": X}, good() | {"q": X}, good() | {"": X}, {b"x": X}, [X], None], ids=named)
def test_feeds_that_do_not_fit(feed: Any) -> None:
    assert_same(run(TENSORS, feed))


@pytest.mark.parametrize("value", [[PAIR, PAIR], [], [np.ones((2, 2), np.float32)], PAIR, [PAIR, 3], None], ids=named)
def test_sequences(value: Any) -> None:
    assert_same(run(SEQUENCE, {"s": value, "x": PAIR}))


@pytest.mark.parametrize("value", [PAIR, [1.0, 2.0], None, PAIR.astype(np.float64), PAIR[None]], ids=named)
def test_optionals(value: Any) -> None:
    assert_same(run(OPTIONAL, {"p": value}))


def test_an_optional_input_may_be_left_out() -> None:
    assert_same(run(OPTIONAL, {}))


def test_optional_outputs() -> None:
    assert_same(
        run(
            "g (float[2] x) => (optional(float[2]) p, optional(float[2]) q) { p = Optional(x)\n q = Optional<type = float[2]>() }",
            {"x": PAIR},
        )
    )


def test_none_for_an_input_that_nobody_reads() -> None:
    assert_same(run("g (float[2] x, float[2] unread) => (float[2] y) { y = Neg(x) }", {"x": PAIR, "unread": None}))


BFLOAT16 = "g (bfloat16[2] x) => (float[2] y) { y = Cast<to = 1>(x) }"


@pytest.mark.parametrize("value", [np.ones(2, ml_dtypes.bfloat16), [1.0, 1.0]], ids=named)
def test_bfloat16_is_taken_as_ml_dtypes_have_it(value: Any) -> None:
    """onnxruntime's Python API does not take it at all."""
    np.testing.assert_array_equal(session(onnxgpu, model(BFLOAT16)).run(None, {"x": value})[0], [1, 1])


def test_bits_of_bfloat16_are_no_bfloat16() -> None:
    assert_same(run(BFLOAT16, {"x": np.ones(2, np.uint16)}))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x", ((1.0, 2.0, 3.0),), np.array([[-1, -2, -3]])),
        ("s", np.array([b"a", "ü".encode()]), np.array(["a", "ü"], object)),
        ("s", np.array([b"a", "b"], object), np.array(["a", "b"], object)),
        ("b", np.bool_(True), np.array(False)),
        ("b", np.array([True]), np.array(False)),
        ("b", [[True]], np.array(False)),
    ],
    ids=named,
)
def test_taken_although_onnxruntime_does_not_or_gives_nonsense(name: str, value: Any, expected: np.ndarray) -> None:
    """Tuples; bytes as UTF-8; NumPy scalars; a scalar in brackets, which the model gets as the scalar it declares."""
    output = {"x": "y", "s": "t", "b": "c"}[name]
    (result,) = session(onnxgpu, model(TENSORS)).run([output], good() | {name: value})
    np.testing.assert_array_equal(result, expected)
    assert result.shape == expected.shape


class Foreign:
    """An array of another library, which may or may not come across."""

    def __init__(self, array: np.ndarray | None) -> None:
        self._array = array

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        if self._array is None:
            raise TypeError("it lies on another device")
        return self._array


class DlpackOnly:
    def __dlpack__(self, **options: Any) -> Any:
        return X.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("value", [Foreign(X), DlpackOnly()], ids=["__array__", "__dlpack__"])
def test_arrays_of_other_libraries(value: Any) -> None:
    np.testing.assert_array_equal(session(onnxgpu, model(TENSORS)).run(["y"], good() | {"x": value})[0], -X)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x", X.astype(">f4"), "input x has big-endian elements.*x.astype"),
        ("x", X.astype(np.complex64), r"Actual: \(tensor\(complex64\)\) , expected: \(tensor\(float\)\) for input x"),
        ("x", X.astype(np.float64), r"for input x; convert it with `.astype\('float32'\)`"),
        ("x", X.astype("M8[s]"), r"datetime64.*expected: \(tensor\(float\)\) for input x"),
        ("x", {"a": 1.0}, r"Actual: \(dict\) , expected: \(tensor\(float\)\).*give a NumPy array"),
        ("x", X[:, :2], r"index: 1 Got: 2 Expected: 3\n.*The array's shape is \[2, 2\], the model's \[N, 3\]"),
        ("x", X[0], r"Got: 1 Expected: 2 .*The array's shape is \[3\], the model's \[N, 3\]"),
        ("x", Foreign(None), "input x: tests.test_feeds.Foreign cannot be read as a NumPy array .it lies on another device.; convert it"),
        ("b", np.array([True, False]), "Invalid rank for input: b Got: 1 Expected: 0"),
        ("s", np.array([b"\xff", b"a"]), "input s: .*is not UTF-8; decode the bytes"),
    ],
)
def test_a_refusal_says_where_what_and_what_to_do(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"(?s){words}"):
        session(onnxgpu, model(TENSORS)).run(None, good() | {name: value})


def test_elements_of_sequences_are_checked() -> None:
    made = session(onnxgpu, model(SEQUENCE))
    with pytest.raises(InvalidArgument, match="for input s"):
        made.run(None, {"s": [PAIR.astype(np.float64)], "x": PAIR})
    with pytest.raises(InvalidArgument, match=r"input s wants a list .*got generator"):
        made.run(None, {"s": (x for x in [PAIR]), "x": PAIR})
    assert len(made.run(["t"], {"s": (PAIR, [3.0, 4.0]), "x": PAIR})[0]) == 3


def test_maps_are_checked() -> None:
    from onnxgpu.feeds import checked_feed
    from onnxgpu.metadata import NodeArg

    words = NodeArg("m", "map(string,tensor(float))", None)
    numbers = NodeArg("m", "map(int64,tensor(string))", None)
    assert checked_feed(words, {"a": 1.0, "b": np.float32(2)}) == {"a": 1.0, "b": 2.0}
    assert checked_feed(numbers, {3: "x", np.int64(4): "y"}) == {3: "x", 4: "y"}
    for argument, value in ((words, {1: 1.0}), (words, {"a": "b"}), (numbers, {"a": "b"}), (words, [1.0])):
        with pytest.raises(InvalidArgument, match=r"map\("):
            checked_feed(argument, value)


def test_both_modules_are_compared() -> None:
    """The comparison itself finds a difference."""

    def differs(module: ModuleType) -> str:
        return module.__name__

    with pytest.raises(AssertionError):
        assert_same(differs)
