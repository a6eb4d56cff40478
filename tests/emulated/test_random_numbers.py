"""Random operators on the device: the generator's published numbers, the distributions, and what a seed decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxgpu
import onnxgpu.providers.cuda.operators
from onnxgpu.provider import Claim
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.test_operator_cases import operation_of

COUNT = 40_001
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0], [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]
"""Counter, key and result, from the known answers of the authors' library Random123 (kat_vectors)."""


def drawn(cp: Any, operator: str, inputs: list[np.ndarray], outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
    """What a node gives on the device; it must be one of our kernels."""
    operation = operation_of(Case(operator, inputs, attributes, outputs=outputs))
    entry = REGISTRY.entry(operator, "", operation.version)
    assert entry is not None and entry.refusal(operation) is None
    claim = REGISTRY.claim(cp, operation)
    assert isinstance(claim, Claim) and not claim.deterministic
    kernel = claim.build()
    arrays = [x if i in claim.host_inputs else cp.asarray(x) for i, x in enumerate(inputs)]
    specs = kernel.outputs(arrays)
    given = None if specs is None else [cp.full(spec.shape, 77, spec.dtype) for spec in specs]
    return [cp.asnumpy(result) for result in kernel.launch(arrays, given, None)]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_generator_gives_the_numbers_of_its_authors(cp: Any, counter: list[int], key: list[int], result: list[int]) -> None:
    from onnxgpu.providers.cuda.kernels import FOLDER, OPTIONS

    source = """#include "philox.cuh"
    extern "C" __global__ void draw(const unsigned* c, const unsigned* k, unsigned* y) {
        const RandomBits bits = philox({{c[0], c[1], c[2], c[3]}}, k[0], k[1]);
        for (int i = 0; i < 4; ++i) y[i] = bits.word[i];
    }"""
    kernel = cp.RawModule(code=source, options=(*OPTIONS, f"-I{FOLDER}")).get_function("draw")
    found = cp.empty(4, np.uint32)
    kernel((1,), (1,), (cp.array(counter, np.uint32), cp.array(key, np.uint32), found))
    assert cp.asnumpy(found).tolist() == result


@pytest.mark.parametrize("dtype", [1, 10, 11, 16])
def test_normal(cp: Any, dtype: int) -> None:
    (values,) = drawn(cp, "RandomNormal", [], shape=(COUNT,), dtype=dtype, mean=3.0, scale=2.0, seed=1.0)
    numbers = values.astype(np.float64)
    assert abs(numbers.mean() - 3) < 0.05 and abs(numbers.std() - 2) < 0.05
    assert abs((np.abs(numbers - 3) < 2).mean() - 0.6827) < 0.01
    assert len(np.unique(values[:4000])) > (3900 if dtype in (1, 11) else 300)


@pytest.mark.parametrize("dtype", [1, 10, 11, 16])
def test_uniform(cp: Any, dtype: int) -> None:
    (values,) = drawn(cp, "RandomUniform", [], shape=(COUNT,), dtype=dtype, low=-1.0, high=3.0, seed=1.0)
    numbers = values.astype(np.float64)
    assert -1 <= numbers.min() < -0.99 and 2.99 < numbers.max() <= 3
    np.testing.assert_allclose(np.histogram(numbers, 8, (-1, 3))[0] / COUNT, 1 / 8, atol=0.01)


def test_a_seed_decides_and_without_one_every_draw_is_another(cp: Any) -> None:
    x = np.zeros((5, 7), np.float32)
    first, again, other, free, free_again = (
        drawn(cp, "RandomNormalLike", [x], 1, **seed)[0] for seed in ({"seed": 1.0}, {"seed": 1.0}, {"seed": 2.0}, {}, {})
    )
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any() and not np.isclose(free, free_again).any()


def test_set_seed(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxgpu.seeds._sequence", None)
    runs = []
    for _ in range(2):
        onnxgpu.set_seed(7)
        runs.append([drawn(cp, "RandomUniformLike", [np.zeros(9, np.float32)])[0] for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.isclose(runs[0][0], runs[0][1]).any()


@pytest.mark.parametrize(("dtype", "name"), [(6, "int32"), (9, "bool"), (1, "float32"), (11, "float64")])
def test_bernoulli(cp: Any, dtype: int, name: str) -> None:
    (values,) = drawn(cp, "Bernoulli", [np.full(COUNT, 0.3, np.float32)], dtype=dtype, seed=2.0)
    assert values.dtype == name and set(np.unique(values)) == {0, 1}
    assert abs(values.mean() - 0.3) < 0.01
    edges = np.array([0.0, 1.0] * 100, np.float32)
    np.testing.assert_array_equal(drawn(cp, "Bernoulli", [edges], dtype=dtype)[0], edges.astype(name))


def test_multinomial(cp: Any) -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.7], [1.0, 1e-30, 1e-30]], np.float32)) + 5
    (values,) = drawn(cp, "Multinomial", [logits], sample_size=COUNT, dtype=7, seed=4.0)
    assert values.shape == (2, COUNT) and not values[1].any()
    np.testing.assert_allclose(np.bincount(values[0], minlength=3) / COUNT, [0.1, 0.2, 0.7], atol=0.01)


def test_dropout_in_training(cp: Any) -> None:
    x = np.ones((3, 10_000), np.float32)
    values, mask = drawn(cp, "Dropout", [x, np.array(0.25, np.float32), np.array(True)], outputs=2)
    assert abs(mask.mean() - 0.75) < 0.02
    np.testing.assert_allclose(values, mask / 0.75, rtol=1e-6)
    (all_kept,) = drawn(cp, "Dropout", [x, np.array(0.25, np.float32), np.array(False)])
    np.testing.assert_array_equal(all_kept, x)
    (none_kept,) = drawn(cp, "Dropout", [x, np.array(1.0, np.float32), np.array(True)])
    assert not none_kept.any()
