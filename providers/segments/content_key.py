"""A name for what is compiled: equal exactly where graph, weights, options, versions and device are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel


def content_key(model: CutModel, facts: Iterable[object]) -> str:
    """64 hexadecimal digits. Weights are read where they lie; only what is in the model itself is copied.

    Args:
        model: a segment; names of its nodes count, since engines keep them.
        facts: everything else the result of compiling depends on, in an order that does not change.
    """
    digest = hashlib.sha256(model.proto.SerializeToString(deterministic=True))
    for name, array in sorted(model.weights.items()):
        digest.update(f"\0{name}\0".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    for fact in facts:
        digest.update(f"\0{fact!r}".encode())
    return digest.hexdigest()
