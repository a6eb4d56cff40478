"""Compiled segments on disk: whole files only, one writer a key, the least recently used ones leave first.

A file is `MAGIC`, the CRC-32 of what follows, and the engine's bytes, at a multiple of 64 bytes: it is mapped, not read, so that an
engine may use weights where they lie. One that is cut off, damaged or not ours is as good as none. Nothing that goes wrong with the
folder ends a run: the engine is built, and the log says what it costs.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from onnxgpu.atomic_file import whole_file
from onnxgpu.errors import ModelLoadCanceled
from onnxgpu.log import logger
from onnxgpu.providers.segments.builds import POLL_SECONDS, Report

MAGIC = b"onnxgpu engine 2\n".ljust(60)
SUFFIX = ".engine"
DEFAULT_LIMIT = 8 << 30
LONGEST_WRITE = 3600
"""Seconds after which a half-written file counts as one that a killed process left."""

MOST_TRIES = 100
"""To lock a file that those who hold its lock remove; a file system on which files are never the same has no locks."""

Stamp = tuple[int, int, int]
"""Which file, and as of when: inode, time of change, size."""

_UNREADABLE: Stamp = (-1, 0, 0)

Content: TypeAlias = bytes | memoryview


def head_of(engine: Content) -> bytes:
    """What stands in a file before the engine; it tells damage."""
    return MAGIC + zlib.crc32(engine).to_bytes(4, "little")


class EngineCache:
    """A folder of engines.

    Args:
        folder: made when something is written.
        limit: bytes that the engines may have together.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = DEFAULT_LIMIT) -> None:
        self._folder, self._limit = Path(folder), limit

    def get_or_build(
        self, key: str, build: Callable[[], Content], accept: Callable[[Content], bool] = bool, report: Report | None = None
    ) -> Content:
        """The engine with this key, from the folder or from `build`; others that want the same one, here or in other processes, wait.

        Args:
            key: see `content_key`.
            build: makes the engine.
            accept: says whether the engine's library takes bytes from the folder; if not they are built anew. They are the mapped file,
                which is there as long as anything refers to them; what is written to them changes no file.
            report: told, while another builds, that this one waits; says False to wait no longer.

        Raises:
            ModelLoadCanceled: `report` said not to go on.
        """
        found, refused = self._accepted(key, accept, None)
        if found is not None:
            return found
        with self._locked(key, report):
            found, _ = self._accepted(key, accept, refused)
            if found is not None:
                return found
            built = build()
            self._write(key, built)
        return built

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def _accepted(self, key: str, accept: Callable[[Content], bool], refused: Stamp | None) -> tuple[Content | None, Stamp | None]:
        """The engine in the folder if it is taken, and which file was looked at; one that was `refused` before is not looked at again."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = status.st_ino, status.st_mtime_ns, status.st_size
                engine = None if stamp == refused else self._read(file, path)
        except FileNotFoundError:
            return None, None
        except OSError as error:
            if refused is None:
                logger.warning("the engine cache '%s' cannot be read (%s): the engine is built again", path, error.strerror or error)
            return None, _UNREADABLE
        if engine is None or not accept(engine):
            return None, stamp
        with suppress(OSError):
            os.utime(path)
        return engine, stamp

    def _read(self, file: BinaryIO, path: Path) -> Content | None:
        content = _mapped(file)
        size = len(head_of(b""))
        if content[:size] == head_of(content[size:]):
            return content[size:]
        logger.warning("'%s' is damaged or was not written by onnxgpu: the engine is built again", path)
        return None

    def _write(self, key: str, engine: Content) -> None:
        path = self._path(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(head_of(engine))
                file.write(engine)
            self._evict(keep=path)
        except OSError as error:
            logger.warning(
                "the engine could not be kept in '%s' (%s): the next start builds it again; choose another folder or make room",
                self._folder,
                error.strerror or error,
            )

    def _evict(self, keep: Path) -> None:
        """Remove the engines that were not used for the longest time until the rest is within the limit, and old half-written files."""
        files = sorted(((s.st_mtime_ns, s.st_size, path) for path, s in self._files()), reverse=True)
        total = 0
        for _, size, path in files:
            total += size
            if total > self._limit and path != keep:
                with suppress(OSError):
                    path.unlink()
                    logger.info("'%s' leaves the engine cache, which may have %d bytes: it was not used for longest", path, self._limit)
                total -= size
        for half in self._folder.glob(f".*{SUFFIX}.*"):
            with suppress(OSError):
                if time.time() - half.stat().st_mtime > LONGEST_WRITE:
                    half.unlink()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                yield path, path.stat()

    @contextmanager
    def _locked(self, key: str, report: Report | None) -> Iterator[None]:
        """One at a time, where the system and the folder have locks; the system frees those of killed processes."""
        file = self._lock(self._folder / f"{key}.lock", report)
        if file is None:
            yield
            return
        with file:
            try:
                yield
            finally:
                with suppress(OSError):
                    Path(file.name).unlink()

    def _lock(self, path: Path, report: Report | None) -> BinaryIO | None:
        """The file of a lock that this thread holds now; None where there are no locks."""
        try:
            import fcntl

            self._folder.mkdir(parents=True, exist_ok=True)
            for _ in range(MOST_TRIES):
                file = path.open("wb")
                try:
                    self._wait(lambda held: fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB), file, report)
                    if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                        return file
                except FileNotFoundError:
                    pass  # who held the lock removed the file: the lock is that of the next file
                except BaseException:
                    file.close()
                    raise
                file.close()
        except (ImportError, OSError):
            pass
        return None

    def _wait(self, lock: Callable[[BinaryIO], None], file: BinaryIO, report: Report | None) -> None:
        while True:
            try:
                lock(file)
            except BlockingIOError:
                if report is not None and not report("waiting for another process", 0, 0):
                    raise ModelLoadCanceled(f"waiting for '{file.name}' was cancelled") from None
                time.sleep(POLL_SECONDS)
            else:
                return


def _mapped(file: BinaryIO) -> memoryview:
    if not os.fstat(file.fileno()).st_size:
        return memoryview(b"")
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
