"""The checks of a provider's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Provider


def checked_provider_options(provider: type[Provider], options: Mapping[Any, Any]) -> dict[str, Any]:
    """`options` with every value parsed to the type that the provider declares for it.

    Raises:
        InvalidArgument: an option is unknown, or its value is not of that type.
    """
    parsed: dict[str, Any] = {}
    for key, value in options.items():
        kind = provider.option_types.get(str(key))
        if kind is None:
            known = ", ".join(sorted(provider.option_types)) or "none"
            raise InvalidArgument(f"{provider.name} has no option {str(key)!r}; it knows: {known}")
        try:
            parsed[str(key)] = _parsed(kind, provider.option_value(str(key), value))
        except (ValueError, TypeError, OverflowError):
            raise InvalidArgument(f"option {str(key)!r} of {provider.name} wants {kind.__name__}, got {value!r}") from None
    return parsed


def _parsed(kind: type, value: Any) -> Any:
    """`value` as a bool, str or number, if nothing is lost."""
    if kind is bool:
        text = str(value).lower()
        if text in ("1", "true"):
            return True
        if text in ("0", "false"):
            return False
        raise ValueError(value)
    if kind is str:
        return str(value)
    result = kind(value)
    if isinstance(value, (int, float)) and result != value:
        raise ValueError(value)
    return result
