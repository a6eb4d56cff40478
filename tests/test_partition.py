"""Which node goes where, and the reason that is told."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.partition import parse_hints
from onnxgpu.partition.minimum_cut import source_side
from tests.models import session

LOOPBACK = ["LoopbackExecutionProvider", "CPUExecutionProvider"]
BIG = "float[64,64,64]"


def providers(text: str, **config: str) -> dict[str, str]:
    return {a.operation.outputs[0].name: a.provider.name[:4] for a in session(text, LOOPBACK, **config).placement if a.operation.outputs[0]}


def test_the_list_is_an_instruction() -> None:
    """Every node that the first provider can run goes to it."""
    found = providers(f"g ({BIG} x) => ({BIG} z) {{ y = Relu(x)\n z = Sigmoid(y) }}")
    assert found == {"y": "Loop", "z": "Loop"}


def test_a_refusal_is_kept_with_its_reason() -> None:
    text = "g (string[2] x) => (string[2] y) { y = Identity(x) }"
    (assignment,) = session(text, LOOPBACK).placement
    assert assignment.provider.name == "CPUExecutionProvider"
    assert assignment.refusals == (("LoopbackExecutionProvider", "strings stay on the host"),)


def test_shape_arithmetic_stays_on_the_host() -> None:
    text = f"""g ({BIG} x, float[4096,64] w) => (float[M,64] z) {{
      s = Shape(x)
      k = Constant<value = int64[1] {{0}}>()
      n = Gather(s, k)
      m = Mul(n, n)
      l = Constant<value = int64[1] {{64}}>()
      t = Concat<axis=0>(m, l)
      y = Reshape(x, t)
      r = Sigmoid(y)
      z = Mul(r, w)
    }}"""
    found = providers(text)
    assert [found[name] for name in ("s", "n", "m", "t")] == ["CPUE"] * 4
    assert [found[name] for name in ("y", "r", "z")] == ["Loop"] * 3


def test_a_node_moves_to_the_host_where_that_saves_copies() -> None:
    """A small node between two that only the host can run is not worth two copies; a `listed` placement keeps it."""
    text = """g (float[2,2] x) => (float[2,2] z) {
      a = Relu(x)
      b = Neg(a)
      z = Relu(b)
    }"""
    pinned = "op:Relu=CPUExecutionProvider!"
    assert providers(text, placement=pinned) == {"a": "CPUE", "b": "CPUE", "z": "CPUE"}
    assert providers(text, placement=f"{pinned};mode=listed") == {"a": "CPUE", "b": "Loop", "z": "CPUE"}


def test_a_large_computation_stays_on_its_device() -> None:
    text = """g (float[512,512] x) => (float[512,512] z) {
      a = Relu(x)
      b = MatMul(a, a)
      c = MatMul(b, b)
      d = MatMul(c, c)
      z = Relu(d)
    }"""
    assert [providers(text, placement="op:Relu=CPUExecutionProvider!")[name] for name in "bcd"] == ["Loop"] * 3


def test_hints_name_one_of_several_devices() -> None:
    text = "g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }"
    two = [("LoopbackExecutionProvider", {"device_id": 1}), ("LoopbackExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"]

    def places(hint: str) -> list[str]:
        return [f"{a.provider.label} {a.provider.place}" for a in session(text, two, placement=f"{hint};mode=listed").placement]

    first, second = "LoopbackExecutionProvider loopback:1", "LoopbackExecutionProvider:0 loopback:0"
    assert places("") == [first, first]
    assert places("op:Neg=LoopbackExecutionProvider:0") == places("op:Neg=LoopbackExecutionProvider:0!") == [first, second]
    assert places("op:*=LoopbackExecutionProvider:0;") == [second, second]
    assert places("op:Relu=LoopbackExecutionProvider:0; op:Neg=LoopbackExecutionProvider") == [second, first]
    assert places("op:Relu=LoopbackExecutionProvider:0; op:Neg=LoopbackExecutionProvider:1!") == [second, first]
    with pytest.raises(InvalidArgument, match=r"LoopbackExecutionProvider:2 is not among .*'LoopbackExecutionProvider:0'"):
        places("op:Neg=LoopbackExecutionProvider:2!")


TWO = [("LoopbackExecutionProvider", {"device_id": index}) for index in (0, 1)]
SPLIT = "split=LoopbackExecutionProvider,LoopbackExecutionProvider:1;mode=listed"


def chain(sizes: list[int]) -> str:
    """Products with weights of these many rows, a Neg after each."""
    values = ", ".join(f"float[{size},64] w{i} = {{{', '.join(['1'] * size * 64)}}}" for i, size in enumerate(sizes))
    lines, last = [], "x"
    for index in range(len(sizes)):
        lines.append(f"[m{index}] a{index} = Gather <axis = 0> (w{index}, i) [n{index}] b{index} = Add (a{index}, {last})")
        last = f"b{index}"
    return f"g (int64[4] i, float[4,64] x) => (float[4,64] {last}) <{values}> {{ {' '.join(lines)} }}"


def parts(text: str, hint: str = SPLIT, providers: list[Any] | None = None) -> str:
    """The device of each node, in order; `h` for the host."""
    placement = session(text, [*(providers or TWO), "CPUExecutionProvider"], placement=hint).placement
    return "".join("h" if a.provider.place.kind == "host" else str(a.provider.place.index) for a in placement)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([4, 4, 4, 4], "00001111"), ([12, 4, 4, 4], "00111111"), ([2, 2, 12], "000011"), ([4, 4, 24, 4, 4], "0000111111")],
)
def test_a_split_by_the_bytes_of_weights(sizes: list[int], expected: str) -> None:
    assert parts(chain(sizes)) == expected


def test_a_split_among_three_and_what_no_hint_moves() -> None:
    three = [*TWO, ("LoopbackExecutionProvider", {"device_id": 2})]
    names = "LoopbackExecutionProvider,LoopbackExecutionProvider:2,LoopbackExecutionProvider:1"
    assert parts(chain([4] * 6), f"split={names};mode=listed", three) == "000022221111"
    assert parts(chain([4] * 4), f"name:m1=CPUExecutionProvider;name:n3=LoopbackExecutionProvider;{SPLIT}") == "00h01110"
    assert parts("g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }") == "00"


def test_a_split_with_weights_that_are_read_twice() -> None:
    """They count once."""
    values = ["{" + ", ".join(["1"] * count) + "}" for count in (64, 4096)]
    text = f"""g (float[64,64] x) => (float[64,64] z) <float[64] v = {values[0]}, float[64,64] w = {values[1]}> {{
        p = Mul (x, v) q = Mul (p, v) r = Mul (q, w) z = Add (r, w) }}"""
    assert parts(text) == "0011"


@pytest.mark.parametrize("hint", ["split=LoopbackExecutionProvider", "split=", "split=A,,B", "split=LoopbackExecutionProvider,"])
def test_splits_that_are_not_understood(hint: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not understood.* split=PROVIDER,PROVIDER"):
        parts(chain([4]), hint)
    with pytest.raises(InvalidArgument, match="split=NoSuchProvider names none of this session's providers"):
        parts(chain([4]), "split=LoopbackExecutionProvider,NoSuchProvider")


def test_hints_by_name_and_soft_hints() -> None:
    text = "g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }"
    assert providers(text, placement="op:Neg=CPUExecutionProvider;mode=listed") == {"y": "Loop", "z": "CPUE"}
    with pytest.raises(InvalidArgument, match="NoSuchProvider is not among"):
        session(text, LOOPBACK, placement="op:Neg=NoSuchProvider!")
    assert providers(text, placement="op:Neg=NoSuchProvider")["z"] == "Loop"


@pytest.mark.parametrize("text", ["op:Relu", "Relu=CPU", "mode=slow", "op:=CPU"])
def test_a_hint_that_is_not_understood_is_quoted(text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse_hints(text)


def test_a_node_that_nobody_runs_is_named_with_every_reason() -> None:
    header = '<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>\n'
    with pytest.raises(NotImplemented, match=r"Snpe.*LoopbackExecutionProvider.*CPUExecutionProvider.*ReferenceExecutionProvider"):
        session(header + "g (float[2] x) => (float[2] y) { y = com.microsoft.Snpe(x) }", LOOPBACK)


@pytest.mark.parametrize("seed", range(40))
def test_the_minimum_cut_costs_what_scipys_flow_carries(seed: int) -> None:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    generator = random.Random(seed)
    count = generator.choice([4, 9, 14, 60])
    edges = [(generator.randrange(count), generator.randrange(count), generator.randint(1, 50)) for _ in range(4 * count)]
    edges = [(u, v, c) for u, v, c in edges if u != v]
    side = source_side(count, edges)
    assert 0 in side and 1 not in side
    tails, heads, capacities = zip(*edges, strict=True)
    graph = csr_array((np.array(capacities, np.int32), (tails, heads)), shape=(count, count))
    graph.sum_duplicates()
    assert sum(c for u, v, c in edges if u in side and v not in side) == maximum_flow(graph, 0, 1).flow_value
    assert {v for u, v, c in edges if u in side} >= side - {0}


def test_a_cut_of_a_long_chain() -> None:
    """As long as the largest models: paths are followed without recursion, and the cut is the thinnest edge."""
    count = 20_000
    chain = [0, *range(2, count), 1]
    edges = [(u, v, 7 if i != 12_345 else 3) for i, (u, v) in enumerate(pairwise(chain))]
    assert source_side(count, edges) == set(chain[:12_346])
