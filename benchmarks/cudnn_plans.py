"""Which convolutions and attentions cuDNN has plans for, by cuDNN itself, for GPUs of three architectures, without any of them.

    python benchmarks/cudnn_plans.py --json plans.json

The graphs are those that the CUDA provider asks cuDNN for, on the emulated device, in the operator cases of the tests and in layers of
known networks, in each precision; for some convolutions cuBLASLt stands before it. Another process builds them with cuDNN, which needs
of a device nothing but its properties; stubs stand in for the driver. That process runs a Python with nvidia-cudnn-cu13,
nvidia-cublas, nvidia-cudnn-frontend and NumPy (`--python`), or a new virtual environment that the script installs them into. Linux and
a C compiler are needed. What has no plan runs by another library or our own kernel; a graph that fails in another way is a fault, and
the exit status is 1. A plan that builds has not been run.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

os.environ.setdefault("ONNXGPU_CUDA", "emulated")

import numpy as np

from benchmarks.report import print_table, save_json
from benchmarks.side import child_environment
from onnxgpu.operators import Registry
from onnxgpu.provider import Claim, Operation, Spec, ValueInfo
from onnxgpu.providers.cuda.device import cupy
from onnxgpu.providers.cuda.libraries import convolutions, fused_attention
from onnxgpu.providers.cuda.libraries.attention_graphs import Attention
from onnxgpu.providers.cuda.libraries.convolution_graphs import Convolution
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.libraries.plan_search import Problem
from onnxgpu.providers.cuda.operators.attention import OPERATORS as ATTENTION_OPERATORS
from onnxgpu.providers.cuda.registry import REGISTRY as OWN
from tests.cases import Case, all_cases

PACKAGES = ("nvidia-cudnn-cu13>=9.12", "nvidia-cublas>=13.0,<14", "nvidia-cudnn-frontend>=1.22,<1.30", "numpy>=2.0")
"""Installed without what they depend on."""
PRECISIONS = (("float", False), ("float", True), ("float16", False), ("bfloat16", False))
"""Of convolutions: element type, and whether TF32 is allowed."""

PROPERTIES = {
    "pciDeviceId": 0, "cudaDeviceId": 0, "driverVer": 13000, "isTccDriver": 0, "supportCoopLaunch": 1, "warpSize": 32,
    "maxBlockSize": [1024, 1024, 64], "maxGridSize": [2147483647, 65535, 65535], "maxThreadsPerBlock": 1024,
    "maxThreadsPerMultiProcessor": 2048, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32, "regsPerBlock": 65536, "maxRegistersPerSM": 65536,
    "reservedSharedMemoryPerBlock": 1024, "maxSharedMemoryPerBlock": 49152, "oversizedSharedMemoryPerBlock": 0,
    "maxSharedMemoryPerBlockOptin": 232448, "maxSharedMemoryPerMultiprocessor": 233472, "clusterLaunch": 1,
    "totalGlobalMem": 85899345920,
}  # fmt: skip
"""As cuDNN's front end names them; in bytes and kHz."""
DEVICES = {
    80: {
        "name": "NVIDIA A100", "multiProcessorCount": 108, "smClockRateKHz": 1410000, "memClockRateKHz": 1215000, "memoryBusWidth": 5120,
        "l2CacheSize": 41943040, "maxSharedMemoryPerBlockOptin": 166912, "maxSharedMemoryPerMultiprocessor": 167936, "clusterLaunch": 0,
    },
    90: {
        "name": "NVIDIA H100", "multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "memoryBusWidth": 5120,
        "l2CacheSize": 52428800,
    },
    100: {
        "name": "NVIDIA B200", "multiProcessorCount": 148, "smClockRateKHz": 1965000, "memClockRateKHz": 3996000, "memoryBusWidth": 8192,
        "l2CacheSize": 132644864,
    },
}  # fmt: skip
"""Architecture → what a GPU of it has besides `PROPERTIES`."""

