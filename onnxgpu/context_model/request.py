"""What a session's configuration says of the model of compiled segments that it is to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxgpu.ep_context import OrtEpContextData
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.log import logger
from onnxgpu.provider import Provider
from onnxgpu.segment_provider import SegmentProvider

ENABLE, FILE_PATH = "ep.context_enable", "ep.context_file_path"
_WITHOUT_EFFECT = {
    "ep.share_ep_contexts": "each session has engines of its own",
    "ep.stop_share_ep_contexts": "each session has engines of its own",
    "ep.enable_weightless": "engines hold the weights that they need",
    "ep.enable_weightless_mode": "engines hold the weights that they need",
    "ep.enable_weightless_ep_context_nodes": "engines hold the weights that they need",
}


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """A model of compiled segments, to be written.

    Attributes:
        folder: where the model will lie; None: nobody knows.
        engine_folder: where files with engines go; None: nowhere.
        stem: how their names begin.
        embed: engines go into the model.
        prefix: how the names of its compiled nodes begin.
        external_file: for initializers of the nodes that are not compiled; "": they stay in the model.
        write: takes engines in place of files.
        path: of the model; None: it goes elsewhere.
    """

    folder: Path | None
    engine_folder: Path | None
    stem: str
    embed: bool = False
    prefix: str = ""
    external_file: str = ""
    write: Callable[[str, OrtEpContextData], None] | None = None
    path: Path | None = None


def requested(config: Mapping[str, str], providers: Sequence[Provider], source: Path | None) -> ContextRequest | None:
    """The request of a session; None if it makes none.

    Args:
        config: the session's entries, which come before those that options of `providers` stand for.
        providers: the session's.
        source: the path of its model, if it has one.

    Raises:
        InvalidArgument: the path to write to is a folder's, or there is none.
        Fail: there is a file already.
    """
    from_options = _entries_of(providers)
    entries = {**from_options, **config}
    if entries.get(ENABLE) != "1":
        return None
    tell_what_has_no_effect(entries)
    own = from_options.get(ENABLE) == "1" and FILE_PATH not in config
    path = _path(entries.get(FILE_PATH, ""), source, folder_allowed=own)
    if path.exists() and not own:
        raise Fail(
            f"Failed to generate EP context model since the file '\"{path}\"' exists already. Please remove the EP context model if you "
            "want to re-generate it."
        )
    return ContextRequest(
        folder=path.parent,
        engine_folder=path.parent,
        stem=path.stem,
        embed=entries.get("ep.context_embed_mode", "0") == "1",
        prefix=entries.get("ep.context_node_name_prefix", ""),
        external_file=entries.get("ep.context_model_external_initializers_file_name", ""),
        path=path,
    )


def tell_what_has_no_effect(config: Mapping[str, str]) -> None:
    """Log which of the entries of `config` change nothing, and why."""
    for key, reason in _WITHOUT_EFFECT.items():
        if config.get(key, "0") != "0":
            logger.warning("%s has no effect: %s", key, reason)


def _entries_of(providers: Sequence[Provider]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for provider in providers:
        if isinstance(provider, SegmentProvider):
            entries = {**provider.context_entries, **entries}
    return entries


def _path(given: str, source: Path | None, *, folder_allowed: bool) -> Path:
    if given and folder_allowed and Path(given).is_dir():
        return default_path(Path(given) / (source or Path("model.onnx")).name)
    if given:
        path = Path(given)
        if given.endswith(("/", os.sep)) or not path.suffix or path.is_dir():
            raise InvalidArgument(f"context_file_path should not point to a folder. '{given}' is one, or has no extension")
        return path
    if source is None:
        raise InvalidArgument(
            f"Both ep_context_path and model_path are empty. The model was given as bytes: set {FILE_PATH} to the path to write to"
        )
    return default_path(source)


def default_path(source: Path) -> Path:
    """`model_ctx.onnx` beside `model.onnx`."""
    return source.with_name(f"{source.stem}_ctx.onnx")
