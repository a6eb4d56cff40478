"""How the objects of TensorRT say what went wrong: lines to a logger, and errors to the recorder of the object if it has one."""

from __future__ import annotations

import time
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements

_CATEGORIES = {
    "UNSPECIFIED_ERROR": "Serialization",
    "INTERNAL_ERROR": "Internal Error",
    "INVALID_ARGUMENT": "API Usage Error",
    "INVALID_CONFIG": "API Usage Error",
    "FAILED_ALLOCATION": "OutOfMemory",
    "FAILED_INITIALIZATION": "Internal Error",
    "FAILED_EXECUTION": "Cuda Runtime",
    "FAILED_COMPUTATION": "Internal Error",
    "INVALID_STATE": "Internal Error",
    "UNSUPPORTED_STATE": "Internal Error",
}
_LETTERS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


def severity(name: str) -> Any:
    """A member of `ILogger.Severity`."""
    return getattr(enum("ILogger.Severity"), name)


class Reports:
    """Where the objects that were made with one logger report.

    Args:
        logger: has `log(severity, text)`.

    Attributes:
        error_recorder: an `IErrorRecorder`, or None.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.error_recorder: Any = None

    def of_part(self) -> Reports:
        """For an object that this one makes: the same logger, and the recorder it has now."""
        part = Reports(self.logger)
        part.error_recorder = self.error_recorder
        return part

    def log(self, name: str, text: str) -> None:
        """A line with the severity of this name; what the logger raises is swallowed, as the bindings do."""
        try:
            self.logger.log(severity(name), text)
        except Exception as error:
            print(f"[ERROR] Exception caught in log(): {error}")  # noqa: T201  as the bindings do

    def error(self, call: str, detail: str, code: str = "INVALID_ARGUMENT") -> None:
        """An error of a call, in TensorRT's form."""
        number = int(getattr(enum("ErrorCodeTRT"), code))
        text = f"{call}: Error Code {number}: {_CATEGORIES[code]} ({detail})"
        if self.error_recorder is not None:
            self.error_recorder.report_error(getattr(enum("ErrorCodeTRT"), code), text)
        self.log("ERROR", text)


class Recording:
    """What an object has that errors can be recorded for.

    Attributes:
        reports: where it reports.
    """

    reports: Reports

    @property
    def error_recorder(self) -> Any:
        """An `IErrorRecorder`, or None."""
        return self.reports.error_recorder

    @error_recorder.setter
    def error_recorder(self, recorder: Any) -> None:
        self.reports.error_recorder = recorder


class Reporting(Recording):
    """What an object has that is made with a logger."""

    @property
    def logger(self) -> Any:
        """The one it was made with."""
        return self.reports.logger


@implements("Logger")
class Logger:
    """Writes to the standard output, from `min_severity` upwards."""

    def __init__(self, min_severity: Any = None) -> None:
        self.min_severity = severity("WARNING") if min_severity is None else min_severity

    def log(self, level: Any, text: str) -> None:
        """A line, with the time."""
        if int(level) <= int(self.min_severity):
            print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [TRT] [{_LETTERS[level.name]}] {text}")  # noqa: T201  as TensorRT does


@implements("Profiler")
class Profiler:
    """Writes the time of each layer to the standard output."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """One layer."""
        print(f"{layer_name}: {ms}ms")  # noqa: T201  as TensorRT does
