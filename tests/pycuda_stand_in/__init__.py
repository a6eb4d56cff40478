"""A strict stand-in of PyCUDA on the emulated device: its names, its parameters, its stack of contexts; `MODULES` are its modules.

What PyCUDA has was read from its sources (`read_api.py`) and is in `api.json`; a name or an argument that is not there is refused as
PyCUDA would refuse it.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tests.pycuda_stand_in import arrays, driver
from tests.pycuda_stand_in.surface import module

_ERRORS = {name: getattr(driver, name) for name in ("Error", "MemoryError", "LogicError", "LaunchError", "RuntimeError")}
_FUNCTIONS = ("init", "mem_alloc", "mem_get_info", "memcpy_htod", "memcpy_htod_async", "memcpy_dtoh", "memcpy_dtoh_async")
_CLASSES = ("Device", "Context", "Stream", "Event", "DeviceAllocation", "event_flags", "device_attribute")
_POOLS = {name: getattr(arrays, name) for name in ("DeviceMemoryPool", "PageLockedMemoryPool")}


def _modules() -> dict[str, ModuleType]:
    functions = {name: getattr(driver, name) for name in (*_FUNCTIONS, "memcpy_dtod_async", "memcpy_peer_async")}
    pools = {"PooledDeviceAllocation": arrays.PooledDeviceAllocation}
    classes = {name: getattr(driver, name) for name in _CLASSES} | _ERRORS | pools
    of_arrays = {"GPUArray": arrays.GPUArray, "_ArrayFlags": arrays._ArrayFlags}
    made = {
        "pycuda.driver": module("pycuda.driver", functions, classes, {}),
        "pycuda.gpuarray": module("pycuda.gpuarray", {"to_gpu": arrays.to_gpu}, of_arrays, {}),
        "pycuda.tools": module("pycuda.tools", {}, _POOLS, {}),
    }
    package = ModuleType("pycuda")
    package.__spec__ = ModuleSpec("pycuda", None, origin="stand-in", is_package=True)
    package.__path__ = []
    parts: dict[str, Any] = {name.partition(".")[2]: part for name, part in made.items()}
    vars(package).update(parts)
    return {"pycuda": package, **made}


MODULES = _modules()
"""For `sys.modules`."""
