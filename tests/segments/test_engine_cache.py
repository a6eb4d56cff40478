"""Whatever happens to the folder of engines, the answer is right and nothing is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.errors import ModelLoadCanceled
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.segments import cache as cache_module
from onnxgpu.providers.segments.cache import MAGIC, EngineCache
from onnxgpu.providers.segments.content_key import content_key

KEY = "0123abcd"
ENGINE = bytes(range(256)) * 100


def never() -> bytes:
    raise AssertionError("the engine is in the cache and is built all the same")


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "deep" / "folder")
    assert cache.get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert cache.get_or_build(KEY, never) == ENGINE
    assert [path.name for path in (tmp_path / "deep" / "folder").iterdir()] == [f"{KEY}.engine"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(MAGIC) + 5],
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[:-1] + b"\0",
        lambda content: content.replace(MAGIC, b"onnxgpu engine 0\n"),
    ],
    ids=["cut off", "cut off in the head", "empty", "foreign", "a changed byte", "another format"],
)
def test_a_damaged_file_is_built_again(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    cache = EngineCache(tmp_path)
    cache.get_or_build(KEY, lambda: ENGINE)
    path = tmp_path / f"{KEY}.engine"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert "is damaged or was not written by onnxgpu" in caplog.text
    assert cache.get_or_build(KEY, never) == ENGINE


def test_an_engine_that_the_library_refuses_is_built_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.get_or_build(KEY, lambda: b"of version 1")
    assert cache.get_or_build(KEY, lambda: b"of version 2", lambda engine: engine[-1:] == b"2") == b"of version 2"
    assert cache.get_or_build(KEY, never, lambda engine: engine[-1:] == b"2") == b"of version 2"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not hold for this user")
def test_a_folder_that_cannot_be_written_costs_only_the_next_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert EngineCache(tmp_path).get_or_build(KEY, lambda: ENGINE) == ENGINE
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=["full", "read-only", "forbidden"])
def test_a_folder_that_takes_nothing_is_told_and_survived(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_module, "whole_file", fail)
    assert EngineCache(tmp_path).get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert os.strerror(number) in caplog.text


def test_a_file_instead_of_the_folder_is_survived(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("not a folder")
    assert EngineCache(tmp_path / "engines").get_or_build(KEY, lambda: ENGINE) == ENGINE


def test_the_least_recently_used_engines_leave(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit=3 * (len(ENGINE) + 100))
    for number, key in enumerate(("a", "b", "c")):
        cache.get_or_build(key, lambda: ENGINE)
        os.utime(tmp_path / f"{key}.engine", (number, number))
    cache.get_or_build("a", never)
    cache.get_or_build("d", lambda: ENGINE)
    assert {path.stem for path in tmp_path.glob("*.engine")} == {"a", "c", "d"}


def test_an_engine_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit=10)
    cache.get_or_build("a", lambda: ENGINE)
    cache.get_or_build("b", lambda: ENGINE)
    assert {path.stem for path in tmp_path.glob("*.engine")} == {"b"}


WRITER = """
import sys, time
from pathlib import Path
from onnxgpu.providers.segments.cache import EngineCache
folder, mark = Path(sys.argv[1]), Path(sys.argv[2])
def build():
    with mark.open("a") as file:
        file.write("built\\n")
    time.sleep(float(sys.argv[3]))
    return bytes(range(256)) * 100
