"""RunOptions: the options of one run."""

from __future__ import annotations

from typing import ClassVar

from onnxgpu.options.fields import Options


class RunOptions(Options):
    """Options of one run.

    Attributes:
        log_severity_level: least severity that this run logs, 0 (verbose) to 4 (fatal); -1: the session's.
        log_verbosity_level: accepted; onnxgpu has one level of verbose logging.
        logid: stands in the messages of this run.
        only_execute_path_to_fetches: accepted; a run never executes more than its outputs need.
        terminate: set from another thread, it ends the run after the step it is in.
    """

    __slots__ = ("log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches", "terminate")

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
