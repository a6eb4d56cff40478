"""What onnxruntime's quantised, branched and hashing operators refuse, and how they say so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Claim, Refusal
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case
from tests.test_operator_cases import operation_of


def run(case: Case) -> None:
    claim = CPUProvider().claim(operation_of(case))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    specs = kernel.outputs(case.inputs)
    wanted = kernel.workspace(case.inputs)
    outputs = None if specs is None else [np.empty(s.shape, s.dtype) for s in specs]
    kernel.launch(case.inputs, outputs, np.empty(wanted, np.uint8) if wanted else None)


def zeros(*shapes: Sequence[int], dtype: Any = "f4") -> list[np.ndarray]:
    return [np.zeros(shape, dtype) for shape in shapes]


IDS = np.zeros((1, 4), np.int64)
HASH = {"max_ngram_size": 2, "n_head_per_ngram": 1, "pad_id": 0}
N_BITS = {"K": 32, "N": 4, "bits": 4, "block_size": 16}
PACKED: list[np.ndarray] = [*zeros((2, 32)), np.zeros((4, 2, 8), np.uint8), *zeros((4, 2))]
TABLE: list[np.ndarray] = [np.zeros((4, 16), np.uint8), np.zeros(2, np.int64), *zeros((4, 2))]

FAULTS: list[tuple[str, Sequence[np.ndarray | None], dict[str, Any], str]] = [
    (
        "BranchwiseRMSNorm",
        [*zeros((2, 7))],
        {"num_branches": 2},
        "expected a tensor of shape (…, 2 * H) with num_branches=2, got shape [2, 7]",
    ),
    ("BranchwiseRMSNorm", [*zeros((2, 4, 8), (5,))], {}, "expected a scale of shape [32], [4, 8] or [8], got [5]"),
    ("HyperConnectionPreMix", [*zeros((2, 4, 8), (2, 3))], {}, "expected gates of shape [2, 4] or [2, 4, 1] or [2, 4, 8], got [2, 3]"),
    ("HyperConnectionPostMix", [*zeros((2, 4, 8), (2, 7), (2, 4))], {}, "expected block_output of shape [2, 8], got [2, 7]"),
    ("HyperConnectionPostMix", [*zeros((2, 4, 8), (2, 8), (2, 4), (4, 4))], {}, "expected stream_mix of shape [2, 4, 4], got [4, 4]"),
    (
        "GatedRMSNorm",
        [*zeros((2, 8), (4,), (2, 8))],
        {"activation": "relu"},
        "expected activation 'silu', 'swish' or 'sigmoid', got 'relu'",
    ),
    ("GatedRMSNorm", [*zeros((2, 8), (3,), (2, 8))], {}, "expected X and gate of one shape"),
    ("GatedAdd", [*zeros((2, 8), (2, 8), (2, 2))], {}, "expected X and Y of one shape"),
    ("EngramGate", [*zeros((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 5), (3, 4), (3, 4))], {}, "expected key and query of one shape"),
    ("NGramHashMapping", [IDS, np.ones(1, np.int64), np.ones(1, np.int64)], HASH, "as many multipliers"),
    ("NGramHashMapping", [IDS, np.ones(2, np.int64), -np.ones(1, np.int64)], HASH, "expected vocab_sizes above 0, got -1"),
    (
        "VarlenNGramHashMapping",
        [IDS[0], np.ones(2, np.int64), np.ones(1, np.int64), np.array([0, 2, 2, 4], np.int32)],
        HASH,
        "to rise from 0 to the 4 tokens, one or more a request, got [0, 2, 2, 4]",
    ),
    ("GroupNorm", [*zeros((1, 2, 2, 6), (6,), (6,))], {"activation": 0, "groups": 4}, "expected groups that divide 6 channels"),
    ("MatMulNBits", [*zeros((2, 31)), *PACKED[1:]], N_BITS, "expected A with a last size of K = 32, got shape [2, 31]"),
    ("MatMulNBits", [*PACKED], {**N_BITS, "bits": 3}, "expected bits to be 2, 4 or 8"),
    (
        "MatMulBnb4",
        [*PACKED[:2], *zeros((4,))],
        {"K": 32, "N": 4, "block_size": 16, "quant_type": 2},
        "expected quant_type 0 (FP4) or 1 (NF4), got 2",
    ),
    (
        "MatMulFpQ4",
        [*zeros((1, 32)), np.zeros(20, np.uint8), np.array([32, 1])],
        {},
        "expected a blob of 21 bytes for shape [32, 1], got 20",
    ),
    ("GatherBlockQuantized", [*TABLE], {"bits": 4, "block_size": 8}, "expected block_size to be a power of two from 16 on, got 8"),
    ("GatherBlockQuantized", [*TABLE], {"bits": 4, "block_size": 16, "gather_axis": 1}, "gather_axis 0"),
    (
        "GatherBlockQuantized",
        [TABLE[0].astype(ml_dtypes.float8_e4m3fn), *TABLE[1:], np.zeros((4, 1), ml_dtypes.float8_e4m3fn)],
        {"block_size": 16},
        "expected no zero_points for data of type float8e4m3fn",
    ),
]


@pytest.mark.parametrize(("operator", "inputs", "attributes", "message"), FAULTS)
def test_fault(operator: str, inputs: Sequence[np.ndarray | None], attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        run(Case(operator, inputs, attributes, opset=1, domain="com.microsoft"))


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "reason"),
    [
        ("MatMulNBits", PACKED, {**N_BITS, "weight_prepacked": 1}, "with weight_prepacked is not implemented"),
        (
            "QAttention",
            [np.zeros((1, 2, 4), np.uint8), np.zeros((4, 12), np.int8), *zeros((12,), (), ())],
            {"num_heads": 2, "do_rotary": 1},
            "with do_rotary is not implemented",
        ),
    ],
)
def test_refusal(operator: str, inputs: Sequence[np.ndarray | None], attributes: dict[str, Any], reason: str) -> None:
    answer = CPUProvider().claim(operation_of(Case(operator, inputs, attributes, opset=1, domain="com.microsoft")))
    assert isinstance(answer, Refusal)
    assert reason in answer.reason
