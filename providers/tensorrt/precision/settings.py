"""What is asked of a segment's precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.providers.tensorrt.precision.calibration import read_ranges
from onnxgpu.providers.tensorrt.precision.table import read_table

LONGEST_REDUCTION = 1024
"""A sum, mean or softmax over more elements stays in float32, and so does one whose length is not known.

Sums of 1024 numbers near 1 are whole float16 numbers of 11 bits; a longer sum loses its last terms where a kernel adds in
float16, and a softmax over more elements gives numbers near the least float16 knows exactly.
"""


@dataclass(frozen=True)
class PrecisionSettings:
    """Which small type a segment computes in, and what stays in float32. Can be pickled, and is equal where all is equal.

    Attributes:
        float16: compute in float16 where that is safe.
        bfloat16: the same in bfloat16. With both, nodes compute in float16, and products and convolutions with constants or operands that
            float16 may not hold in bfloat16.
        norms_in_float32: operators of normalization take and give float32 (those written out always compute in float32).
        float32_operators: operators that stay in float32.
        float32_nodes: node names, or names of outputs of nodes, that stay in float32 → why.
        reduced_operators: operators that need not stay in float32, whatever the rules say.
        longest_reduction: in elements; see `LONGEST_REDUCTION`.
        int8: products and convolutions compute in int8, as Q/DQ nodes or `ranges` say.
        ranges: value → the largest magnitude that it had in a calibration; None: there is no table.
    """

    float16: bool = False
    bfloat16: bool = False
    norms_in_float32: bool = True
    float32_operators: frozenset[str] = frozenset()
    float32_nodes: Mapping[str, str] = field(default_factory=dict)
    reduced_operators: frozenset[str] = frozenset()
    longest_reduction: int = LONGEST_REDUCTION
    int8: bool = False
    ranges: Mapping[str, float] | None = None

    def __hash__(self) -> int:
        return hash(self.facts())

    def facts(self) -> tuple[Any, ...]:
        """Everything that the result depends on, in an order that does not change, for a key of a cache."""
        names = (sorted(self.float32_operators), sorted(self.float32_nodes), sorted(self.reduced_operators))
        ranges = None if self.ranges is None else tuple(sorted(self.ranges.items()))
        return (self.float16, self.bfloat16, self.norms_in_float32, *map(tuple, names), self.longest_reduction, self.int8, ranges)

    @property
    def types(self) -> tuple[str, ...]:
        """The small types, in the order in which nodes get them."""
        return ("float16",) * self.float16 + ("bfloat16",) * self.bfloat16


def settings_of(options: Mapping[str, Any]) -> PrecisionSettings:
    """The settings that a provider's options mean; tables that they name are read.

    Args:
        options: `trt_fp16_enable`, `trt_bf16_enable`, `trt_int8_enable`, `trt_int8_calibration_table_name` (in the folder
            `trt_engine_cache_path`, as onnxruntime has it), `trt_int8_use_native_calibration_table`, `trt_layer_norm_fp32_fallback`,
            `trt_fp32_operators`, `trt_fp32_nodes`, `trt_reduced_operators` (names with commas between them) and
            `trt_precision_table` (a file of `onnxgpu.providers.tensorrt.precision.audit`) are read; others are not looked at.

    Raises:
        InvalidArgument: an operator is in two lists, or a table is none.
        NoSuchFile: a table is not there.
    """
    full, reduced = (names_in(options.get(name, "")) for name in ("trt_fp32_operators", "trt_reduced_operators"))
    if both := sorted(set(full) & set(reduced)):
        raise InvalidArgument(
            f"trt_fp32_operators and trt_reduced_operators both name {', '.join(both)}: name each operator in one of them"
        )
    nodes = _audited(options) | dict.fromkeys(names_in(options.get("trt_fp32_nodes", "")), "named in trt_fp32_nodes")
    is_int8 = bool(options.get("trt_int8_enable", False))
    return PrecisionSettings(
        float16=bool(options.get("trt_fp16_enable", False)),
        bfloat16=bool(options.get("trt_bf16_enable", False)),
        norms_in_float32=bool(options.get("trt_layer_norm_fp32_fallback", True)),
        float32_operators=frozenset(full),
        float32_nodes=nodes,
        reduced_operators=frozenset(reduced),
        int8=is_int8,
        ranges=_ranges(options) if is_int8 else None,
    )


def _audited(options: Mapping[str, Any]) -> dict[str, str]:
    path = options.get("trt_precision_table", "")
    return read_table(Path(path)) if path else {}


def _ranges(options: Mapping[str, Any]) -> Mapping[str, float] | None:
    name = options.get("trt_int8_calibration_table_name", "")
    if not name:
        return None
    path = Path(options.get("trt_engine_cache_path", "")) / name
    return read_ranges(path, native=bool(options.get("trt_int8_use_native_calibration_table", False)))


def names_in(text: str | Collection[str]) -> tuple[str, ...]:
    """The names in a list with commas between them."""
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(part.strip() for part in parts if part.strip())
