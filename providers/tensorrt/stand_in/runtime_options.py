"""How an engine is serialised, and who allocates for its contexts."""

from __future__ import annotations

from typing import Any

from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements


@implements("ISerializationConfig")
class SerializationConfig:
    """Flags of `serialize_with_config`."""

    def __init__(self) -> None:
        self._flags = 0

    @property
    def flags(self) -> int:
        """A bit for each."""
        return self._flags

    @flags.setter
    def flags(self, flags: int) -> None:
        if flags >> (max(map(int, enum("SerializationFlag").__members__.values())) + 1):
            raise RuntimeError("Provided serialization flags is incorrect")
        self._flags = flags

    def set_flag(self, flag: Any) -> bool:
        """Turn one on."""
        self._flags |= 1 << int(flag)
        return True

    def clear_flag(self, flag: Any) -> bool:
        """Turn one off."""
        self._flags &= ~(1 << int(flag))
        return True

    def get_flag(self, flag: Any) -> bool:
        """Whether one is on."""
        return bool(self._flags >> int(flag) & 1)

    def has(self, name: str) -> bool:
        """Whether the flag with this name is on; False in a version without it."""
        flag = getattr(enum("SerializationFlag"), name, None)
        return flag is not None and self.get_flag(flag)


@implements("IRuntimeConfig")
class RuntimeConfig:
    """Options of a context."""

    def __init__(self) -> None:
        self._strategy = enum("ExecutionContextAllocationStrategy").STATIC

    def set_execution_context_allocation_strategy(self, strategy: Any = None) -> None:
        """Who allocates."""
        self._strategy = enum("ExecutionContextAllocationStrategy").STATIC if strategy is None else strategy

    def get_execution_context_allocation_strategy(self) -> Any:
        """Who allocates."""
        return self._strategy
