"""Engines out of models: whether they were made by this version of a library, for this hardware."""

from __future__ import annotations

from onnxgpu.errors import EPFail
from onnxgpu.segment_provider import Engine, Segment


def check_fit(provider: str, segment: Segment, engine: Engine, version: str, hardware: str) -> None:
    """Refuse an engine of another version of the library, or for other hardware, than there is here.

    Args:
        provider: its name.
        segment: that the engine is for.
        engine: what it does not say of itself is not checked; a version may be given in part, as `2026.4` of `2026.4.1`.
        version: of the library here.
        hardware: here, as the provider writes it.

    Raises:
        EPFail: says what the engine wants, and what is here.
    """
    if engine.version and engine.version != version and not version.startswith((f"{engine.version}.", f"{engine.version}-")):
        raise EPFail(refusal(provider, segment, f"was compiled by version {engine.version} of its library, and here is {version}"))
    if engine.hardware and engine.hardware != hardware:
        raise EPFail(refusal(provider, segment, f"was compiled for {engine.hardware}, and here is {hardware}"))


def refusal(provider: str, segment: Segment, reason: str) -> str:
    """The text of an error: the engine of `segment` cannot be used for `reason`, and what to do."""
    return f"the engine '{segment.name}' of {provider} {reason}; compile the model here, or with what is here, by ModelCompiler"
