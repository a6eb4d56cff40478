"""Attention of cuDNN's graphs on the emulated device; what cuDNN would refuse, or is not known to take, is refused."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

_PARAMETERS = {"attn_scale", "generate_stats", "diagonal_alignment", "diagonal_band_right_bound"}
_UNIT = 8
"""Features, and elements between neighbours of an axis."""

Shaped = Any
"""A tensor with `shape`, `strides` and `dtype`."""


def attention_fits(node: Mapping[str, Any], tensors: Mapping[str, Shaped]) -> bool:
    """Whether a node of type SDPA is one that `attend` computes."""
    names, params = node["inputs"], node["params"]
    if set(names) - {"bias"} != {"q", "k", "v"} or set(node["outputs"]) != {"O"} or not set(params) <= _PARAMETERS:
        return False
    q, k, v, y = (tensors[name] for name in (names["q"], names["k"], names["v"], node["outputs"]["O"]))
    if any(len(each.shape) != 4 or not _lies_well(each) or each.dtype != q.dtype or not each.dtype for each in (q, k, v, y)):
        return False
    batch, heads, queries, size = q.shape
    keys, from_last = k.shape[2], params.get("diagonal_alignment") == "diagonal_alignment.BOTTOM_RIGHT"
    if heads % k.shape[1] or k.shape != (batch, k.shape[1], keys, size) or v.shape[:3] != k.shape[:3]:
        return False
    if y.shape != (*q.shape[:3], v.shape[3]) or params.get("generate_stats") is not False:
        return False
    if params.get("diagonal_band_right_bound", 0) != 0 or (from_last and (queries > keys or "bias" in names)):
        return False
    return "bias" not in names or _bias_fits(tensors[names["bias"]], q, keys)


def attend(library: Any, stream: int, node: Mapping[str, Any], operands: Sequence[ctypes.Structure]) -> int:
    """Launch; the error's number, 0 for none."""
    params, by_name = node["params"], dict(zip((*node["inputs"], *node["outputs"]), operands, strict=True))
    q, k, v, y = (ctypes.byref(by_name[name]) for name in ("q", "k", "v", "O"))
    bias = ctypes.byref(by_name["bias"]) if "bias" in by_name else None
    is_causal = "diagonal_band_right_bound" in params
    from_last = is_causal and params.get("diagonal_alignment") == "diagonal_alignment.BOTTOM_RIGHT"
    scale = ctypes.c_double(params["attn_scale"])
    return int(library.emulated_attention(ctypes.c_void_p(stream), q, k, v, bias, y, scale, is_causal, from_last))


def _lies_well(x: Shaped) -> bool:
    return x.strides[3] == 1 and not x.shape[3] % _UNIT and not any(stride % _UNIT for stride in x.strides[:3])


def _bias_fits(bias: Shaped, q: Shaped, keys: int) -> bool:
    batch, heads, queries, _ = q.shape
    fits = len(bias.shape) == 4 and bias.shape[0] in (1, batch) and bias.shape[1] in (1, heads) and bias.shape[2:] == (queries, keys)
    return fits and bias.dtype in (0, q.dtype) and bias.strides[3] == 1