HANDLES = (
    "cuCtxGetCurrent cuKernelGetFunction cuLibraryGetKernel cuLibraryLoadData cuLibraryLoadFromFile cuModuleGetFunction cuModuleLoadData"
)
IDLE = "cuKernelSetAttribute cuLibraryUnload cuModuleUnload"
REFUSED = (
    "cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuGetProcAddress_v2 cuInit cuLaunchCooperativeKernel cuLaunchKernel cuLaunchKernelEx "
    "cuLinkAddData cuLinkComplete cuLinkCreate cuLinkDestroy cuStreamGetCtx cuTensorMapEncodeIm2col cuTensorMapEncodeTiled"
)
NUMBERS = {
    "cuDeviceGet": 0, "cuDeviceGetCount": 1, "cuDriverGetVersion": 13000, "cuKernelGetAttribute": 128,
    "cuOccupancyMaxPotentialClusterSize": 1,
}  # fmt: skip
"""Functions of the driver that cuDNN looks up: those that give a handle, do nothing, fail, and give a number."""
_RUNTIME = """#include <string.h>
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaGetDeviceProperties(void *properties, int device) {
    const int capability[2] = {ARCHITECTURE / 10, ARCHITECTURE % 10};
    (void)device;
    memset(properties, 0, 1000);
    memcpy((char *)properties + 360, capability, sizeof capability); /* major and minor of cudaDeviceProp */
    return 0;
}
const char *cudaGetErrorString(int error) { (void)error; return "no GPU"; }
"""

Request = tuple[Problem, ...]
"""What a kernel asks for: of a convolution that with all that follows it, then with less, down to the convolution alone."""


