"""What is in effect while one session is made or runs: its log settings, its number of threads, denormals as zero."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from onnxgpu.errors import Fail
from onnxgpu.log import LogScope, logger, logging_as, scope_for
from onnxgpu.options import RunOptions, SessionOptions
from onnxgpu.provider import Provider, RunSettings

_global_lock = threading.Lock()
_global_threads: int | None = None


def set_global_thread_pool_sizes(intra_op_num_threads: int = 0, inter_op_num_threads: int = 0) -> None:
    """How many threads sessions with `use_per_session_threads = False` use for one node; 0: as many as there are cores.

    Args:
        intra_op_num_threads: the caller's included.
        inter_op_num_threads: accepted; nodes run one after the other.

    Raises:
        Fail: the size was set before, and a session may already use it.
        TypeError: one of the two is no integer.
    """
    global _global_threads
    if not (hasattr(intra_op_num_threads, "__index__") and hasattr(inter_op_num_threads, "__index__")):
        raise TypeError("set_global_thread_pool_sizes(): incompatible function arguments. It wants two numbers of threads")
    with _global_lock:
        if _global_threads is not None:
            raise Fail("Global thread pools have already been created, cannot replace them")
        _global_threads = max(0, int(intra_op_num_threads))


class Surroundings:
    """The settings of a session, to be entered whenever it works.

    Args:
        options: of the session.

    Raises:
        Fail: a log severity that does not exist, or the global number of threads is wanted and was never set.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.scope = scope_for(options.log_severity_level, options.logid)
        self._settings = RunSettings(_threads(options), options.config_entries.get("session.set_denormal_as_zero") == "1")
        self._providers: tuple[Provider, ...] = ()

    def prepare(self, providers: Sequence[Provider]) -> None:
        """Tell `providers` the settings, if there are any."""
        if self._settings != RunSettings():
            self._providers = tuple(provider for provider in providers if type(provider).running is not Provider.running)
            for provider in providers:
                provider.prepare(self._settings)

    @property
    def are_plain(self) -> bool:
        """True if there is nothing to enter for a run without options."""
        return not self._providers and self.scope == LogScope()

    @property
    def are_threads(self) -> bool:
        """True if a run without options has nothing to enter but the number of threads, which plain calls do not ask for."""
        return self.scope == LogScope() and not self._settings.flush_denormals

    def entered(self, run_options: RunOptions | None = None) -> AbstractContextManager[None]:
        """The settings are in effect on this thread; those of a run come before those of the session.

        Raises:
            Fail: a log severity that does not exist.
        """
        if run_options is None and len(self._providers) == 1 and self.scope == LogScope():
            return self._providers[0].running(self._settings)
        return self._entered(run_options)

    @contextmanager
    def _entered(self, run_options: RunOptions | None) -> Iterator[None]:
        with ExitStack() as stack:
            scope = self.scope
            if run_options is not None:
                scope = scope_for(run_options.log_severity_level, run_options.logid, scope, what="run")
            stack.enter_context(logging_as(scope))
            for provider in self._providers:
                stack.enter_context(provider.running(self._settings))
            if run_options is not None and run_options.logid:
                logger.info("Running with tag: %s", run_options.logid)
            yield


def _threads(options: SessionOptions) -> int:
    if options.use_per_session_threads:
        return max(0, options.intra_op_num_threads)
    if _global_threads is None:
        raise Fail("use_per_session_threads is False, but there are no global threads: call set_global_thread_pool_sizes() first")
    return _global_threads
