"""How our own convolutions are cut up among blocks, and whether windows of 3 × 3 are transformed for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Value
from onnxgpu.providers.cuda.divisions import divisions
from onnxgpu.providers.cuda.kernels import by_value

Sizes = tuple[int, ...]

WINOGRAD = "Winograd"
TILES = {
    "FlatTile": (8, 128, 128),
    "NarrowTile": (32, 128, 128),
    "MiddleTile": (64, 64, 128),
    "LargeTile": (128, 128, 256),
    "SmallFragments": (64, 64, 128),
    "LargeFragments": (128, 128, 512),
    WINOGRAD: (32, 32, 256),
    "NarrowWords": (32, 128, 128),
    "SmallWords": (64, 64, 128),
    "LargeWords": (128, 128, 256),
}
"""Tiles of convolution.cu, convolution_fragments.cu, winograd.cu and integer_convolution.cu: rows (maps), columns (positions, or 2 × 2 of
them) and threads."""

PLAIN_TILES = ("FlatTile", "NarrowTile", "MiddleTile", "LargeTile")
FRAGMENT_TILES = ("FlatTile", "SmallFragments", "LargeFragments")
WORD_TILES = ("NarrowWords", "SmallWords", "LargeWords")

MOST_AXES = 3
DEPTHWISE_KERNELS, DEPTHWISE_STRIDES = ("3", "5", "7"), ("1", "2")
"""Windows of `depthwise_strips`."""

WINOGRAD_PLACES, WINOGRAD_DEPTH = 16, 4
"""Elements of a patch, which are as many matrix products, and channels of a slice of winograd.cu."""

MOST_MASKED = 31
"""Taps along all axes together that the tiles of fragments and of words can have."""

_MOST_ELEMENTS = (1 << 31) - 1
_ENOUGH_BLOCKS = 264
_LEAST_SPAN, _SLICE = 128, 32
_LEAST_CHANNELS = 32
"""Of a part, for blocks of winograd.cu to multiply as much as others do."""

_BUSY_THREADS = _ENOUGH_BLOCKS * 128
_PRODUCTS_A_BYTE = 10
"""Of float32, that a GPU computes while its memory moves a byte; an H100's data sheet has 33.5 · 10^12 and 3.35 · 10^12 a second."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution of given shapes; per spatial axis the fields are those of `Axis` in convolution.cuh.

    Attributes:
        axes: (size of the input, size of the output, kernel, stride, dilation, padding before it), the innermost last.
        shape: of the result.
        channels, maps: of one group.
        transposed: whether it is a transposed one.
    """

    axes: tuple[Sizes, ...]
    shape: Sizes
    groups: int
    channels: int
    maps: int
    transposed: bool

    @property
    def positions(self) -> int:
        """Elements of one map of the result."""
        return prod(self.shape[2:])

    @property
    def taps(self) -> int:
        """Elements of one channel of a window."""
        return prod(axis[2] for axis in self.axes)

    @property
    def phases(self) -> int:
        """How many kinds of output positions a transposed convolution has, each with taps of its own."""
        return prod(axis[3] for axis in self.axes) if self.transposed else 1

    def structure(self, batch: int) -> np.void:
        """`Convolution` of convolution.cuh, for so many samples."""
        axes = [(1, 1, 1, 1, 1, 0)] * (MOST_AXES - len(self.axes)) + list(self.axes)
        numbers = [*(number for axis in axes for number in axis), batch, self.groups, self.channels, self.maps]
        taps = [prod(axis[2] for axis in axes[first:]) for first in (2, 1, 0)]
        return by_value(np.concatenate((np.array(numbers, np.int32).view(np.uint32), divisions(*taps).reshape(-1))))

    def strips(self, item_bytes: int) -> tuple[int, int, int, int] | None:
        """For `depthwise_strips`: size and stride of its windows, and strips above and beside each other; None for other windows."""
        axes = [(1, 1, 1, 1, 1, 0)] * (MOST_AXES - len(self.axes)) + list(self.axes)
        (kernel, stride, dilation), rest = axes[1][2:5], axes[0]
        if self.transposed or rest[:3] != (1, 1, 1) or axes[2][2:5] != (kernel, stride, dilation):
            return None
        if str(kernel) not in DEPTHWISE_KERNELS or str(stride) not in DEPTHWISE_STRIDES or dilation != 1:
            return None
        down, across = 8 if stride == 1 else 4, 2 if item_bytes == 2 else 1
        return kernel, stride, -(-axes[1][1] // down), -(-axes[2][1] // across)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a convolution is cut up: the tile's name, how many there are, and how the depth is shared among `parts` of `span`.

    The depth is channels · taps; that of winograd.cu is channels.
    """

    tile: str
    tiles: int
    span: int
    parts: int