class Asked:
    """In place of a device's `Plans`: keeps what is asked for, and has none."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def first(self, wanted: Iterable[Any]) -> Any:
        """See `Plans.first`.

        Raises:
            NotCovered: always.
        """
        self.requests.append(tuple(dict.fromkeys(wanted)))
        raise NotCovered("nothing is built here")


def convolution_requests(cases: Iterable[Case]) -> list[Request]:
    """The distinct ones, in the order of the cases, each in every precision."""

    def ask(claim: Claim, case: Case) -> None:
        claim.build().workspace([None if x is None else Spec(x.shape, x.dtype) for x in case.inputs])

    asked: list[tuple[Convolution, ...]] = _asked(cases, convolutions.REGISTRY, np, ask)
    return list(
        dict.fromkeys(
            tuple(replace(convolution, dtype=dtype, tf32=tf32) for convolution in request)
            for dtype, tf32 in PRECISIONS
            for request in asked
        )
    )


def attention_requests(cases: Iterable[Case]) -> list[Request]:
    """The distinct ones, of float16 and bfloat16. What stands before attention in an operator runs on the device."""
    xp = cupy()

    def ask(claim: Claim, case: Case) -> None:
        own = OWN.claim(xp, _operation(case))  # which says what it takes from the host
        assert isinstance(own, Claim)
        inputs = [x if x is None or i in own.host_inputs else xp.asarray(x) for i, x in enumerate(case.inputs)]
        claim.build().launch(inputs, None, None)

    halved = [replace(case, inputs=[_halved(x) for x in case.inputs]) for case in cases]
    asked: list[tuple[Attention]] = _asked(halved, fused_attention.REGISTRY, xp, ask)
    other = {"float16": "bfloat16"}
    brain = [(replace(each, dtype="bfloat16", bias_dtype=other.get(each.bias_dtype, each.bias_dtype)),) for (each,) in asked]
    return list(dict.fromkeys((*asked, *brain)))


def _asked(cases: Iterable[Case], registry: Registry, xp: Any, ask: Callable[[Claim, Case], None]) -> list[Any]:
    """What the kernels of `registry` ask their plans for, while `ask` is made to."""
    asked = Asked()
    for case in cases:
        claim = registry.claim(Context(xp, lambda: asked, False), _operation(case))
        if isinstance(claim, Claim):
            with suppress(NotCovered):
                ask(claim, case)
    return asked.requests


def _halved(x: np.ndarray | None) -> np.ndarray | None:
    return x if x is None or x.dtype != np.float32 else x.astype(np.float16)


def _operation(case: Case) -> Operation:
    inputs = tuple(None if x is None else ValueInfo(f"x{i}", x.dtype, x.shape) for i, x in enumerate(case.inputs))
    attributes = {name: tuple(value) if isinstance(value, list) else value for name, value in case.attributes.items()}
    return Operation(
        case.operator, inputs, tuple(ValueInfo(f"y{i}") for i in range(case.outputs)), case.domain, case.opset, "case", attributes
    )


def convolution_cases() -> list[Case]:
    """Of the tests."""
    return [case for case in all_cases() if case.operator in ("Conv", "FusedConv", "ConvTranspose")]


def attention_cases() -> list[Case]:
    """Of the tests."""
    names = {(domain, name) for domain, name, _ in ATTENTION_OPERATORS}
    return [case for case in all_cases() if (case.domain, case.operator) in names]


def attention_layers() -> Iterator[Case]:
    """Of networks: BERT, GPT-2, ViT, Llama with grouped heads, Stable Diffusion and Whisper."""
    for heads, key_heads, queries, keys, size, causal in (
        (12, 12, 128, 128, 64, 0),
        (12, 12, 128, 128, 64, 1),
        (6, 6, 197, 197, 64, 0),
        (32, 8, 256, 256, 128, 1),
        (8, 8, 1024, 1024, 40, 0),
        (8, 8, 1024, 77, 80, 0),
        (8, 8, 256, 256, 160, 0),
        (8, 8, 1500, 1500, 64, 0),
    ):
        shapes = ((1, heads, queries, size), (1, key_heads, keys, size), (1, key_heads, keys, size))
        yield Case("Attention", [_numbers(shape) for shape in shapes], {"is_causal": causal}, 23)
    yield Case("Attention", [*(_numbers((1, 12, 128, 64)) for _ in range(3)), _numbers((1, 1, 1, 128))], {}, 23)


def layers(batch: int) -> Iterator[Case]:
    """Of networks: ResNet-50, MobileNetV2, ViT, ConvNeXt, SegFormer, Whisper, U-Net and DCGAN."""
    relu, clip = {"activation": "Relu"}, {"activation": "Clip", "activation_alpha": 0.0, "activation_beta": 6.0}
    yield _layer(batch, 3, 64, (224, 224), 7, 2, 3, relu)
    yield _layer(batch, 3, 32, (224, 224), 3, 2, 1, clip)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield _layer(batch, channels, channels, (size, size), 3, 1, 1, relu)
        yield _layer(batch, channels, channels, (2 * size, 2 * size), 3, 2, 1, relu)
        yield _layer(batch, 4 * channels, channels, (size, size), 1, 1, 0, relu)
        yield _layer(batch, channels, 4 * channels, (size, size), 1, 1, 0, relu, has_residual=True)
        yield _layer(batch, 2 * channels, 4 * channels, (2 * size, 2 * size), 1, 2, 0, {})
    for channels, size in ((16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7)):
        yield _layer(batch, channels, 6 * channels, (size, size), 1, 1, 0, clip)
        yield _layer(batch, 6 * channels, channels, (size, size), 1, 1, 0, {}, has_residual=True)
    yield _layer(batch, 320, 1280, (7, 7), 1, 1, 0, clip)
    yield _layer(batch, 3, 384, (224, 224), 16, 16, 0, {})
    yield _layer(batch, 3, 96, (224, 224), 4, 4, 0, {})
    yield _layer(batch, 96, 192, (56, 56), 2, 2, 0, {})
    yield _layer(batch, 3, 32, (512, 512), 7, 4, 3, {})
    yield _layer(batch, 32, 32, (128, 128), 8, 8, 0, {})
    yield _layer(batch, 64, 64, (28, 28), 1, 1, 0, {"activation": "Sigmoid"})
    yield _layer(batch, 80, 512, (3000,), 3, 1, 1, {})
    yield _layer(batch, 512, 512, (3000,), 3, 2, 1, {})
    yield _layer(batch, 32, 64, (16, 32, 32), 3, 1, 1, relu)
    yield _transposed_layer(batch, 128, 64, (56, 56), 2, 2, 0)
    yield _transposed_layer(batch, 512, 256, (8, 8), 4, 2, 1)
    yield _transposed_layer(batch, 64, 32, (8, 16, 16), 2, 2, 0)


def _layer(
    batch: int,
    channels: int,
    maps: int,
    image: Sequence[int],
    window: int,
    step: int,
    pad: int,
    epilogue: Any,
    *,
    has_residual: bool = False,
) -> Case:
    axes = len(image)
    shapes = [(batch, channels, *image), (maps, channels, *(window,) * axes), (maps,)]
    if has_residual:
        shapes.append((batch, maps, *((size + 2 * pad - window) // step + 1 for size in image)))
    geometry = {"strides": [step] * axes, "pads": [pad] * 2 * axes}
    return Case("FusedConv", [_numbers(shape) for shape in shapes], geometry | epilogue, 1, "onnxgpu")


def _transposed_layer(batch: int, channels: int, maps: int, image: Sequence[int], window: int, step: int, pad: int) -> Case:
    axes = len(image)
    shapes = ((batch, channels, *image), (channels, maps, *(window,) * axes), (maps,))
    return Case("ConvTranspose", [_numbers(shape) for shape in shapes], {"strides": [step] * axes, "pads": [pad] * 2 * axes}, 22)


def _numbers(shape: Sequence[int]) -> np.ndarray:
    """Without memory: only the shape counts."""
    return np.broadcast_to(np.float32(0), shape)


def install(folder: Path) -> Path:
    """Install `PACKAGES` into a new virtual environment; returns its Python.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES], stdout=sys.stderr, check=True)
    return python


