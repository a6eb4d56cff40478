"""int64 in OpenVINO, which holds it in int32: what is known to fit is claimed, and the rest is right all the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxgpu.session import InferenceSession
from tests.models import model

pytest.importorskip("openvino")

CPU = "CPUExecutionProvider"
NAME = "OpenVINOExecutionProvider"
X = np.array([[2**33, 2**33 + 1, 5], [2**32, -(2**40), 7]])


def session(text: str, *providers: str) -> InferenceSession:
    return InferenceSession(model(text).SerializeToString(), providers=list(providers))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[n,4] t, int64[b,s] i) => (float[b,s,4] y) { y = Gather(t, i) }",
        "g (float[b,s] x) => (float[b,s] y) { n = Shape(x)\n z = Reshape(x, n)\n y = Relu(z) }",
        """g (bool[b,s] m) => (int64[b,s] y) {
            one = Constant<value_int=1>()
            c = Cast<to=7>(m)
            p = CumSum(c, one)
            y = Sub(p, one)
        }""",
        """g (float[b,s] x) => (bool[s] y) {
            zero = Constant<value_int=0>()
            one = Constant<value_int=1>()
            n = Shape<start=1>(x)
            l = Squeeze(n)
            r = Range(zero, l, one)
            y = Less(r, l)
        }""",
        """g (float[b,s,h] x) => (float[rows] y) {
            zero = Constant<value_ints=[0]>()
            one = Constant<value_ints=[1]>()
            two = Constant<value_ints=[2]>()
            n = Shape(x)
            first = Gather(n, zero)
            second = Gather(n, one)
            third = Gather(n, two)
            rows = Mul(first, second)
            all = Mul(rows, third)
            flat = Reshape(x, all)
            y = Relu(flat)
        }""",
    ],
    ids=["indices", "shape", "positions of a mask", "range of a size", "product of sizes"],
)
def test_sizes_and_positions_stay(text: str) -> None:
    assert session(text, NAME, CPU).placement.providers() == (NAME,)


@pytest.mark.parametrize(
    ("line", "declared"),
    [
        ("y = Transpose<perm=[1,0]>(x)", "int64[3,2]"),
        ("y = Cast<to=9>(x)", "bool[2,3]"),
        ("y = ArgMax(x)", "int64[1,3]"),
        ("k = Constant<value_int=3>()\n y = Add(x, k)", "int64[2,3]"),
        ("k = Constant<value_int=3>()\n y = Max(x, k)", "int64[2,3]"),
    ],
    ids=["Transpose", "Cast", "ArgMax", "Add", "Max"],
)
def test_what_may_be_any_number_goes_to_the_next_provider(line: str, declared: str) -> None:
    text = f"g (int64[2,3] x) => ({declared} y) {{ {line} }}"
    made = session(text, NAME, CPU)
    np.testing.assert_array_equal(made.run(None, {"x": X})[0], session(text, CPU).run(None, {"x": X})[0])
    assert [reason for assignment in made.placement for _, reason in assignment.refusals] == [
        "OpenVINO holds int64 in int32, and it is not known that 'x' fits"
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "c = Cast<to=7>(x)\n y = Add(c, c)",
        "c = Cast<to=7>(x)\n y = Neg(c)",
        "b = Not(m)\n c = Cast<to=7>(b)\n d = Mul(c, k)\n y = Mul(d, k)",
    ],
    ids=["Add", "Neg", "Mul"],
)
def test_a_small_vector_is_no_shape_where_it_is_not_made_of_sizes(lines: str) -> None:
    text = f"g (int32[3] x, bool[3] m) => (int64[3] y) {{ k = Constant<value_int=10000000>()\n {lines} }}"
    feeds = {"x": np.array([-(2**31), 2**31 - 1, 7], np.int32), "m": np.array([True, False, True])}
    np.testing.assert_array_equal(session(text, NAME, CPU).run(None, feeds)[0], session(text, CPU).run(None, feeds)[0])


LINES = st.sampled_from(
    [
        "{y} = Add({x}, {k})",
        "{y} = Mul({x}, {k})",
        "{y} = Mul({x}, {x})",
        "{y} = Sub({k}, {x})",
        "{y} = Max({x}, {k})",
        "{y} = CumSum({x}, axis)",
        "{y} = Concat<axis=0>({x}, {x})",
        "{y} = ReduceSum<keepdims=1>({x})",
        "{y} = Transpose<perm=[1,0]>({x})",
        "{y}f = Cast<to=1>({x})\n {y} = Cast<to=7>({y}f)",
        "{y}b = Greater({x}, {k})\n {y} = Cast<to=7>({y}b)",
        "{y}s = Shape({x})\n {y} = Expand({x}, {y}s)",
    ]
)
NUMBERS = st.sampled_from([0, 1, -3, 1000, 2**31 - 1, 2**31, -(2**31), 2**33, 2**62])


@settings(max_examples=15, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=4), numbers=st.lists(NUMBERS, min_size=4, max_size=4), masked=st.booleans())
def test_chains_give_what_the_cpu_provider_gives(lines: list[str], numbers: list[int], masked: bool) -> None:
    body = ["axis = Constant<value_int=0>()", "m = Cast<to=9>(x)\n v0 = Cast<to=7>(m)" if masked else "v0 = Identity(x)"]
    for step, line in enumerate(lines):
        body.append(f"k{step} = Constant<value_int={numbers[step]}>()")
        body.append(line.format(x=f"v{step}", y=f"v{step + 1}", k=f"k{step}"))
    text = f"g (int64[2,3] x) => (int64[a,b] v{len(lines)}) {{ {chr(10).join(body)} }}"
    x = np.array([[2**33 + 5, 1, 0], [-7, 2**31 - 1, -(2**31)]])
    ours, expected = (session(text, *providers).run(None, {"x": x})[0] for providers in ((NAME, CPU), (CPU,)))
    np.testing.assert_array_equal(ours, expected)
