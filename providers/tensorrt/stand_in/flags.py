"""Flags of an object: a bit for each member of an enum."""

from __future__ import annotations

from typing import Any


class Flags:
    """Turns flags on and off.

    Attributes:
        flags: a bit for each.
    """

    flags: int

    def set_flag(self, flag: Any) -> None:
        """Turn one on."""
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Turn one off."""
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Whether one is on."""
        return bool(self.flags >> int(flag) & 1)
