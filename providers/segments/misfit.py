"""Why an engine out of a model cannot run here: its version and its hardware are looked at before it is read."""

from __future__ import annotations


def misfit(version: str, hardware: str, version_here: str, hardware_here: str) -> str | None:
    """Why an engine cannot run here; None if it is of the same version, for the same hardware, as far as it says.

    Args:
        version: of the library that made it; may be given in part, as `2026.4` for `2026.4.1`; "": not known.
        hardware: that it was made for; "": not known.
        version_here: of the library.
        hardware_here: as the provider writes it into engines.
    """
    if version and version != version_here and not version_here.startswith((f"{version}.", f"{version}-")):
        return f"was compiled by version {version} of its library, and here is {version_here}"
    if hardware and hardware != hardware_here:
        return f"was compiled for {hardware}, and here is {hardware_here}"
    return None
