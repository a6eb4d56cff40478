"""How the emulated device behaves."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from onnxgpu.errors import InvalidArgument

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """The emulated device's settings.

    Attributes:
        lazy: streams run when something waits for them and not before, so that a missing wait gives a wrong result.
        checked: kernels report accesses out of bounds or off their alignment, reads of what nobody wrote, races, and
            barriers that not all threads reach, with file and line.
        schedule: the order of blocks and threads: 0 as numbered, 1 reversed, any other number seeds a random one.
        devices: how many devices there are.
        capability: the compute capability they report, 90 for 9.0.
        memory: bytes of memory of each device, in MB where it is given as text.
        peers: the devices can access each other's memory; `peers=0` for some that cannot.
    """

    lazy: bool = False
    checked: bool = False
    schedule: int = 0
    devices: int = 1
    capability: int = 90
    memory: int = 8192 * _MEGABYTE
    peers: bool = True

    @classmethod
    def parse(cls, text: str) -> Settings:
        """Settings as an environment variable holds them: `lazy,checked,schedule=7,devices=2,memory=512`.

        Raises:
            InvalidArgument: a word is no setting, or its value no number.
        """
        known = {field.name: field.default for field in fields(cls)}
        settings = cls()
        for word in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = word.partition("=")
            if name not in known:
                raise InvalidArgument(f"the emulated device has no setting {name!r}; it has {', '.join(known)}")
            try:
                number = int(value) if value else 1
            except ValueError:
                raise InvalidArgument(f"the emulated device's setting {name!r} wants a number, got {value!r}") from None
            parsed = bool(number) if isinstance(known[name], bool) else number * _MEGABYTE if name == "memory" else number
            changed: dict[str, Any] = {name: parsed}
            settings = replace(settings, **changed)
        return settings
