"""Logging: Python's `logging` with onnxruntime's severities, and its log settings for one session or run.

Everything is logged to the logger `onnxgpu`. A program that configured Python's logging gets the records there; otherwise
they go to stderr, from the level that was asked for. Each record has the attributes `logid` and `code_location`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from onnxgpu.errors import Fail

SEVERITIES = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
"""Python's level for onnxruntime's 0 (verbose), 1 (info), 2 (warning), 3 (error), 4 (fatal)."""

LogCallback = Callable[[int, str, str, str, str], Any]
"""Called with severity, category, logid, code location and message."""


@dataclass(frozen=True, slots=True)
class LogScope:
    """Settings of one session or run; `level` None: the default logger's."""

    level: int | None = None
    logid: str = ""


_DEFAULT_SCOPE = LogScope()
_local = threading.local()


class _StandardError(logging.Handler):
    """Writes to stderr where the program configured no handler of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, unless another handler gets it too."""
        if not (logging.root.handlers and _python_logger.propagate) and _python_logger.handlers == [self]:
            self.write(record)

    def write(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        print(f"[{record.levelname}] {self.format(record)}", file=sys.stderr)


class _ToCallback(logging.Handler):
    """Gives records to the callback of `set_default_logger_callback`."""

    def __init__(self, callback: LogCallback) -> None:
        super().__init__()
        self._callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        """Call back; what the callback logs itself, and records it fails on, go to stderr."""
        if getattr(_local, "in_callback", False):
            _standard_error.write(record)
            return
        _local.in_callback = True
        try:
            logid = getattr(record, "logid", "") or "Default"
            self._callback(severity_of(record.levelno), "onnxruntime", logid, _location(record), record.getMessage())
        except Exception as error:
            hook: Any = sys.unraisablehook
            hook(_unraisable(error, self._callback))
            _standard_error.write(record)
        finally:
            _local.in_callback = False


def _unraisable(error: Exception, source: object) -> SimpleNamespace:
    """What `sys.unraisablehook` takes."""
    message = "Exception ignored in the log callback"
    return SimpleNamespace(exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__, err_msg=message, object=source)


class ScopedLogger:
    """The logger of onnxgpu's own code; what it lets through depends on the session or run that logs."""

    def enabled(self, level: int) -> bool:
        """True if a record of `level` would be written now."""
        wanted = _scope().level
        return _python_logger.isEnabledFor(level) if wanted is None else level >= wanted

    def log(self, level: int, message: str, *arguments: Any, stacklevel: int = 1) -> None:
        """Log `message % arguments` at a level of Python's `logging`."""
        if not self.enabled(level):
            return
        logid = _scope().logid
        file, line, function, _ = _python_logger.findCaller(stacklevel=stacklevel + 1)
        record = _python_logger.makeRecord(
            _python_logger.name, level, file, line, f"[{logid}] {message}" if logid else message, arguments, None, function
        )
        record.logid = logid
        record.code_location = _location(record)
        _python_logger.handle(record)

    def debug(self, message: str, *arguments: Any) -> None:
        """Log what onnxruntime calls verbose."""
        self.log(logging.DEBUG, message, *arguments, stacklevel=2)

    def info(self, message: str, *arguments: Any) -> None:
        """Log a stage that a program passes through."""
        self.log(logging.INFO, message, *arguments, stacklevel=2)

    def warning(self, message: str, *arguments: Any) -> None:
        """Log what a user should look at."""
        self.log(logging.WARNING, message, *arguments, stacklevel=2)

    def error(self, message: str, *arguments: Any) -> None:
        """Log what failed."""
        self.log(logging.ERROR, message, *arguments, stacklevel=2)


_python_logger = logging.getLogger("onnxgpu")
_standard_error = _StandardError()
_python_logger.addHandler(_standard_error)
logger = ScopedLogger()


def _scope() -> LogScope:
    scope: LogScope = getattr(_local, "scope", _DEFAULT_SCOPE)
    return scope


def current_scope() -> LogScope:
    """The settings under which this thread logs now, for a thread that works for it."""
    return _scope()


@contextmanager
def logging_as(scope: LogScope) -> Iterator[None]:
    """What this thread logs in this context has the level and the logid of `scope`."""
    before = _scope()
    _local.scope = scope
    try:
        yield
    finally:
        _local.scope = before


def scope_for(severity: int, logid: str, outer: LogScope = _DEFAULT_SCOPE, *, what: str = "session") -> LogScope:
    """The scope of a session or run with these options; severity -1 and an empty logid are those of `outer`.

    Raises:
        Fail: `severity` is none of onnxruntime's.
    """
    if severity == -1:
        return LogScope(outer.level, logid or outer.logid)
    if severity not in range(len(SEVERITIES)):
        raise Fail(f"Invalid {what} log severity level. Not a valid onnxruntime::logging::Severity value: {severity}; it is 0 to 4, or -1")
    return LogScope(SEVERITIES[severity], logid or outer.logid)


def set_default_logger_severity(severity: int) -> None:
    """Least severity that is logged: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.

    Raises:
        RuntimeError: `severity` is none of these.
        TypeError: it is no integer.
    """
    _python_logger.setLevel(_level(severity))


def set_default_logger_verbosity(verbosity: int) -> None:
    """Accepted for compatibility: onnxgpu has one level of verbose logging, as onnxruntime's release builds have.

    Raises:
        TypeError: `verbosity` is no integer.
    """
    _integer(verbosity)


def set_default_logger_callback(callback: LogCallback | None, severity: int = 2) -> None:
    """Give every log record to `callback` instead of to Python's handlers.

    Args:
        callback: called with severity, category, logid, code location and message, on the thread that logs; None: Python's
            handlers again.
        severity: least severity that is logged by default from now on; without effect where `callback` is None.

    Raises:
        RuntimeError: `callback` cannot be called, or `severity` is none of 0 to 4.
    """
    level = _level(severity)
    if callback is not None and not callable(callback):
        raise RuntimeError(f"callback must be a callable, got {callback!r}")
    for handler in [handler for handler in _python_logger.handlers if isinstance(handler, _ToCallback)]:
        _python_logger.removeHandler(handler)
    _python_logger.propagate = callback is None
    if callback is None:
        _python_logger.addHandler(_standard_error)
    else:
        _python_logger.removeHandler(_standard_error)
        _python_logger.addHandler(_ToCallback(callback))
        _python_logger.setLevel(level)


def severity_of(level: int) -> int:
    """onnxruntime's severity of a level of Python's `logging`."""
    return max((severity for severity, least in enumerate(SEVERITIES) if level >= least), default=0)


def _level(severity: int) -> int:
    if _integer(severity) not in range(len(SEVERITIES)):
        raise RuntimeError(f"Invalid logging severity. 0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal (got {severity})")
    return SEVERITIES[severity]


def _integer(value: int) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(f"incompatible function arguments: expected an integer, got {value!r}")
    return int(value)


def _location(record: logging.LogRecord) -> str:
    return f"{record.filename}:{record.lineno} {record.funcName}"
