"""Attention as a cuDNN graph of one node, independent of the device it is going to run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from onnxgpu.providers.cuda.libraries.convolution_graphs import Sizes, data_type

Q, K, V, BIAS, Y = 1, 2, 3, 4, 5
"""Numbers of the tensors, by which a graph is given their addresses."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Four axes: batch, heads, and the two of a matrix; strides in elements, the last 1."""

    shape: Sizes
    strides: Sizes

    @property
    def extent(self) -> int:
        """Elements from the first to behind the last."""
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class Attention:
    """softmax(scale q kᵀ + bias) v, of which no scores are kept.

    Attributes:
        dtype: `float16` or `bfloat16`; sums are in float32.
        q: (batch, heads, S, D).
        k: (batch, key heads, T, D).
        v: (batch, key heads, T, E).
        y: (batch, heads, S, E).
        scale: factor of the scores.
        diagonal: where the last key that a query sees lies: at the query's own number from the first, or from the last.
        bias: (batch or 1, heads or 1, S, T), finite; not with a diagonal from the last.
        bias_dtype: `dtype` or `float`.
    """

    dtype: str
    q: Tensor
    k: Tensor
    v: Tensor
    y: Tensor
    scale: float
    diagonal: Literal["", "TOP_LEFT", "BOTTOM_RIGHT"] = ""
    bias: Tensor | None = None
    bias_dtype: str = ""

    @property
    def tf32(self) -> bool:
        """Nothing is float32."""
        return False

    def describe(self, cudnn: Any, graph: Any) -> None:
        """Put it into `graph`, an empty `cudnn.pygraph` that computes in float32."""

        def tensor(name: str, uid: int, like: Tensor, dtype: str = self.dtype) -> Any:
            return graph.tensor(name=name, uid=uid, dim=list(like.shape), stride=list(like.strides), data_type=data_type(cudnn, dtype))

        options: dict[str, Any] = {}
        if self.diagonal:
            options["diagonal_alignment"] = getattr(cudnn.diagonal_alignment, self.diagonal)
            options["diagonal_band_right_bound"] = 0
        if self.bias is not None:
            options["bias"] = tensor("bias", BIAS, self.bias, self.bias_dtype)
        q, k, v = tensor("Q", Q, self.q), tensor("K", K, self.k), tensor("V", V, self.v)
        y, _ = graph.sdpa(name="attention", q=q, k=k, v=v, attn_scale=self.scale, generate_stats=False, **options)
        y.set_name("Y").set_uid(Y).set_output(True).set_data_type(data_type(cudnn, self.dtype))
        y.set_dim(list(self.y.shape)).set_stride(list(self.y.strides))

    def tensor_bytes(self) -> dict[int, int]:
        """Number of each tensor of the graph → its size."""
        sizes = {number: 2 * like.extent for number, like in ((Q, self.q), (K, self.k), (V, self.v), (Y, self.y))}
        if self.bias is not None:
            sizes[BIAS] = (4 if self.bias_dtype == "float" else 2) * self.bias.extent
        return sizes
