"""Every session made in tests has its invariants checked after every stage."""

from __future__ import annotations

import os

os.environ.setdefault("ONNXGPU_CHECK", "1")
