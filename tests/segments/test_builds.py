"""Builds: in the background, in other processes, few at once; a crash is an error, and nothing is left of what was cancelled."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.errors import EPFail, InvalidArgument, ModelLoadCanceled
from onnxgpu.providers.segments import builds as builds_module
from onnxgpu.providers.segments.builds import Build, Report, wait_for
from onnxgpu.providers.segments.child_process import in_child
from tests.segments import works

needs_signals = pytest.mark.skipif(os.name == "nt", reason="no signals of this kind")


def going_on(phase: str, step: int, steps: int) -> bool:
    return True


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Gate:
    """Work that waits until it may go on."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), threading.Event()

    def __call__(self, report: Report) -> bytes:
        self.begun.set()
        while not self.open.wait(0.01):
            if not report("waiting for the test", 1, 2):
                raise ModelLoadCanceled("cancelled")
        return b"engine"


def test_a_build_runs_in_the_background() -> None:
    gate = Gate()
    build = Build("segment 'g'", gate)
    assert gate.begun.wait(10)
    assert not build.is_done
    assert not build.wait(time.monotonic() + 0.05)
    assert build.progress == ("waiting for the test", 1, 2)
    gate.open.set()
    assert build.result() == b"engine"
    assert build.is_done


def test_one_build_at_a_time_in_the_order_of_asking() -> None:
    gates = [Gate() for _ in range(6)]
    builds = [Build("segment 'g'", gate) for gate in gates]
    for index, gate in enumerate(gates):
        assert gate.begun.wait(10)
        assert [other.begun.is_set() for other in gates] == [other <= index for other in range(6)]
        gate.open.set()
    assert wait_for(builds)


def test_what_goes_wrong_is_the_result_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    build = Build("segment 'g'", works.refuse)
    with pytest.raises(InvalidArgument, match="upside down"):
        build.result()
    assert isinstance(build.error, InvalidArgument)
    assert "segment 'g' could not be built: the profile of x is upside down" in caplog.text


def test_an_error_does_not_grow_when_it_is_raised_again() -> None:
    build = Build("segment 'g'", works.refuse)
    lengths = []
    for _ in range(5):
        with pytest.raises(InvalidArgument) as raised:
            build.result()
        lengths.append(len(raised.traceback))
    assert len(set(lengths)) == 1


def test_a_cancelled_build_ends_and_frees_its_turn() -> None:
    first, second = Gate(), Gate()
    second.open.set()
    cancelled, next_one = Build("first", first), Build("second", second)
    cancelled.cancel()
    with pytest.raises(ModelLoadCanceled):
        cancelled.result()
    assert next_one.result() == b"engine"


def test_a_build_that_nobody_wants_any_more_ends() -> None:
    gate = Gate()
    build = Build("segment 'g'", gate)
    thread = build._thread
    assert gate.begun.wait(10)
    del build
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_another_process_builds() -> None:
    assert int(in_child("segment 'g'", works.pid, going_on)) != os.getpid()


def test_weights_reach_the_other_process() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "float": rng.standard_normal((100, 33)).astype(np.float32),
        "bfloat16": rng.standard_normal((7, 5)).astype(ml_dtypes.bfloat16),
        "empty": np.zeros((0, 4), np.int64),
        "bytes": np.arange(13, dtype=np.uint8),
        "transposed": np.arange(12, dtype=np.float64).reshape(3, 4).T,
    }
    work = works.Weighted(arrays)
    assert in_child("segment 'g'", work, going_on) == work(going_on)


def test_progress_and_log_come_back_and_what_a_library_prints_does_not(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    assert in_child("segment 'g'", works.noisy, lambda *progress: told.append(progress) or True) == b"engine"  # type: ignore[func-returns-value]
    assert ("first", 1, 2) in told
    assert told[-1] == ("second", 2, 2)
    assert "as TensorRT says" in caplog.text
    assert capfd.readouterr() == ("", "")


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGBUS], ids=lambda number: number.name)
def test_a_crash_is_an_error_that_names_segment_signal_and_last_words(number: signal.Signals) -> None:
    with pytest.raises(EPFail, match=rf"the process that built segment 'g' was ended by {number.name}") as raised:
        in_child("segment 'g'", partial(works.crash, number=int(number)), going_on)
    assert "an assertion of the library\n    failed in line 7" in raised.value.message
    assert ("memory runs out" in raised.value.message) == (number == signal.SIGKILL)


