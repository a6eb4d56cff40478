"""Between which shapes a segment's inputs lie: profiles that were given, those that follow from them, and buckets where none were.

A dimension whose size is not known beforehand gets a bucket. By default buckets end at powers of two (0, 1, 2, 3–4, 5–8, 9–16, …), so
that an engine is never tuned for more than twice the size it runs, and any sizes up to 1024 need eleven engines at most, not a
thousand. Ends may be given for a dimension that has a name, as `batch:1,8,32; length:128,512`: few engines where few sizes matter. Above
the last end the buckets go on at powers of two, so every size is in exactly one. An engine is fastest at the largest sizes of its bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import ValueInfo
from onnxgpu.segment_provider import Shape

Symbolic = tuple[int | str | None, ...]

LARGEST = 2**31 - 1
"""The largest size of a dimension in TensorRT, and in most engines."""


@dataclass(frozen=True, slots=True)
class Range:
    """Of one input's shape, or of the values of one that is a shape.

    Attributes:
        least: the smallest size of each dimension.
        best: the sizes to be fastest at.
        most: the largest.
    """

    least: Shape
    best: Shape
    most: Shape

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.least))} to {'x'.join(map(str, self.most))}"

    def holds(self, sizes: Sequence[int]) -> bool:
        """True if these sizes are in it."""
        return len(sizes) == len(self.least) and all(a <= size <= b for a, size, b in zip(self.least, sizes, self.most, strict=True))


Profile = tuple[tuple[str, Range], ...]
"""Input → range, for those whose shapes, or values, differ from run to run."""


def fits(profile: Profile, sizes: Mapping[str, Sequence[int]]) -> bool:
    """True if every input's shape, or values, are within the profile."""
    return all(name not in sizes or bounds.holds(sizes[name]) for name, bounds in profile)


def closest(profiles: Iterable[Profile], sizes: Mapping[str, Sequence[int]]) -> Profile | None:
    """Of the profiles that `sizes` fit, the one with the least elements at its largest shapes; None: they fit none."""
    return min((profile for profile in profiles if fits(profile, sizes)), key=_elements, default=None)


def _elements(profile: Profile) -> int:
    return sum(prod(bounds.most) for _, bounds in profile)


def given_profiles(texts: Sequence[tuple[str, str]], inputs: Sequence[ValueInfo]) -> tuple[Profile, ...]:
    """The profiles of three options, in onnxruntime's form `input:1x3x224x224,other:1x10`; an input named again begins the next profile.

    Args:
        texts: name and value of the options for the smallest, the best and the largest shapes.
        inputs: of the model's graph.

    Raises:
        InvalidArgument: a text is not of that form, the three do not go together, or do not fit the inputs; names the option.
    """
    if not any(text for _, text in texts):
        return ()
    if missing := [option for option, text in texts if not text]:
        together = ", ".join(option for option, _ in texts)
        raise InvalidArgument(f"option '{missing[0]}' is missing: profiles are given by {together} together")
    known = {value.name: value for value in inputs}
    shapes = [_shapes(option, text, known) for option, text in texts]
    all_counts = [{name: len(found) for name, found in given.items()} for given in shapes]
    first, counted = texts[0][0], all_counts[0]
    for (option, _), counts in zip(texts, all_counts, strict=True):
        if counts != counted:
            raise InvalidArgument(f"option '{option}' has shapes of {_counts(counts)}, but '{first}' of {_counts(counted)}: name the same")
    if len(set(counted.values())) != 1:
        raise InvalidArgument(f"option '{first}' has shapes of {_counts(counted)}: every profile needs a shape of every input named")
    (count,) = set(counted.values())
    ranges = {name: [Range(*found) for found in zip(*(given[name] for given in shapes), strict=True)] for name in counted}
    for name, found in ranges.items():
        for bounds in found:
            _check_order(name, bounds, texts)
    return tuple(tuple((name, ranges[name][index]) for name in ranges) for index in range(count))