def make_stubs(folder: Path, architecture: int) -> None:
    """Compile what stands in for libcuda and libcudart beside a GPU of this architecture.

    Raises:
        subprocess.CalledProcessError: the C compiler failed.
    """
    lines = ["static long handle[64];"]
    lines += [f"int {name}(void **result) {{ *result = handle; return 0; }}" for name in HANDLES.split()]
    lines += [f"int {name}(void) {{ return 0; }}" for name in IDLE.split()]
    lines += [f"int {name}(void) {{ return 999; }}" for name in REFUSED.split()]
    lines += [f"int {name}(int *result) {{ *result = {number}; return 0; }}" for name, number in NUMBERS.items()]
    names = ("cuGetErrorName", "cuGetErrorString")
    lines += [f'int {name}(int error, const char **text) {{ (void)error; *text = "no GPU"; return 0; }}' for name in names]
    for library, text in (("libcuda.so.1", "\n".join(lines)), ("libcudart.so.13", _RUNTIME)):
        command = [
            "cc",
            f"-DARCHITECTURE={architecture}",
            "-shared",
            "-fPIC",
            "-x",
            "c",
            "-",
            "-o",
            str(folder / library),
            f"-Wl,-soname,{library}",
        ]
        subprocess.run(command, input=text, text=True, check=True)


