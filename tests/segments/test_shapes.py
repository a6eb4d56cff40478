"""Profiles and buckets: texts, what follows from them for values inside a model, and that every shape is in one bucket."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import ValueInfo
from onnxgpu.providers.segments.shapes import (
    LARGEST,
    Buckets,
    Profile,
    Range,
    bucket,
    closest,
    derived,
    fits,
    given_buckets,
    given_profiles,
)

OPTIONS = ("min_shapes", "opt_shapes", "max_shapes")
F32 = np.dtype(np.float32)
IMAGE = ValueInfo("image", F32, ("n", 3, "h", "w"))
MASK = ValueInfo("mask:0", F32, ("n", 10))
SIZE = ValueInfo("size", np.dtype(np.int64), (2,))


def profiles(*texts: str, inputs: tuple[ValueInfo, ...] = (IMAGE, MASK, SIZE)) -> tuple[Profile, ...]:
    return given_profiles(list(zip(OPTIONS, texts, strict=True)), inputs)


def test_profiles_of_several_inputs() -> None:
    (found,) = profiles("image:1x3x8x8,mask:0:1x10", "image:2x3x16x16, mask:0:2x10", "image:4x3x32x32,mask:0:4x10,")
    assert found == (("image", Range((1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 32, 32))), ("mask:0", Range((1, 10), (2, 10), (4, 10))))
    assert fits(found, {"image": (3, 3, 8, 32), "mask:0": (3, 10)})
    assert not fits(found, {"image": (3, 3, 7, 32)})
    assert not fits(found, {"image": (3, 3, 8)})


def test_an_input_named_again_begins_the_next_profile() -> None:
    found = profiles("mask:0:1x10,mask:0:5x10", "mask:0:1x10,mask:0:8x10", "mask:0:4x10,mask:0:8x10")
    assert [bounds for ((_, bounds),) in found] == [Range((1, 10), (1, 10), (4, 10)), Range((5, 10), (8, 10), (8, 10))]
    assert closest(found, {"mask:0": (6, 10)}) == found[1]
    assert closest(found, {"mask:0": (9, 10)}) is None


def test_an_input_that_is_a_shape_may_have_its_values() -> None:
    ((_, bounds),) = profiles("size:1x1", "size:8x8", "size:64x64")[0]
    assert bounds == Range((1, 1), (8, 8), (64, 64))


def test_no_text_is_no_profile() -> None:
    assert profiles("", "", "") == ()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("mask:0:1x10", "", "mask:0:2x10"), r"option 'opt_shapes' is missing: profiles are given by min_shapes, opt_shapes, max_shapes"),
        (("mask:0:1x10", "mask:0:1x10", "mask:0:1by10"), r"option 'max_shapes': 'mask:0:1by10' is not of the form input:1x3x224x224"),
        (("1x10", "1x10", "1x10"), r"option 'min_shapes': '1x10' is not of the form"),
        (("maks:1x10",) * 3, r"option 'min_shapes': 'maks' is no input of the model, which has image, mask:0, size"),
        (("image:1x3x8",) * 3, r"input 'image' is of shape \[n, 3, h, w\] in the model, which 1x3x8 does not fit"),
        (("image:1x4x8x8",) * 3, r"which 1x4x8x8 does not fit"),
        (
            ("mask:0:1x10", "mask:0:1x10", "image:1x3x8x8"),
            r"option 'max_shapes' has shapes of image \(1\), but 'min_shapes' of mask:0 \(1\)",
        ),
        (("mask:0:1x10,mask:0:2x10", "mask:0:1x10", "mask:0:1x10"), r"shapes of mask:0 \(1\), but 'min_shapes' of mask:0 \(2\)"),
        (("mask:0:1x10,mask:0:1x10,image:1x3x8x8",) * 3, r"every profile needs a shape of every input named"),
        (("mask:0:2x10", "mask:0:1x10", "mask:0:4x10"), r"input 'mask:0': 2x10 ≤ 1x10 ≤ 4x10 does not hold for every dimension"),
        (("size:1", "size:2x2", "size:3x3"), r"1 ≤ 2x2 ≤ 3x3 does not hold"),
    ],
)
def test_a_text_that_is_wrong_is_told(texts: tuple[str, str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        profiles(*texts)


def test_a_profile_reaches_values_inside_by_names_of_dimensions() -> None:
    (found,) = profiles("image:1x3x8x8,mask:0:1x10", "image:2x3x16x16,mask:0:2x10", "image:4x3x32x32,mask:0:4x10")
    inside = [ValueInfo("a", F32, ("n", 64, "h")), ValueInfo("b", F32, (5, 5)), MASK, ValueInfo("c", F32, ("n", None)), ValueInfo("d", F32)]
    known, unknown = derived(found, (IMAGE, MASK), inside)
    assert known == (("a", Range((1, 64, 8), (2, 64, 16), (4, 64, 32))), ("mask:0", Range((1, 10), (2, 10), (4, 10))))
    assert unknown == ("c", "d")


def test_a_profile_reaches_dimensions_without_a_name_by_inference() -> None:
    (found,) = profiles("image:1x3x8x8", "image:2x3x16x16", "image:4x3x32x32")
    shapes = [{"c": (1, 4), "d": (8,)}, {"c": (2, 8), "d": (6,)}, {"c": (4, 16), "d": (2,)}]
    inside = [ValueInfo("c", F32, ("n", None)), ValueInfo("d", F32, (None,)), ValueInfo("e", F32, (None,))]
    known, unknown = derived(found, (IMAGE,), inside, shapes)
    assert known == (("c", Range((1, 4), (2, 8), (4, 16))), ("d", Range((2,), (6,), (8,))))
    assert unknown == ("e",)


def test_one_dimension_has_one_size() -> None:
    (found,) = profiles("image:1x3x8x8,mask:0:1x10", "image:2x3x8x8,mask:0:2x10", "image:4x3x8x8,mask:0:5x10")
    with pytest.raises(
        InvalidArgument, match=re.escape("input 'mask:0' gives dimension 'n' the sizes 1, 2, 5 in the profile, another input 1, 2, 4")
    ):
        derived(found, (IMAGE, MASK), [ValueInfo("a", F32, ("n",))])


ENDS = st.lists(st.integers(1, 1 << 12), max_size=5, unique=True).map(lambda ends: Buckets(tuple(sorted(ends))))


@given(ENDS, st.integers(0, 1 << 14))
def test_every_size_is_in_exactly_one_bucket(buckets: Buckets, size: int) -> None:
    least, most = buckets.around(size)
    assert least <= size <= most
    assert buckets.around(least) == buckets.around(most) == (least, most)
    assert buckets.around(most + 1)[0] == most + 1, "the next bucket begins where this one ends"


@given(st.integers(1, LARGEST))
def test_no_bucket_is_wider_than_twice_its_sizes(size: int) -> None:
    least, most = Buckets().around(size)
    assert least <= size <= most <= min(2 * size, LARGEST)


@given(ENDS, ENDS, st.integers(0, 1 << 13))
def test_more_ends_make_buckets_inside_the_buckets(first: Buckets, more: Buckets, size: int) -> None:
    finer = Buckets(tuple(sorted({*first.ends, *(end for end in more.ends if not first.ends or end < first.ends[-1])})))
    if first.ends:
        (least, most), (inner_least, inner_most) = first.around(size), finer.around(size)
        assert least <= inner_least <= inner_most <= most


DECLARED = st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["n", "length", None])), max_size=4).map(tuple)


@given(st.lists(DECLARED, min_size=1, max_size=3), ENDS, st.data())
def test_shapes_of_one_bucket_have_one_profile(declared: list[tuple[int | str | None, ...]], ends: Buckets, data: st.DataObject) -> None:
    values = [ValueInfo(f"x{index}", F32, shape) for index, shape in enumerate(declared)]
    sizes = {
        value.name: tuple(size if isinstance(size, int) else data.draw(st.integers(0, 5000)) for size in value.shape or ())
        for value in values
    }
    found = bucket(values, sizes, {"n": ends})
    assert fits(found, sizes)
    assert [name for name, _ in found] == [value.name for value in values if any(not isinstance(size, int) for size in value.shape or ())]
    for _, bounds in found:
        assert all(a <= b <= c for a, b, c in zip(bounds.least, bounds.best, bounds.most, strict=True))
    corners = {name: data.draw(st.sampled_from([bounds.least, bounds.best, bounds.most])) for name, bounds in found}
    assert bucket(values, sizes | corners, {"n": ends}) == found


def test_a_value_of_unknown_rank_has_a_bucket_too() -> None:
    assert bucket([ValueInfo("x", F32)], {"x": (3, 100)}) == (("x", Range((3, 65), (4, 128), (4, 128))),)


def test_buckets_of_named_dimensions() -> None:
    found = given_buckets("shape_buckets", "batch:1,8,32 ; length: 512, 128;")
    assert found == {"batch": Buckets((1, 8, 32)), "length": Buckets((128, 512))}
    assert [found["batch"].around(size) for size in (0, 1, 2, 8, 9, 33, 65)] == [
        (0, 0),
        (1, 1),
        (2, 8),
        (2, 8),
        (9, 32),
        (33, 64),
        (65, 128),
    ]
    assert [Buckets((48,)).around(size) for size in (48, 49, 64, 65)] == [(1, 48), (49, 64), (49, 64), (65, 128)]


@pytest.mark.parametrize("text", ["batch", "batch:", "batch:1,two", "batch:0", ":1,2", "batch:-1", f"batch:{LARGEST + 1}"])
def test_buckets_that_are_wrong_are_told(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"option 'shape_buckets': '.*' is not of the form batch:1,8,32"):
        given_buckets("shape_buckets", text)
