"""Tensor data that a program holds in memory and gives in place of what the model file has."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class SuppliedData:
    """Initializers and files from memory.

    Attributes:
        initializers: by name; replaces any initializer, and names that the model does not have are left alone.
        external_initializers: by name; replaces initializers with external data, and each name has to be one.
        files: contents of external data files by location; if there are any, no file is read.
    """

    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    external_initializers: dict[str, np.ndarray] = field(default_factory=dict)
    files: dict[str, np.ndarray] = field(default_factory=dict)
