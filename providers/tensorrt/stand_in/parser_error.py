"""What a parser found wrong, as its errors tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements
from onnxgpu.providers.tensorrt.stand_in.reports import Reports


@implements("ParserError")
@dataclass(frozen=True)
class ParserError:
    """One error; `text` is what `desc()` gives."""

    code_name: str
    text: str
    node_index: int = -1
    name: str = ""
    operator: str = ""
    where: str = "ModelImporter.cpp"
    function: str = "parseGraph"
    stack: tuple[str, ...] = field(default=())

    def code(self) -> Any:
        """A member of `ErrorCode`."""
        return getattr(enum("ErrorCode"), self.code_name)

    def desc(self) -> str:
        """What is wrong."""
        return self.text

    def file(self) -> str:
        """The parser's source; for a network input its name, as the parser has it."""
        return self.where

    def line(self) -> int:
        """The line there, which the stand-in does not have."""
        return 0

    def func(self) -> str:
        """The function there."""
        return self.function

    def node(self) -> int:
        """The node's index in the model, -1 where it is no node's error."""
        return self.node_index

    def node_name(self) -> str:
        """The node's name."""
        return self.name

    def node_operator(self) -> str:
        """The node's operator."""
        return self.operator

    def local_function_stack(self) -> list[str]:
        """The model's functions around the node, the outermost first."""
        return list(self.stack)

    def local_function_stack_size(self) -> int:
        """How many there are."""
        return len(self.stack)

    def __str__(self) -> str:
        told = f"({self.function}): {self.code_name}: {self.text}"
        if self.code_name in ("MODEL_DESERIALIZE_FAILED", "REFIT_FAILED"):
            return told
        return f"In node {self.node_index} with name: {self.name} and operator: {self.operator} {told}"

    __repr__ = __str__


class ParserErrors:
    """The errors of an object that reads models.

    Args:
        logger: where it reports.
    """

    def __init__(self, logger: Any) -> None:
        self._reports = Reports(logger)
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        """How many errors there are since the last `clear_errors`."""
        return len(self._errors)

    def get_error(self, index: int) -> ParserError | None:
        """One of them."""
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        """Forget them."""
        self._errors.clear()

    def _note(self, error: ParserError) -> bool:
        """Keep an error and log it; gives False, as what failed does."""
        self._errors.append(error)
        self._reports.log("ERROR", str(error))
        return False