print(len(EngineCache(folder).get_or_build("0123abcd", build)))
"""


def writer(folder: Path, mark: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), str(mark), str(seconds)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(os.name == "nt", reason="no locks between processes there")
def test_two_processes_build_one_engine(tmp_path: Path) -> None:
    both = [writer(tmp_path / "engines", tmp_path / "mark", 1) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["25600", "25600"]
    assert (tmp_path / "mark").read_text().split() == ["built"]


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_a_process_killed_while_it_builds_leaves_nothing_behind(tmp_path: Path) -> None:
    killed = writer(tmp_path / "engines", tmp_path / "mark", 60)
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert EngineCache(tmp_path / "engines").get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert EngineCache(tmp_path / "engines").get_or_build(KEY, never) == ENGINE


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_a_process_killed_while_it_writes_leaves_no_engine(tmp_path: Path) -> None:
    """The half-written file has another name; the next start builds the engine and it is whole."""
    program = """
    import sys, time
    from pathlib import Path
    from onnxgpu import atomic_file
    from onnxgpu.providers.segments.cache import EngineCache
    folder, mark = Path(sys.argv[1]), Path(sys.argv[2])
    import onnxgpu.providers.segments.cache as cache
    real = cache.whole_file
    from contextlib import contextmanager
    @contextmanager
    def whole_file(path):
        with real(path) as file:
            file.write(b"half of it")
            file.flush()
            mark.write_text("writing")
            time.sleep(60)
            yield file
    cache.whole_file = whole_file
    EngineCache(folder).get_or_build("0123abcd", lambda: b"engine")
    """
    killed = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "engines"), str(tmp_path / "mark")])
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "engines").glob("*.engine"))
    (half,) = (tmp_path / "engines").glob(".*")
    os.utime(half, (0, 0))
    assert EngineCache(tmp_path / "engines").get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert not half.exists(), "what is left of a killed process is removed in time"


@pytest.mark.skipif(os.name == "nt", reason="no locks between processes there")
def test_many_processes_build_each_engine_once(tmp_path: Path) -> None:
    """Those who wait for a lock do not take the file that its holder has just removed for the lock."""
    processes = [writer(tmp_path / "engines", tmp_path / "mark", 0.2) for _ in range(6)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["25600"] * 6
    assert (tmp_path / "mark").read_text().split() == ["built"]
    assert [path.name for path in (tmp_path / "engines").iterdir()] == [f"{KEY}.engine"]


@pytest.mark.skipif(os.name == "nt", reason="no locks between processes there")
def test_a_lock_is_held_by_one_however_often_it_is_given_back(tmp_path: Path) -> None:
    inside, most, done = [0], [0], []
    cache = EngineCache(tmp_path)

    def work() -> None:
        for _ in range(20):
            with cache._locked(KEY, None):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), most[0]) == (6, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no locks between processes there")
def test_who_waits_for_another_process_can_be_told_to_stop(tmp_path: Path) -> None:
    other = writer(tmp_path, tmp_path / "mark", 60)
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    told: list[tuple[str, int, int]] = []
    try:
        with pytest.raises(ModelLoadCanceled):
            EngineCache(tmp_path).get_or_build(KEY, never, report=lambda *progress: told.append(progress) or len(told) < 3)  # type: ignore[func-returns-value]
    finally:
        other.kill()
        other.communicate()
    assert told == [("waiting for another process", 0, 0)] * 3


def test_a_refused_engine_is_looked_at_and_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, looked = EngineCache(tmp_path), []
    cache.get_or_build(KEY, lambda: b"of version 1")
    cache.get_or_build(KEY, lambda: b"of version 2", lambda engine: looked.append(engine) or False)  # type: ignore[func-returns-value]
    assert looked == [b"of version 1"]
    (tmp_path / f"{KEY}.engine").write_bytes(b"foreign")
    cache.get_or_build(KEY, lambda: ENGINE)
    assert caplog.text.count("is damaged") == 1


def test_a_build_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        EngineCache(tmp_path).get_or_build(KEY, never)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no limits of this kind there")
def test_a_disk_that_is_full_after_a_part_leaves_no_part(tmp_path: Path) -> None:
    """The system refuses what goes beyond a size, as it does where a disk is full."""
    program = """
    import resource, sys
    from onnxgpu.providers.segments.cache import EngineCache
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    print(len(EngineCache(sys.argv[1]).get_or_build("0123abcd", lambda: bytes(25_600))))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "engines")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "25600"
    assert "could not be kept in" in ended.stderr
    assert "the next start builds it again; choose another folder or make room" in ended.stderr
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_folder_in_place_of_an_engine_is_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{KEY}.engine").mkdir()
    assert EngineCache(tmp_path).get_or_build(KEY, lambda: ENGINE) == ENGINE
    assert "cannot be read" in caplog.text
    assert "could not be kept" in caplog.text


def test_a_key_does_not_copy_weights() -> None:
    from onnx import ModelProto

    weights = {name: np.zeros((1 << 20, 8), dtype) for name, dtype in (("a", np.float32), ("b", ml_dtypes.bfloat16))}
    model = CutModel(ModelProto(), weights)
    tracemalloc.start()
    first = content_key(model, ())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20 < sum(array.nbytes for array in weights.values())
    weights["b"][-1, -1] = 1
    assert content_key(model, ()) != first
