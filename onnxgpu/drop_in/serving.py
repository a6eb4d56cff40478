"""`as_onnxruntime`: put onnxgpu in the place of onnxruntime, and take it away again."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Self

from onnxgpu import provider_override
from onnxgpu.log import logger
from onnxgpu.provider_override import Requested
from onnxgpu.selection import checked_providers


class Serving:
    """onnxgpu in the place of onnxruntime, until `undo()` or the end of a `with` block.

    Args:
        providers: what sessions use in place of the providers that programs name; None: what they name.
    """

    def __init__(self, providers: Sequence[Requested] | None) -> None:
        from onnxgpu.drop_in.modules import OnnxruntimeFinder, imported

        self._replaced: dict[str, ModuleType] = imported()
        self._providers_before = provider_override.forced()
        self._finder = OnnxruntimeFinder()
        self._active = True
        if providers is not None:
            provider_override.force(providers)
        for name in self._replaced:
            del sys.modules[name]
        sys.meta_path.insert(0, self._finder)

    def undo(self) -> None:
        """Everything as before: the modules of onnxruntime that were imported, and the providers that programs name.

        Modules that imported onnxruntime meanwhile keep what they got.
        """
        from onnxgpu.drop_in.modules import imported

        if not self._active:
            return
        self._active = False
        provider_override.force(self._providers_before)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for name in imported():
            del sys.modules[name]
        sys.modules.update(self._replaced)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.undo()


def as_onnxruntime(providers: str | Sequence[Requested] | None = None) -> Serving:
    """From here on, `import onnxruntime` gives onnxgpu, also where the real one is installed or imported.

    Args:
        providers: names, or (name, options), that every session uses in place of those that programs name.

    Returns:
        A handle: `undo()`, or use in a `with` statement, ends it.

    Raises:
        InvalidArgument: a provider that nobody knows, or an option that it does not have.

    Warns:
        UserWarning: modules that were imported before hold the real onnxruntime and keep it; names them.
    """
    from onnxgpu.drop_in.modules import real_modules_kept

    forced = None if providers is None else checked_providers([providers] if isinstance(providers, str) else providers)
    keepers = real_modules_kept()
    if keepers:
        warnings.warn(
            f"onnxruntime was imported before as_onnxruntime(): {', '.join(keepers)} keep the real one; call as_onnxruntime() first",
            UserWarning,
            stacklevel=2,
        )
    serving = Serving(forced)
    logger.info("`import onnxruntime` gives onnxgpu from here on")
    return serving
