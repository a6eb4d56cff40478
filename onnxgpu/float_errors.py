"""NumPy's floating-point warnings, off while a model runs: dividing by zero is what the model says, not a mistake.

NumPy keeps what it does about them in a context variable. `np.errstate` makes a new value for it every time, which takes longer
than adding two small arrays; here the value is made once, and set and reset by the variable's own methods, so that
nothing leaks to the caller, to another thread or to another task.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


def _ignoring() -> tuple[ContextVar[Any], Any] | None:
    """NumPy's variable and its value for "ignore all", found by letting NumPy set it in an empty context."""
    context = Context()
    before = np.geterr()
    context.run(np.seterr, all="ignore")
    if np.geterr() != before:
        np.seterr(**before)
        return None
    return next(iter(context.items())) if len(context) == 1 else None


_FOUND = _ignoring()


def quietly(function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` without floating-point warnings."""
    if _FOUND is None:
        with np.errstate(all="ignore"):
            return function(*arguments)
    variable, ignoring = _FOUND
    token = variable.set(ignoring)
    try:
        return function(*arguments)
    finally:
        variable.reset(token)