@pytest.mark.parametrize(
    ("work", "how"), [(works.abort, "was ended by SIGABRT"), (works.leave, "ended with code 3")], ids=["abort", "exit"]
)
@needs_signals
def test_a_process_that_ends_itself_is_an_error(work: object, how: str) -> None:
    with pytest.raises(EPFail, match=how):
        in_child("segment 'g'", work, going_on)  # type: ignore[arg-type]


def test_an_error_in_the_other_process_is_the_same_error_here() -> None:
    with pytest.raises(InvalidArgument, match="the profile of x is upside down"):
        in_child("segment 'g'", works.refuse, going_on)
    with pytest.raises(EPFail, match="segment 'g' could not be built: ZeroDivisionError: division by zero"):
        in_child("segment 'g'", works.fail, going_on)


@needs_signals
@pytest.mark.parametrize("work", [works.endless, works.deaf], ids=["reports", "does not"])
def test_a_cancelled_build_leaves_no_process(work: Callable[..., bytes], tmp_path: Path) -> None:
    build = Build("segment 'g'", partial(in_child, "segment 'g'", partial(work, folder=str(tmp_path))))
    assert eventually((tmp_path / "pid").exists)
    assert eventually(lambda: (tmp_path / "pid").read_text() != "")
    process = int((tmp_path / "pid").read_text())
    assert is_alive(process)
    build.cancel()
    with pytest.raises(ModelLoadCanceled):
        build.result()
    assert not is_alive(process)


_PARENT = textwrap.dedent("""
    import pathlib, sys, time
    from functools import partial
    from onnxgpu.providers.segments.builds import Build
    from onnxgpu.providers.segments.child_process import in_child
    from tests.segments import works
    build = Build("segment 'g'", partial(in_child, "segment 'g'", partial(works.{work}, folder={folder!r})))
    {then}
""")


@needs_signals
@pytest.mark.parametrize("work", ["endless", "deaf"])
def test_a_killed_parent_leaves_no_process_and_no_file(work: str, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = _PARENT.format(work=work, folder=str(tmp_path), then="time.sleep(600)")
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)})
    assert eventually((tmp_path / "pid").exists, 60)
    assert eventually(lambda: (tmp_path / "pid").read_text() != "")
    process = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    assert eventually(lambda: not is_alive(process))
    assert list(temporary.iterdir()) == []


@needs_signals
def test_the_end_of_the_program_ends_its_builds(tmp_path: Path) -> None:
    then = f"while not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(0.1)"
    code = _PARENT.format(work="endless", folder=str(tmp_path), then=then)
    parent = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True)
    assert parent.returncode == 0, parent.stderr.decode()
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    files: list[io.IOBase] = [Full(), io.BytesIO()]
    monkeypatch.setattr(tempfile, "TemporaryFile", files.pop)
    with pytest.raises(EPFail, match=r"weights of segment 'g' could not be handed over in .* \(TMPDIR names another folder\): .*No space"):
        in_child("segment 'g'", works.Weighted({"w": np.ones(100, np.float32)}), going_on)


def test_no_interpreter_to_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EPFail, match="could not be built in a process of its own, '/nowhere/python'"):
        in_child("segment 'g'", works.pid, going_on)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_wait_for_its_parents_builds() -> None:
    gate = Gate()
    build = Build("segment 'g'", gate)
    assert gate.begun.wait(10)
    child = os.fork()
    if child == 0:
        try:
            build.wait()
        except EPFail as error:
            os._exit(7 if "was being built when this process was forked" in error.message else 8)
        os._exit(9)
    gate.open.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert build.result() == b"engine"


def test_the_number_at_once_is_a_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONNXGPU_BUILDS", raising=False)
    assert builds_module._line.at_once == 1
    monkeypatch.setenv("ONNXGPU_BUILDS", "3")
    assert builds_module._line.at_once == 3
    monkeypatch.setenv("ONNXGPU_BUILDS", "none")
    with pytest.raises(InvalidArgument, match="ONNXGPU_BUILDS='none': expected a number above 0"):
        Build("m", lambda report: 1).result()


def test_a_thread_that_cannot_be_made_holds_no_place_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more_threads)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Build("m", lambda report: 1)
    assert Build("m", lambda report: 2).result() == 2


def _no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
