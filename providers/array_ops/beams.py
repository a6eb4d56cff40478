"""Beam search over scores that are given step by step: which sequences go on, and which are finished.

Sequences, scores of beams and hypotheses are in host memory. Spec: onnxruntime's ContribOperators.md, BeamSearch
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.sorting import top_indices

_UNUSED_BEAM = np.float32(-1e9)


@dataclass
class _Finished:
    """The best finished sequences of one element of the batch, as many as there are beams."""

    room: int
    length_penalty: float
    early_stopping: bool
    found: list[tuple[np.float32, np.ndarray]] = field(default_factory=list)
    done: bool = False

    def _normalized(self, total: np.float32, length: int) -> np.float32:
        return np.float32(total / np.float32(float(length) ** self.length_penalty))

    def add(self, tokens: np.ndarray, total: np.float32) -> None:
        """Keep a sequence with this sum of log-probabilities, if it is good enough."""
        score = self._normalized(total, len(tokens))
        if len(self.found) < self.room or score > self.found[-1][0]:
            self.found.append((score, tokens))
            self.found.sort(key=lambda item: -item[0])
            del self.found[self.room :]

    def check(self, best_total: np.float32, length: int) -> None:
        """Be done if no running sequence can become better than those that were found."""
        if len(self.found) >= self.room:
            self.done = self.early_stopping or bool(self.found[-1][0] >= self._normalized(best_total, length))


class BeamSearchState:
    """The beams of a batch.

    Args:
        prompts: (batch, length) int32; each is the beginning of all beams of its element.
        beams: how many beams an element has.
        eos_token: the token that ends a sequence; below 0: none does.
        pad_token: what follows in sequences that ended.
        length_penalty: exponent of the length by which a sequence's score is divided.
        early_stopping: whether an element is finished as soon as it has as many finished sequences as beams.
    """

    def __init__(
        self, prompts: np.ndarray, beams: int, *, eos_token: int, pad_token: int, length_penalty: float, early_stopping: bool
    ) -> None:
        self.sequences = np.repeat(prompts.astype(np.int32), beams, axis=0)
        self._beams, self._eos_token, self._pad_token = beams, eos_token, pad_token
        self._batch = len(prompts)
        self.totals = np.full((self._batch, beams), _UNUSED_BEAM)
        self.totals[:, 0] = 0
        self._finished = [_Finished(beams, length_penalty, early_stopping) for _ in prompts]

    @property
    def done(self) -> bool:
        """True if no element of the batch goes on."""
        return all(finished.done for finished in self._finished)

    def with_totals(self, xp: Any, scores: Array) -> Array:
        """Scores of next tokens (batch * beams, vocabulary) plus those of their beams."""
        return scores + xp.asarray(self.totals.reshape(-1, 1))

    def advance(self, xp: Any, scores: Array) -> tuple[np.ndarray, np.ndarray]:
        """Choose from `scores`, totals included: each beam's token, and the row whose sequence it continues.

        Both are (batch * beams,) int32. The sequences grow by one token. Elements that are done go on with padding behind
        row 0, as in onnxruntime; nothing of that is in their results.
        """
        vocabulary = scores.shape[1]
        flat = scores.reshape(self._batch, -1)
        order = top_indices(xp, flat, min(2 * self._beams, flat.shape[1]), 1, True)
        best = np.array(xp.take_along_axis(flat, order, axis=1).tolist(), np.float32).reshape(self._batch, -1)
        chosen = np.array(order.tolist(), np.int64).reshape(self._batch, -1)
        tokens = np.full((self._batch, self._beams), self._pad_token, np.int32)
        sources = np.zeros((self._batch, self._beams), np.int32)
        if self._beams == 1:
            sources[:, 0] = np.arange(self._batch)
        for element in range(self._batch):
            if self._finished[element].done:
                self.totals[element] = 0
                continue
            self._choose(element, best[element], chosen[element] // vocabulary, chosen[element] % vocabulary, tokens, sources)
            # onnxruntime compares with the candidates from element * beams on, which are the element's own for the first one only.
            nearby = best.reshape(-1)[element * self._beams :][: 2 * self._beams]
            self._finished[element].check(nearby.max(), self.sequences.shape[1])
        flat_tokens, flat_sources = tokens.reshape(-1), sources.reshape(-1)
        self.sequences = np.concatenate((self.sequences[flat_sources], flat_tokens[:, None]), axis=1)
        return flat_tokens, flat_sources

    def _choose(
        self, element: int, best: np.ndarray, beams: np.ndarray, candidates: np.ndarray, tokens: np.ndarray, sources: np.ndarray
    ) -> None:
        """Fill one element's row of `tokens` and `sources` from its candidates, best first."""
        finished, first = self._finished[element], element * self._beams
        ends = (candidates == self._eos_token) & (self._eos_token >= 0)
        for rank in np.flatnonzero(ends[: self._beams]):
            if np.count_nonzero(~ends[:rank]) < self._beams:
                finished.add(self.sequences[first + beams[rank]].copy(), best[rank])
        going = np.flatnonzero(~ends)[: self._beams]
        self.totals[element], tokens[element], sources[element] = best[going], candidates[going], first + beams[going]

    def results(self, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The `count` best sequences of each element, padded to `length`, and their scores; beams that still run count too."""
        sequences = np.full((self._batch, count, length), self._pad_token, np.int32)
        scores = np.zeros((self._batch, count), np.float32)
        for element, finished in enumerate(self._finished):
            if not finished.done:
                for beam in range(self._beams):
                    finished.add(self.sequences[element * self._beams + beam], self.totals[element, beam])
            for rank, (score, tokens) in enumerate(finished.found[:count]):
                sequences[element, rank, : len(tokens)] = tokens
                scores[element, rank] = score
        return sequences, scores
