"""Logging: severities, log ids and the callback, side by side with onnxruntime where both can be asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.errors import Fail
from onnxgpu.log import logger
from tests.models import model
from tests.side_by_side import CPU, assert_same, ort

ADD = "g (float[3] x) => (float[3] y) { y = Add(x, x) }"
X = np.ones(3, np.float32)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = logging.getLogger("onnxgpu").level
    yield
    onnxgpu.set_default_logger_callback(None)
    logging.getLogger("onnxgpu").setLevel(before)


@pytest.mark.parametrize("severity", [-1, 0, 2, 4, 5, "x"])
def test_default_severity(severity: Any) -> None:
    kind = None
    try:
        ort.set_default_logger_severity(severity)
    except Exception as error:
        kind = type(error)
    finally:
        ort.set_default_logger_severity(4)
    if kind is None:
        onnxgpu.set_default_logger_severity(severity)
        assert logging.getLogger("onnxgpu").level == 10 * (severity + 1)
    else:
        with pytest.raises(kind):
            onnxgpu.set_default_logger_severity(severity)


def test_verbosity_is_an_integer() -> None:
    assert_same(lambda module: module.set_default_logger_verbosity(3))
    with pytest.raises(TypeError):
        onnxgpu.set_default_logger_verbosity("x")  # type: ignore[arg-type]


def made(module: ModuleType, severity: int, logid: str = "") -> Any:
    options = module.SessionOptions()
    options.log_severity_level = severity
    options.logid = logid
    return module.InferenceSession(model(ADD).SerializeToString(), options, providers=CPU)


@pytest.mark.parametrize("severity", [-2, 5])
def test_severities_that_do_not_exist(severity: int) -> None:
    with pytest.raises(Fail, match="Invalid session log severity level"):
        made(onnxgpu, severity)
    run_options = onnxgpu.RunOptions()
    run_options.log_severity_level = severity
    with pytest.raises(Fail, match="Invalid run log severity level"):
        made(onnxgpu, -1).run(None, {"x": X}, run_options)


def messages(module: ModuleType, severity: int) -> list[tuple[int, str, str]]:
    """What a callback gets of a session and a run that log everything, those that both modules have."""
    seen: list[tuple[int, str, str]] = []
    module.set_default_logger_callback(lambda level, category, logid, where, text: seen.append((level, logid, text)), severity)
    try:
        run_options = module.RunOptions()
        run_options.logid = "the run"
        made(module, 0, "the session").run(None, {"x": X}, run_options)
    finally:
        module.set_default_logger_callback(None)
    return [entry for entry in seen if "successfully initialized" in entry[2] or "Running with tag" in entry[2]]


def test_the_callback_gets_what_a_session_logs() -> None:
    theirs = messages(ort, 2)
    ours = messages(onnxgpu, 2)
    assert [(level, text.partition("] ")[2] or text) for level, _, text in ours] == [(level, text) for level, _, text in theirs]
    assert [logid for _, logid, _ in ours] == ["the session", "the run"]


def test_a_session_with_its_own_severity_logs_more_than_others(caplog: pytest.LogCaptureFixture) -> None:
    made(onnxgpu, -1)
    assert not caplog.records
    made(onnxgpu, 0, "loud")
    assert any("Node placements" in record.getMessage() and record.levelno == logging.DEBUG for record in caplog.records)
    assert {getattr(record, "logid", None) for record in caplog.records} == {"loud"}


def test_a_session_with_its_own_severity_logs_less_than_others(caplog: pytest.LogCaptureFixture) -> None:
    onnxgpu.set_default_logger_severity(0)
    made(onnxgpu, 4)
    assert not caplog.records
    made(onnxgpu, -1)
    assert caplog.records


def test_a_run_has_a_severity_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    loud = made(onnxgpu, 1)
    caplog.clear()
    run_options = onnxgpu.RunOptions()
    run_options.logid, run_options.log_severity_level = "quiet", 3
    loud.run(None, {"x": X}, run_options)
    assert not caplog.records
    run_options.log_severity_level = 1
    loud.run(None, {"x": X}, run_options)
    assert [record.getMessage() for record in caplog.records] == ["[quiet] Running with tag: quiet"]


def test_a_callback_has_to_be_callable() -> None:
    assert_same(lambda module: module.set_default_logger_callback(None))
    with pytest.raises(RuntimeError, match="callback must be a callable"):
        onnxgpu.set_default_logger_callback(3)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_callback_that_fails_or_logs_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)

    def callback(*_: Any) -> None:
        logger.warning("from within")
        raise ValueError("no")

    onnxgpu.set_default_logger_callback(callback)
    logger.warning("first")
    assert capsys.readouterr().err == "[WARNING] from within\n[WARNING] first\n"
    assert isinstance(unraisable[0].exc_value, ValueError)


def test_warnings_reach_stderr_without_any_configuration(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logger.warning("seen %d", 1)
    logger.info("not seen")
    assert capsys.readouterr().err == "[WARNING] seen 1\n"
    made(onnxgpu, 1)
    assert "Session successfully initialized" in capsys.readouterr().err


def test_a_handler_of_the_program_takes_the_place_of_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    seen: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: seen.append(record.getMessage()))
    logging.getLogger("onnxgpu").addHandler(handler)
    try:
        logger.warning("once")
    finally:
        logging.getLogger("onnxgpu").removeHandler(handler)
    assert (seen, capsys.readouterr().err) == (["once"], "")
