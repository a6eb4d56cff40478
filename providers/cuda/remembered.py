"""What a kernel answers for inputs of shapes that it was asked about before, without asking it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from onnxgpu.provider import Value

Answer = TypeVar("Answer")

_MOST = 64


class Remembered(Generic[Answer]):
    """A function of a node's inputs that depends on their shapes alone: none of their values decides, and their types are the node's.

    Args:
        function: what to ask.
    """

    def __init__(self, function: Callable[[Sequence[Value]], Answer]) -> None:
        self._function = function
        self._answers: dict[Any, Answer] = {}

    def __call__(self, inputs: Sequence[Value]) -> Answer:
        """The function's answer."""
        try:
            key = tuple([None if value is None else value.shape for value in inputs])
        except AttributeError:  # a sequence or a map
            return self._function(inputs)
        try:
            return self._answers[key]
        except KeyError:
            pass
        answer = self._function(inputs)
        if len(self._answers) >= _MOST:
            self._answers.clear()
        self._answers[key] = answer
        return answer
