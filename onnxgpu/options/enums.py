"""The enumerations of the options, with onnxruntime's names and numbers."""

from __future__ import annotations

from enum import Enum, IntEnum


class NamedInteger(IntEnum):
    """An integer that prints as its name."""

    __str__ = Enum.__str__


class GraphOptimizationLevel(NamedInteger):
    """How much the graph is rewritten before it is placed."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(NamedInteger):
    """Order of execution; onnxgpu always runs a plan, whose order is fixed."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(NamedInteger):
    """Accepted for compatibility; the plan decides the order."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


class OrtExecutionProviderDevicePolicy(NamedInteger):
    """Which device a session prefers that names no provider."""

    DEFAULT = 0
    PREFER_CPU = 1
    PREFER_NPU = 2
    PREFER_GPU = 3
    MAX_PERFORMANCE = 4
    MAX_EFFICIENCY = 5
    MIN_OVERALL_POWER = 6


class OrtCompileApiFlags(NamedInteger):
    """What `ModelCompiler` refuses to do; combine with `|`."""

    NONE = 0
    ERROR_IF_NO_NODES_COMPILED = 1
    ERROR_IF_OUTPUT_FILE_EXISTS = 2
