"""TfIdfVectorizer on tokens that are numbers: a binary search of the known n-grams at each place of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.ngrams import FLOAT, MODES, ngram_pool, ngram_spec
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.generators import filled
from onnxgpu.providers.cuda.registry import operator

_TOKENS = ("int32", "int64")
COUNT = Template("ngrams.cu", "count_grams<{T}>", "ppppllllll", T=tuple(C_TYPES[name] for name in _TOKENS))
WEIGH = Template("ngrams.cu", "weigh_counts", "ppllb")


@operator("TfIdfVectorizer", since=9, types=frozenset(_TOKENS))
class TfIdfVectorizer:
    """Counts of the pool's n-grams in each row of tokens, weighted as `mode` says; float32.

    Spec: https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html
    """

    input_names = ("x",)
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        self._xp, self._mode, self._places = xp, attributes["mode"], tuple(attributes["ngram_indexes"])
        if self._mode not in MODES:
            raise InvalidArgument(f"TfIdfVectorizer: expected mode {', '.join(MODES)}, got {self._mode!r}")
        pool = ngram_pool(tuple(attributes.get("pool_int64s", ())), tuple(attributes["ngram_counts"]), self._places)
        shortest, longest = attributes["min_gram_length"], attributes["max_gram_length"]
        self._grams = {n: self._sorted([gram for gram in pool if len(gram) == n], pool) for n in range(shortest, longest + 1)}
        self._strides = attributes["max_skip_count"] + 1
        self._weights = self._weights_by_place(attributes.get("weights", ()))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A count a place in each row."""
        return (ngram_spec(inputs[0], ngram_indexes=self._places),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        (spec,) = self.outputs(inputs)
        result = self._xp.empty(spec.shape, FLOAT) if outputs is None else outputs[0]
        filled(result, 0)
        x, width = dense(self._xp, inputs[0]), spec.shape[-1]
        columns = x.shape[-1]
        rows = x.size // max(columns, 1)
        for length, (grams, places, count) in self._grams.items():
            strides = self._strides if length > 1 else 1
            blocks = blocks_for(x.size * strides) if count else 0
            COUNT.instance(T=x.dtype).launch(blocks, THREADS, x, grams, places, result, rows, columns, width, length, count, strides)
        if self._mode == "IDF" or (self._mode == "TFIDF" and self._weights is not None):
            blocks = blocks_for(result.size)
            WEIGH.instance().launch(blocks, THREADS, result, self._weights, result.size, width, self._mode == "IDF")
        return (result,)

    def _sorted(self, grams: list[tuple[Any, ...]], pool: Any) -> tuple[Array, Array, int]:
        """N-grams of one length in order, where each is counted, and how many they are."""
        ordered = sorted(grams)
        places = np.array([pool[gram] for gram in ordered], np.int32)
        return self._xp.asarray(np.array(ordered, np.int64).reshape(-1)), self._xp.asarray(places), len(ordered)

    def _weights_by_place(self, weights: Sequence[float]) -> Array | None:
        if not len(weights):
            return None
        factors = np.ones(max(self._places) + 1, FLOAT)
        factors[list(self._places)] = weights
        return self._xp.asarray(factors)
