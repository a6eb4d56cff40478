"""How long TensorRT's ways of computing an operator took, kept in a file, so that they are not measured again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from onnxgpu.atomic_file import whole_file
from onnxgpu.log import logger
from onnxgpu.providers.tensorrt.settings import BuildSettings


def timing_cache_file(folder: str, capability: str) -> str:
    """The path of the file for GPUs of a compute capability, `90`, with the name that onnxruntime gives it."""
    return str(Path(folder or ".") / f"TensorrtExecutionProvider_cache_sm{capability}.timing")


def attach_timing_cache(config: Any, settings: BuildSettings) -> Any:
    """Give a build the times that were kept; None if none are to be. The cache has to live as long as the build."""
    if not settings.timing_cache:
        return None
    path = Path(settings.timing_cache)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    for content in (_read(path), b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, settings.ignores_timing_mismatch):
            return cache
        logger.warning(
            "TensorRT does not take the timing cache '%s': it measures anew; remove the file, or set trt_force_timing_cache", path
        )
    return None


def keep_timing_cache(config: Any, cache: Any, settings: BuildSettings) -> None:
    """Write what the build measured, beside what others wrote meanwhile."""
    if cache is None:
        return
    path = Path(settings.timing_cache)
    try:
        with _locked(path):
            others = config.create_timing_cache(_read(path))
            if others is not None:
                cache.combine(others, settings.ignores_timing_mismatch)
            with whole_file(path) as file:
                file.write(bytes(cache.serialize()))
    except OSError as error:
        logger.warning("the timing cache '%s' cannot be written (%s): the next build measures again", path, error.strerror or error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        logger.warning("the timing cache '%s' cannot be read (%s): TensorRT measures anew", path, error.strerror or error)
        return b""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
