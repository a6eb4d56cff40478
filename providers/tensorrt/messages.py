"""What TensorRT says: its log lines go to our log, and those of a failure become the text of the error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from onnxgpu.errors import EPFail, OnnxGpuError
from onnxgpu.log import logger
from onnxgpu.providers.tensorrt.library import tensorrt

T = TypeVar("T")

_LEVELS = {
    "INTERNAL_ERROR": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}
"""TensorRT's severities → levels of Python's `logging`."""

MOST_TOLD = 3
LONGEST = 600

_listeners: list[Told] = []


class Told:
    """What TensorRT said while something was done.

    Args:
        detailed: what it does and how it chooses is logged too, not only what is wrong.
        quiet: warnings are of no interest: it is asked about something that will be done again, or not at all.

    Attributes:
        errors: its lines of severity ERROR and INTERNAL_ERROR, in order.
    """

    def __init__(self, *, detailed: bool = False, quiet: bool = False) -> None:
        self.detailed, self.quiet = detailed, quiet
        self.errors: list[str] = []

    def reason(self, otherwise: str = "TensorRT gives no reason") -> str:
        """The last errors, shortened."""
        return "; ".join(dict.fromkeys(line[:LONGEST] for line in self.errors[-MOST_TOLD:])) or otherwise

    def failed(self, kind: type[OnnxGpuError], what: str, advice: str = "") -> OnnxGpuError:
        """An error that says what failed and why, in TensorRT's words."""
        return kind(f"{what}: {self.reason()}{'. ' if advice else ''}{advice}")


@contextmanager
def listening(*, detailed: bool = False, quiet: bool = False) -> Iterator[Told]:
    """Hear what TensorRT says in this context, in whichever of its threads; errors are left to the caller to tell."""
    told = Told(detailed=detailed, quiet=quiet)
    _listeners.append(told)
    try:
        yield told
    finally:
        _listeners.remove(told)


def made(make: Callable[[Any], T]) -> T:
    """A `tensorrt.Builder` or `tensorrt.Runtime`.

    Args:
        make: the class.

    Raises:
        EPFail: TensorRT makes none, as where driver and library do not fit; says why in its words.
    """
    with listening() as told:
        try:
            return make(trt_logger())
        except TypeError as error:  # the bindings', for a null pointer
            told.errors = told.errors or [str(error)]
            raise told.failed(EPFail, f"TensorRT makes no {make.__name__} here") from error


def trt_logger() -> Any:
    """The `tensorrt.ILogger` behind which our log is; TensorRT wants one a process."""
    return _logger_of(tensorrt())


@cache
def _logger_of(module: Any) -> Any:
    class Log(module.ILogger):  # type: ignore[misc]  # a class of an untyped module
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            _hear(severity.name, msg)

    return Log()


def _hear(severity: str, message: str) -> None:
    level = _LEVELS[severity]
    listeners: Sequence[Told] = tuple(_listeners)
    if level >= logging.ERROR and listeners:
        for told in listeners:
            told.errors.append(message)
        level = logging.DEBUG  # whoever listens raises or decides; both are told in his words
    if listeners and all(told.quiet for told in listeners):
        level = logging.DEBUG
    if level >= logging.WARNING or any(told.detailed for told in listeners):
        logger.log(level, "TensorRT: %s", message)
    elif logger.enabled(logging.DEBUG):
        logger.debug("TensorRT: %s", message)
