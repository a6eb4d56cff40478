"""What TensorRT tells of a build while it goes on."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxgpu.providers.segments.builds import Report
from onnxgpu.providers.tensorrt.library import tensorrt


def monitor_of(report: Report) -> Any:
    """A `tensorrt.IProgressMonitor` that calls `report`, from whichever of TensorRT's threads; `was_ended` once that says False."""
    return _monitor_class(tensorrt())(report)


@cache
def _monitor_class(module: Any) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]  # a class of an untyped module
        def __init__(self, report: Report) -> None:
            module.IProgressMonitor.__init__(self)
            self._report = report
            self._steps: dict[str, int] = {}
            self.was_ended = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._told(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return self._told(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            self._told(phase_name, self._steps.get(phase_name, 0))
            self._steps.pop(phase_name, None)

        def _told(self, phase: str, step: int) -> bool:
            if not self.was_ended and not self._report(phase, step, self._steps.get(phase, step)):
                self.was_ended = True
            return not self.was_ended

    return Monitor
