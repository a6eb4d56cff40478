"""What session and run options have in common: fields whose types are checked when they are set, and configuration entries."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Self

from onnxgpu.log import logger

LONGEST_KEY = 1024


class Options:
    """Fields whose types are checked when they are set, and configuration entries.

    A subclass declares its public fields and their types in `field_types`; other attributes are for internal use.
    """

    __slots__ = ("_config",)

    field_types: ClassVar[dict[str, type]] = {}

    def __init__(self) -> None:
        self._config: dict[str, str] = {}

    if not TYPE_CHECKING:  # a type checker is to see that a misspelt field does not exist

        def __setattr__(self, name: str, value: Any) -> None:
            wanted = self.field_types.get(name)
            checked = value if wanted is None else of_type(wanted, f"{type(self).__name__}.{name}", value)
            try:
                object.__setattr__(self, name, checked)
            except AttributeError as error:
                owner = f"onnxruntime.capi.onnxruntime_pybind11_state.{type(self).__name__}"
                raise AttributeError(f"{owner!r} object has no attribute {name!r}", name=name, obj=self) from error

    def _add_entry(self, key: str, value: str) -> None:
        key, value = text("a configuration key", key), text("a configuration value", value)
        if not 0 < len(key) <= LONGEST_KEY:
            raise RuntimeError(f"Config key is empty or longer than maximum length {LONGEST_KEY}")
        if key in self._config:
            logger.warning("Config with key [%s] already exists with value [%s]. It will be overwritten", key, self._config[key])
        self._config[key] = value

    def with_entry(self, key: str, value: str) -> Self:
        """A copy of these options with this value of a configuration entry."""
        made = copy(self)
        made._config = {**self._config, key: value}
        return made

    def _entry(self, key: str) -> str:
        if key not in self._config:
            raise RuntimeError(f"{type(self).__name__} does not have configuration with key: {key}")
        return self._config[key]


def of_type(wanted: type, where: str, value: Any) -> Any:
    """`value` as `wanted`.

    Raises:
        TypeError: it is of another type; says where it was given.
    """
    if wanted is bool and (isinstance(value, int) or type(value).__name__ == "bool"):
        return bool(value)
    if wanted is int and hasattr(value, "__index__"):
        return int(value)
    if not isinstance(value, wanted):
        raise TypeError(f"{where} wants {wanted.__name__}, got {type(value).__name__} {value!r}")
    return value


def text(where: str, value: Any) -> str:
    """`value`, which has to be a `str`.

    Raises:
        TypeError: it is not.
    """
    checked: str = of_type(str, where, value)
    return checked
