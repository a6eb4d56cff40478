"""What the builder measured, kept between builds: keys of layers, and the fastest tactic of each."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.host_memory import HostMemory
from onnxgpu.providers.tensorrt.stand_in.registry import implements, version
from onnxgpu.providers.tensorrt.stand_in.reports import Reports

MAGIC = b"stand-in timing cache\n"
INVALID = (0, math.nan)


@implements("TimingCacheKey")
class TimingCacheKey:
    """Sixteen bytes.

    Args:
        text: `0x` and 32 hexadecimal digits.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def parse(text: str) -> TimingCacheKey:
        """From its text.

        Raises:
            ValueError: it has another form.
        """
        if len(text) != 34:
            raise ValueError("The text should have exactly 34 characters.")
        if text[:2].lower() != "0x":
            raise ValueError("The text should start with prefix `0x` or `0X`.")
        if any(letter not in "0123456789abcdef" for letter in text[2:].lower()):
            raise ValueError("The text has invalid content.")
        return TimingCacheKey("0x" + text[2:].lower())

    def __str__(self) -> str:
        return self.text


@implements("TimingCacheValue")
class TimingCacheValue:
    """A tactic, and its milliseconds."""

    def __init__(self, tactic_hash: int, timing: float) -> None:
        self.tacticHash, self.timingMSec = tactic_hash, timing


@implements("ITimingCache")
class TimingCache:
    """Made by a configuration.

    Attributes:
        platform: the GPU that it was measured on.
        entries: key → tactic and milliseconds.
    """

    def __init__(self, reports: Reports, platform: str) -> None:
        self._reports, self.platform = reports, platform
        self.version = version()
        self.entries: dict[str, tuple[int, float]] = {}

    @classmethod
    def restored(cls, content: bytes, reports: Reports, platform: str) -> TimingCache | None:
        """The cache of `serialize`; an empty one of no bytes; None if the bytes are of something else."""
        cache = cls(reports, platform)
        if not content:
            return cache
        if not content.startswith(MAGIC):
            reports.error("IBuilderConfig::createTimingCache", "Timing cache deserialization failed", "UNSPECIFIED_ERROR")
            return None
        digest, _, text = content[len(MAGIC) :].partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            reports.error("IBuilderConfig::createTimingCache", "Timing cache is damaged", "UNSPECIFIED_ERROR")
            return None
        found = json.loads(text)
        cache.version, cache.platform = found["version"], found["platform"]
        cache.entries = {key: (int(value[0]), float(value[1])) for key, value in found["entries"].items()}
        return cache

    def serialize(self) -> HostMemory:
        """As bytes."""
        text = json.dumps({"version": self.version, "platform": self.platform, "entries": self.entries}, sort_keys=True).encode()
        return HostMemory(MAGIC + hashlib.sha256(text).hexdigest().encode() + b"\n" + text)

    def combine(self, input_cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Add the other's entries that are not here."""
        if input_cache.version != self.version or (input_cache.platform != self.platform and not ignore_mismatch):
            self._reports.error("ITimingCache::combine", "the caches are of different versions or devices", "INVALID_STATE")
            return False
        self.entries = {**input_cache.entries, **self.entries}
        return True

    def reset(self) -> bool:
        """Empty it."""
        self.entries.clear()
        return True

    def queryKeys(self) -> list[TimingCacheKey]:
        """Every key."""
        return [TimingCacheKey(key) for key in sorted(self.entries)]

    def query(self, key: TimingCacheKey) -> TimingCacheValue:
        """The value, an invalid one if there is none."""
        return TimingCacheValue(*self.entries.get(str(key), INVALID))

    def update(self, key: TimingCacheKey, value: TimingCacheValue) -> bool:
        """Change an entry, or remove it where the time is not a number."""
        if str(key) not in self.entries:
            return False
        if math.isnan(value.timingMSec):
            del self.entries[str(key)]
        else:
            self.entries[str(key)] = (value.tacticHash, value.timingMSec)
        return True

    def fits_here(self, ignore_mismatch: bool, here: str) -> bool:
        """Whether a build on `here` may use it."""
        return self.version == version() and (ignore_mismatch or self.platform == here)


def key_of(*facts: Any) -> str:
    """The key of a layer with these facts."""
    return "0x" + hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
