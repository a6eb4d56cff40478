"""RunOptions: the options of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from onnxgpu.options.fields import Options

if TYPE_CHECKING:
    from onnxgpu.adapters import LoraAdapter


class RunOptions(Options):
    """Options of one run.

    Attributes:
        log_severity_level: least severity that this run logs, 0 (verbose) to 4 (fatal); -1: the session's.
        log_verbosity_level: accepted; onnxgpu has one level of verbose logging.
        logid: stands in the messages of this run.
        only_execute_path_to_fetches: accepted; a run never executes more than its outputs need.
        terminate: set from another thread, it ends the run after the step it is in.
    """

    __slots__ = ("_adapters", "log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches", "terminate")

    field_types: ClassVar[dict[str, type]] = {
        "log_severity_level": int,
        "log_verbosity_level": int,
        "logid": str,
        "only_execute_path_to_fetches": bool,
        "terminate": bool,
    }

    def __init__(self) -> None:
        super().__init__()
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.only_execute_path_to_fetches = False
        self.terminate = False
        self._adapters: tuple[LoraAdapter, ...] = ()

    def add_active_adapter(self, adapter: LoraAdapter) -> None:
        """Feed the parameters of `adapter` in this run; where several have the same one, the first counts.

        Raises:
            TypeError: it is no `LoraAdapter`.
        """
        from onnxgpu.adapters import LoraAdapter

        if not isinstance(adapter, LoraAdapter):
            raise TypeError(f"add_active_adapter(): incompatible function arguments. It wants a LoraAdapter, got {adapter!r}")
        self._adapters = (*self._adapters, adapter)

    @property
    def active_adapters(self) -> tuple[LoraAdapter, ...]:
        """The adapters that were added, in order."""
        return self._adapters

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Set a configuration entry of this run.

        Raises:
            TypeError: one of the two is no `str`.
            RuntimeError: the key is empty or longer than 1024 characters.
        """
        self._add_entry(key, value)

    def get_run_config_entry(self, key: str) -> str:
        """The value of a configuration entry.

        Raises:
            RuntimeError: it was never set.
        """
        return self._entry(key)
