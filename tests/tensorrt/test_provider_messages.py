"""TensorRT's log lines: where they go, and how they become the text of errors."""

from __future__ import annotations

import logging
from types import ModuleType

import pytest

from onnxgpu.errors import EPFail
from onnxgpu.providers.tensorrt.messages import LONGEST, listening, made, trt_logger

pytestmark = pytest.mark.usefixtures("tensorrt")


def say(tensorrt: ModuleType, severity: str, message: str) -> None:
    trt_logger().log(getattr(tensorrt.ILogger.Severity, severity), message)


def levels(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage().removeprefix("TensorRT: ")) for record in caplog.records]


def test_severities_are_ours(tensorrt: ModuleType, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG, "onnxgpu"):
        for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
            say(tensorrt, severity, severity.lower())
    expected = [("ERROR", "internal_error"), ("ERROR", "error"), ("WARNING", "warning"), ("DEBUG", "info"), ("DEBUG", "verbose")]
    assert levels(caplog) == expected
    assert capfd.readouterr().out == ""


def test_details_are_logged_where_they_are_wanted(tensorrt: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "onnxgpu"):
        with listening(detailed=True):
            say(tensorrt, "INFO", "chose a tactic")
        say(tensorrt, "INFO", "chose another")
    assert levels(caplog) == [("INFO", "chose a tactic")]


def test_errors_are_told_by_who_listens_and_not_twice(tensorrt: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "onnxgpu"), listening() as outer:
        with listening() as inner:
            say(tensorrt, "ERROR", "no tactic")
            say(tensorrt, "ERROR", "no tactic")
            say(tensorrt, "WARNING", "slow")
        say(tensorrt, "ERROR", "no engine")
    assert levels(caplog) == [("WARNING", "slow")]
    assert inner.reason() == "no tactic" and outer.reason() == "no tactic; no engine"
    error = outer.failed(EPFail, "it was not built", "try this")
    assert isinstance(error, EPFail) and error.message == "it was not built: no tactic; no engine. try this"


def test_a_question_is_quiet_and_a_long_reason_short(tensorrt: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "onnxgpu"), listening(quiet=True) as told:
        say(tensorrt, "WARNING", "an old opset")
        say(tensorrt, "ERROR", "x" * 10000)
    assert not caplog.records
    assert len(told.reason()) == LONGEST
    with listening() as nothing:
        pass
    assert nothing.reason() == "TensorRT gives no reason"


def test_a_builder_that_is_not_made_is_told(monkeypatch: pytest.MonkeyPatch, tensorrt: ModuleType) -> None:
    def Builder(logger: object) -> None:
        say(tensorrt, "ERROR", "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(tensorrt, "Builder", Builder)
    with pytest.raises(EPFail, match="TensorRT makes no Builder here: CUDA initialization failure with error: 35"):
        made(tensorrt.Builder)