def tiling(geometry: Geometry, batch: int, item_bytes: int) -> Tiling:
    """For so many samples. Windows are transformed where the estimate says that this takes less time."""
    product = _of_product(geometry, batch, item_bytes)
    if not _can_transform(geometry, item_bytes):
        return product
    transformed = _of_winograd(geometry, batch)
    return transformed if _is_faster(geometry, batch, transformed, product) else product


def _of_product(geometry: Geometry, batch: int, item_bytes: int) -> Tiling:
    taps = geometry.taps
    windows = batch * (prod(-(-axis[1] // axis[3]) for axis in geometry.axes) if geometry.transposed else geometry.positions)
    tasks = geometry.groups * geometry.phases
    counts = {name: -(-geometry.maps // rows) * -(-windows // columns) for name, (rows, columns, _) in TILES.items()}
    is_masked = sum(axis[2] for axis in geometry.axes) + MOST_AXES - len(geometry.axes) <= MOST_MASKED
    *smaller, largest = {
        1: WORD_TILES,
        2: FRAGMENT_TILES if is_masked else (*PLAIN_TILES[:-1], None),
        4: PLAIN_TILES,
        8: (*PLAIN_TILES[:-1], None),
    }[item_bytes]
    tile = next((name for name in smaller if geometry.maps <= TILES[name][0]), smaller[-1])
    if largest is not None and geometry.maps > TILES[tile][0] and counts[largest] * tasks >= _ENOUGH_BLOCKS:
        tile = largest
    depth = geometry.channels * -(-taps // geometry.phases)
    wanted = min(depth // _LEAST_SPAN, _ENOUGH_BLOCKS // (counts[tile] * tasks))
    whole = geometry.channels * taps
    span = whole if wanted < 2 else -(-depth // wanted // _SLICE) * _SLICE
    return Tiling(tile, counts[tile], span, 1 if wanted < 2 else -(-whole // span))


def _can_transform(geometry: Geometry, item_bytes: int) -> bool:
    """Whether winograd.cu has it. It multiplies float32; tensor cores multiply float16 many times as fast as it could save products."""
    windows = tuple(axis[2:5] for axis in geometry.axes)
    return item_bytes == 4 and not geometry.transposed and geometry.groups == 1 and windows == ((3, 1, 1),) * 2


def _of_winograd(geometry: Geometry, batch: int) -> Tiling:
    rows, columns, _ = TILES[WINOGRAD]
    tiles = -(-geometry.maps // rows) * -(-batch * prod(-(-axis[1] // 2) for axis in geometry.axes) // columns)
    wanted = min(geometry.channels // _LEAST_CHANNELS, _ENOUGH_BLOCKS // tiles)
    if wanted < 2:
        return Tiling(WINOGRAD, tiles, geometry.channels, 1)
    span = -(-geometry.channels // (wanted * WINOGRAD_DEPTH)) * WINOGRAD_DEPTH
    return Tiling(WINOGRAD, tiles, span, -(-geometry.channels // span))


def _is_faster(geometry: Geometry, batch: int, transformed: Tiling, product: Tiling) -> bool:
    return _estimate(geometry, batch, transformed) < _estimate(geometry, batch, product)


def _estimate(geometry: Geometry, batch: int, cut: Tiling) -> float:
    """The time that a convolution of float32 takes, in products: an estimate.

    Counted are the products of whole tiles, more slowly where they do not keep a large GPU's threads busy, and the traffic that differs:
    weights and sums of parts. An addition, a load and a store of a transform count as a product. A patch takes 64 of them for each 32
    maps, which multiply it 512 times, and the 16 sums of a tile take 56, whatever the depth is.
    """
    rows, columns, threads = TILES[cut.tile]
    is_transformed = cut.tile == WINOGRAD
    factors = WINOGRAD_PLACES if is_transformed else geometry.taps
    channels = -(-geometry.channels // WINOGRAD_DEPTH) * WINOGRAD_DEPTH
    each = channels * (factors + 64 / rows) + 56 * cut.parts if is_transformed else geometry.channels * factors
    results = batch * geometry.maps * geometry.positions
    moved = 4 * (geometry.maps * geometry.channels * factors + (2 * cut.parts * results if cut.parts > 1 else 0))
    busy = min(1.0, cut.tiles * cut.parts * threads / _BUSY_THREADS)
    return cut.tiles * rows * columns * each / busy + moved * _PRODUCTS_A_BYTE


def pieces(geometry: Geometry, x: Value) -> list[slice]:
    """The samples of `x` in ranges of which all elements have numbers of 31 bits.

    Raises:
        InvalidArgument: one sample has more elements.
    """
    most: int = max(prod(x.shape[1:]), prod(geometry.shape[1:]), 1)
    if most > _MOST_ELEMENTS:
        raise InvalidArgument(f"convolutions: expected samples of at most {_MOST_ELEMENTS} elements, got one of {most}")
    count, step = int(x.shape[0]), _MOST_ELEMENTS // most
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