def _shapes(option: str, text: str, known: Mapping[str, ValueInfo]) -> dict[str, list[Shape]]:
    """Input → its shapes, one a profile."""
    found: dict[str, list[Shape]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, sizes = part.rpartition(":")
        if not colon or not name or not all(size.isdecimal() for size in sizes.split("x")):
            raise InvalidArgument(f"option '{option}': {part!r} is not of the form input:1x3x224x224, parts separated by commas")
        shape = tuple(int(size) for size in sizes.split("x"))
        if name not in known:
            raise InvalidArgument(f"option '{option}': {name!r} is no input of the model, which has {', '.join(known) or 'none'}")
        _check_shape(option, known[name], shape)
        found.setdefault(name, []).append(shape)
    return found


def _check_shape(option: str, value: ValueInfo, shape: Shape) -> None:
    """Raise unless the shape can be one of the input's; an input that is a shape itself may be given its values instead."""
    declared = value.shape
    if declared is None or (len(declared) == 1 and value.dtype is not None and value.dtype.kind in "iu"):
        return
    agrees = len(shape) == len(declared) and all(not isinstance(d, int) or d == size for d, size in zip(declared, shape, strict=True))
    if not agrees:
        raise InvalidArgument(
            f"option '{option}': input '{value.name}' is of shape [{', '.join(map(str, declared))}] in the model, "
            f"which {'x'.join(map(str, shape))} does not fit"
        )


def _check_order(name: str, bounds: Range, texts: Sequence[tuple[str, str]]) -> None:
    options = [option for option, _ in texts]
    ranks = {len(bounds.least), len(bounds.best), len(bounds.most)}
    in_order = len(ranks) == 1 and all(a <= b <= c for a, b, c in zip(bounds.least, bounds.best, bounds.most, strict=True))
    if not in_order:
        told = " ≤ ".join("x".join(map(str, shape)) for shape in (bounds.least, bounds.best, bounds.most))
        raise InvalidArgument(f"input '{name}': {told} does not hold for every dimension; see the options {', '.join(options)}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "no input"


def sizes_of_symbols(profile: Profile, inputs: Sequence[ValueInfo]) -> dict[str, tuple[int, int, int]]:
    """Named dimension → its smallest, best and largest size, as a profile of the model's inputs has them.

    Raises:
        InvalidArgument: two inputs give one dimension different sizes.
    """
    found: dict[str, tuple[int, int, int]] = {}
    declared = {value.name: value.shape or () for value in inputs}
    for name, bounds in profile:
        sizes = zip(bounds.least, bounds.best, bounds.most, strict=True)
        for symbol, (least, best, most) in zip(declared.get(name, ()), sizes, strict=False):
            if isinstance(symbol, str) and found.setdefault(symbol, (least, best, most)) != (least, best, most):
                raise InvalidArgument(
                    f"input '{name}' gives dimension '{symbol}' the sizes {least}, {best}, {most} in the profile, "
                    f"another input {', '.join(map(str, found[symbol]))}: one dimension has one size"
                )
    return found


def derived(
    profile: Profile, inputs: Sequence[ValueInfo], wanted: Sequence[ValueInfo], shapes: Sequence[Mapping[str, Shape]] = ()
) -> tuple[Profile, tuple[str, ...]]:
    """What a profile of the model's inputs means for values inside the model, and the names of those for which it does not tell.

    Args:
        profile: of the model's inputs.
        inputs: of the model's graph.
        wanted: a segment's inputs.
        shapes: value → its shape where all inputs have their smallest, best and largest shapes; what these tell of a dimension without a
            name is right where it grows or shrinks with the inputs'.
    """
    given, symbols = dict(profile), sizes_of_symbols(profile, inputs)
    found: list[tuple[str, Range]] = []
    unknown: list[str] = []
    for value in wanted:
        if value.name in given:
            found.append((value.name, given[value.name]))
        elif value.shape is None:
            unknown.append(value.name)
        elif any(not isinstance(size, int) for size in value.shape):
            ends = [_sizes(size, symbols, [known.get(value.name, ())[i : i + 1] for known in shapes]) for i, size in enumerate(value.shape)]
            known_ends = [end for end in ends if end is not None]
            if len(known_ends) == len(ends):
                least, best, most = (tuple(sizes) for sizes in zip(*known_ends, strict=True))
                found.append((value.name, Range(least, best, most)))
            else:
                unknown.append(value.name)
    return tuple(found), tuple(unknown)


def _sizes(
    size: int | str | None, symbols: Mapping[str, tuple[int, int, int]], inferred: Sequence[Sequence[int]]
) -> tuple[int, int, int] | None:
    """The smallest, best and largest size of one dimension, as far as is known."""
    if isinstance(size, int):
        return size, size, size
    if size is not None and size in symbols:
        return symbols[size]
    if len(inferred) == 3 and all(inferred):
        (first,), (best,), (last,) = inferred
        return min(first, best, last), best, max(first, best, last)
    return None


@dataclass(frozen=True, slots=True)
class Buckets:
    """Where the buckets of one dimension end: at these sizes, and from the last on at powers of two."""

    ends: tuple[int, ...] = ()

    def around(self, size: int) -> tuple[int, int]:
        """The smallest and the largest size in the bucket of `size`."""
        if size <= 0:
            return 0, 0
        last = self.ends[-1] if self.ends else 0
        if size <= last:
            index = bisect_left(self.ends, size)
            return (self.ends[index - 1] + 1 if index else 1), self.ends[index]
        most = 1 << (size - 1).bit_length()
        return max(most // 2, last) + 1 if most > 1 else 1, min(most, LARGEST)


POWERS_OF_TWO = Buckets()


def given_buckets(option: str, text: str) -> dict[str, Buckets]:
    """Named dimension → its buckets, from `batch:1,8,32; length:128,512`.

    Raises:
        InvalidArgument: the text is not of that form; names the option.
    """
    found: dict[str, Buckets] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, sizes = (piece.strip() for piece in part.rpartition(":"))
        ends = [size.strip() for size in sizes.split(",")]
        if not colon or not name or not all(end.isdecimal() and 0 < int(end) <= LARGEST for end in ends):
            raise InvalidArgument(
                f"option '{option}': {part!r} is not of the form batch:1,8,32 (a named dimension and sizes), parts apart by ;"
            )
        found[name] = Buckets(tuple(sorted({int(end) for end in ends})))
    return found


def bucket(values: Sequence[ValueInfo], sizes: Mapping[str, Shape], buckets: Mapping[str, Buckets] | None = None) -> Profile:
    """The profile of the bucket in which these shapes lie: the same for every shape in it.

    Args:
        values: a segment's inputs.
        sizes: their shapes in a run.
        buckets: of named dimensions; powers of two for all others.
    """
    found = []
    for value in values:
        shape = sizes[value.name]
        declared: Symbolic = value.shape if value.shape is not None else (None,) * len(shape)
        if all(isinstance(size, int) for size in declared):
            continue
        ends = [_ends(size, wanted, buckets or {}) for size, wanted in zip(shape, declared, strict=True)]
        most = tuple(end for _, end in ends)
        found.append((value.name, Range(tuple(start for start, _ in ends), most, most)))
    return tuple(found)


def _ends(size: int, declared: int | str | None, buckets: Mapping[str, Buckets]) -> tuple[int, int]:
    if isinstance(declared, int):
        return declared, declared
    return buckets.get(declared or "", POWERS_OF_TWO).around(size)
