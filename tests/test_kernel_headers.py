"""The headers in kernels/: they compile for every GPU we name, and `vector.cuh` is right for any launch size, count and address."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from onnxgpu.providers.cuda import kernels

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 103, 110, 120)

DEVICE_SOURCE = """
#include "vector.cuh"
extern "C" __global__ void scale(const float* x, float* y, long long count) {
    transform(x, y, count, [](float v) { return v * 2.0f; });
}
extern "C" __global__ void widen(const short* x, int* y, long long count) {
    transform(x, y, count, [](short v) { return static_cast<int>(v); });
}
"""

HOST_SOURCE = """
#include <cstdio>
#include <vector>
#define __device__
struct Index { unsigned x; };
static Index blockIdx, blockDim, threadIdx, gridDim;
#include "vector.cuh"

template <typename In, typename Out>
int faults(unsigned blocks, unsigned threads, long long count, int shift) {
    std::vector<In> x(count + 64);
    std::vector<Out> y(count + 64, Out(-1));
    std::vector<int> writes(count + 64, 0);
    for (long long i = 0; i < count; ++i) x[shift + i] = In(i % 100);
    gridDim.x = blocks, blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) {
            const In* base = x.data();
            transform(base + shift, y.data() + shift, count, [](In v) { return Out(v + 1); });
            for_each_index(count, [&](long long i) { ++writes[i]; });
        }
    int wrong = 0;
    for (long long i = 0; i < count; ++i) wrong += y[shift + i] != Out(i % 100 + 1) || writes[i] != 1;
    for (int i = 0; i < shift; ++i) wrong += y[i] != Out(-1);
    for (long long i = shift + count; i < count + 64; ++i) wrong += y[i] != Out(-1);
    return wrong;
}

int main() {
    int wrong = 0;
    const long long counts[] = {0, 1, 3, 4, 15, 16, 17, 255, 1000};
    for (long long count : counts)
        for (int shift = 0; shift < 5; ++shift)
            for (unsigned blocks = 1; blocks < 4; ++blocks)
                for (unsigned threads : {1u, 7u, 32u}) {
                    wrong += faults<float, float>(blocks, threads, count, shift);
                    wrong += faults<float, int>(blocks, threads, count, shift);
                    wrong += faults<unsigned char, unsigned char>(blocks, threads, count, shift);
                    wrong += faults<short, double>(blocks, threads, count, shift);
                }
    std::printf("%d", wrong);
}
"""


def run(command: list[str]) -> str:
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def test_header_compiles_for_every_architecture(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    known = run([nvcc, "--list-gpu-code"])
    source = tmp_path / "header.cu"
    source.write_text(DEVICE_SOURCE, "utf-8")
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES if f"sm_{a}\n" in known + "\n"]
    assert targets
    run(
        [
            nvcc,
            "-cubin" if len(targets) == 1 else "-fatbin",
            "-std=c++17",
            "-Werror=all-warnings",
            f"-I{KERNELS}",
            *targets,
            f"-o={tmp_path / 'header'}",
            str(source),
        ]
    )


def test_transform_writes_each_element_once_and_nothing_else(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not on PATH")
    source, program = tmp_path / "host.cpp", tmp_path / "host"
    source.write_text(HOST_SOURCE, "utf-8")
    run([compiler, "-std=c++17", "-O1", "-fno-strict-aliasing", f"-I{KERNELS}", str(source), "-o", str(program)])
    assert run([str(program)]) == "0"


def test_a_changed_header_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy keeps what it compiled under the text that it is given, and does not look into what that includes."""
    texts: list[str] = []
    monkeypatch.setattr(kernels, "cupy", lambda: SimpleNamespace(RawModule=lambda code, **_: texts.append(code)))
    monkeypatch.setattr(kernels, "is_emulated", lambda: False)
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    for content in ("int one;", "int two;", "int one;"):
        (tmp_path / "common.cuh").write_text(content)
        kernels._state_of_sources.cache_clear()
        kernels.compiled('#include "common.cuh"\n')
    kernels._state_of_sources.cache_clear()
    assert texts[0] == texts[2] != texts[1]
    assert all(text.endswith('#include "common.cuh"\n') for text in texts)
