"""Compiled segments on disk: whole files only, one writer a key, the least recently used ones leave first.

A file is `MAGIC`, the SHA-256 of what follows, and the engine's bytes. One that is cut off, damaged or not ours is as good
as none. Nothing that goes wrong with the folder ends a run: the engine is built, and the log says what it costs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onnxgpu.atomic_file import whole_file
from onnxgpu.log import logger

MAGIC = b"onnxgpu engine 1\n"
SUFFIX = ".engine"
DEFAULT_LIMIT = 8 << 30
LONGEST_WRITE = 3600
"""Seconds after which a half-written file counts as one that a killed process left."""


class EngineCache:
    """A folder of engines.

    Args:
        folder: made when something is written.
        limit: bytes that the engines may have together.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = DEFAULT_LIMIT) -> None:
        self._folder, self._limit = Path(folder), limit

    def get_or_build(self, key: str, build: Callable[[], bytes], accept: Callable[[bytes], bool] = bool) -> bytes:
        """The engine with this key, from the folder or from `build`; other processes that want the same one wait.

        Args:
            key: see `content_key`.
            build: makes the engine.
            accept: says whether the engine's library takes bytes from the folder; if not they are built anew.
        """
        if (found := self._read(key)) is not None and accept(found):
            return found
        with self._locked(key):
            if (found := self._read(key)) is not None and accept(found):
                return found
            built = build()
            self._write(key, built)
        return built

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def _read(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("the engine cache '%s' cannot be read (%s): the engine is built again", path, error.strerror or error)
            return None
        head = len(MAGIC) + hashlib.sha256().digest_size
        engine = content[head:]
        if content[:head] != MAGIC + hashlib.sha256(engine).digest():
            logger.warning("'%s' is damaged or was not written by onnxgpu: the engine is built again", path)
            return None
        with suppress(OSError):
            os.utime(path)
        return engine

    def _write(self, key: str, engine: bytes) -> None:
        path = self._path(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(MAGIC + hashlib.sha256(engine).digest())
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
    def _locked(self, key: str) -> Iterator[None]:
        """One process at a time, where the system and the folder have locks; the kernel frees those of killed processes."""
        try:
            import fcntl

            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / f"{key}.lock").open("w")
        except (ImportError, OSError):
            yield
            return
        with file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
            with suppress(OSError):
                Path(file.name).unlink()
