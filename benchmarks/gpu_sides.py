"""The sides of a comparison on a GPU: a session of ours or of onnxruntime with everything on the device, or torch, on one stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import zip_longest
from typing import Any

import numpy as np

import onnxgpu
from benchmarks.gpu_cases import OperatorCase
from benchmarks.gpu_timing import Work

CUDA = "CUDAExecutionProvider"
_AS_IS = {"use_tf32": 0}
"""onnxruntime's options: it uses TF32 unless told otherwise."""


class Bound:
    """A session of onnxgpu or onnxruntime with its inputs and outputs on the device, on a stream of ours.

    Args:
        module: `onnxgpu` or `onnxruntime`.
        cp: `cupy`.
        model: a path or bytes.
        feeds: name → array.
        stream: where it computes.
        options: more of the provider's.
        outputs: like those of a run; given, they have memory of their own, which every run writes.
    """

    def __init__(
        self,
        module: Any,
        cp: Any,
        model: Any,
        feeds: Mapping[str, np.ndarray],
        stream: Any,
        options: Mapping[str, Any] | None = None,
        outputs: Sequence[np.ndarray] | None = None,
    ) -> None:
        given = {"user_compute_stream": str(stream.ptr), **(options or {})}
        self._session = module.InferenceSession(model, providers=[(CUDA, given), "CPUExecutionProvider"])
        if CUDA not in self._session.get_providers():
            raise RuntimeError(f"{module.__name__} does not use {CUDA} here: it has {self._session.get_providers()}")
        self.binding = self._session.io_binding()
        self._run_options = module.RunOptions()
        if module is not onnxgpu:  # which waits for no stream of the user's
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        with stream:
            self._inputs = {name: cp.asarray(array) for name, array in feeds.items()}
        stream.synchronize()
        for name, array in self._inputs.items():
            self.binding.bind_input(name, "cuda", cp.cuda.Device().id, array.dtype, array.shape, array.data.ptr)
        names = [output.name for output in self._session.get_outputs()]
        self._outputs = [cp.empty(like.shape, like.dtype) for like in outputs or ()]
        for name, array in zip_longest(names, self._outputs):
            place = () if array is None else (array.dtype, array.shape, array.data.ptr)
            self.binding.bind_output(name, "cuda", cp.cuda.Device().id, *place)

    def __call__(self) -> None:
        """One run."""
        self._session.run_with_iobinding(self.binding, self._run_options)

    def results(self) -> list[np.ndarray]:
        """The outputs of one run."""
        self()
        self.binding.synchronize_outputs()
        return [value.numpy() for value in self.binding.get_outputs()]


def in_onnxruntime(
    cp: Any, model: Any, feeds: Mapping[str, np.ndarray], stream: Any, *, graphs: bool = False, outputs: Sequence[np.ndarray] | None = None
) -> dict[str, Work]:
    """onnxruntime's session, and one that replays a CUDA graph if that is asked for; without those that it cannot make or run."""
    if not has_onnxruntime():
        return {}
    module, sides = import_module("onnxruntime"), dict[str, Work]()
    for name, graph in (("onnxruntime", 0), ("onnxruntime graph", 1))[: 1 + graphs]:
        try:
            side = Bound(module, cp, model, feeds, stream, {**_AS_IS, "enable_cuda_graph": graph}, outputs)
            for _ in range(3):
                side()
        except Exception as error:
            print(f"{name} does not run it: {type(error).__name__}: {str(error)[:200]}")
        else:
            sides[name] = side
    return sides


def in_torch(case: OperatorCase, cp: Any, feeds: Mapping[str, np.ndarray], stream: Any) -> Callable[[], object]:
    """The operator in torch, on the same stream."""
    torch = import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tensors = [torch.from_dlpack(cp.asarray(array)) for array in feeds.values()]
    external = torch.cuda.ExternalStream(stream.ptr)

    def run() -> None:
        with torch.no_grad(), torch.cuda.stream(external):
            case.torch(torch, *tensors)

    return run


def has_onnxruntime() -> bool:
    """True if onnxruntime has its CUDA provider here."""
    return find_spec("onnxruntime") is not None and CUDA in import_module("onnxruntime").get_available_providers()