def results_for(architecture: int, python: Path, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """What became of each request, as `plan_builder.built` tells; one that the process ends at has failed."""
    with tempfile.TemporaryDirectory() as folder:
        task, results = Path(folder) / "task.pickle", Path(folder) / "results.jsonl"
        make_stubs(Path(folder), architecture)
        device: dict[str, Any] = PROPERTIES | DEVICES[architecture]
        device |= {"deviceVer": 10 * architecture, "deviceName": device["name"]}
        device |= {"major": architecture // 10, "minor": architecture % 10}
        task.write_bytes(pickle.dumps({"properties": device, "requests": requests}))
        results.touch()
        command = [str(python), str(Path(__file__).with_name("plan_builder.py")), str(task), str(results)]
        environment = child_environment() | {"LD_LIBRARY_PATH": os.pathsep.join((folder, *_libraries(python)))}
        while (done := len(results.read_text().splitlines())) < len(requests):
            ended = subprocess.run([*command, str(done)], env=environment, capture_output=True, text=True, check=False)
            now = len(results.read_text().splitlines())
            if now < len(requests):
                reason = f"the process ended with status {ended.returncode}: …{ended.stderr.strip()[-400:]}"
                if now == done == 0:
                    raise SystemExit(f"sm_{architecture}: nothing could be built: {reason}")
                with results.open("a") as file:
                    print(json.dumps({"outcome": "failed", "reason": reason}), file=file)
        return [json.loads(line) for line in results.read_text().splitlines()]


def _libraries(python: Path) -> list[str]:
    found = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, check=True)
    packages = Path(found.stdout.decode().strip()) / "nvidia"
    return [str(packages / "cudnn" / "lib"), str(packages / "cu13" / "lib")]


def summary(requests: Sequence[Request], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts for one architecture; `none` and `failed` also one by one, with the reasons."""
    built = [result for result in results if result["outcome"] == "built"]
    found: dict[str, Any] = {
        "built": len(built),
        "built_generic": sum(result["generic"] for result in built),
        "built_with_less": sum(result["form"] > 0 for result in built),
    }
    for outcome in ("none", "failed"):
        found[outcome] = [
            {"problem": str(request[0]), "reason": result["reason"]}
            for request, result in zip(requests, results, strict=True)
            if result["outcome"] == outcome
        ]
    return found


def show(found: dict[int, dict[str, Any]]) -> None:
    """The table, and below it the reasons."""
    heading = ["architecture", "GPU", "plans", "of them generic", "with less fused", "none", "failed"]
    rows = [
        [
            f"sm_{architecture}", str(DEVICES[architecture]["name"]),
            *(str(each[key]) for key in ("built", "built_generic", "built_with_less")),
            str(len(each["none"])), str(len(each["failed"])),
        ]
        for architecture, each in found.items()
    ]  # fmt: skip
    print_table("plans that cuDNN has for what onnxgpu asks it for", heading, rows)
    for architecture, each in found.items():
        for reason, count in Counter(" ".join(x["reason"].split()) for x in each["none"]).items():
            print(f"sm_{architecture}: none for {count}: {reason}")
        for failure in each["failed"]:
            print(f"sm_{architecture}: FAILED {failure['problem']}: {failure['reason']}")


def main() -> int:
    """Collect, build, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", type=Path, help="has cuDNN, its front end and NumPy; without it they are installed, 700 MB")
    parser.add_argument("--architectures", type=int, nargs="*", default=list(DEVICES), choices=list(DEVICES))
    parser.add_argument("--json", type=Path, help="where the result goes")
    arguments = parser.parse_args()
    forward = convolution_requests([*convolution_cases(), *layers(1), *layers(8)])
    attention = attention_requests([*attention_cases(), *attention_layers()])
    print(f"{len(forward)} convolutions, {len(attention)} attentions")
    requests = [*forward, *attention]
    with tempfile.TemporaryDirectory() as temporary:
        python = arguments.python.absolute() if arguments.python else install(Path(temporary) / "venv")
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda each: results_for(each, python, requests), arguments.architectures))
    found = {architecture: summary(requests, each) for architecture, each in zip(arguments.architectures, results, strict=True)}
    show(found)
    if arguments.json:
        save_json(
            {
                "convolutions": len(forward),
                "attentions": len(attention),
                **{f"sm_{architecture}": each for architecture, each in found.items()},
            },
            arguments.json,
        )
    return int(any(each["failed"] for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
