"""The types behind onnxruntime's quantised, channels-last, branched and hashing operators."""

from __future__ import annotations

import onnx.parser
import pytest

from onnxgpu.model_file import load
from onnxgpu.model_file.types import infer_types

NODES = {
    "com.microsoft.BranchwiseRMSNorm <num_branches = 2> (f)": "FLOAT[B,6,8]",
    "com.microsoft.HyperConnectionPreMix (f, f)": "FLOAT[B,8]",
    "com.microsoft.HyperConnectionPreMix <num_branches = 2> (f, f)": "FLOAT[B,6,4]",
    "com.microsoft.MurmurHash3 <positive = 0> (i)": "INT32[B,6]",
    "com.microsoft.NGramHashMapping <max_ngram_size = 3, n_head_per_ngram = 4, pad_id = 0> (i, i, i)": "INT64[B,6,8]",
    "com.microsoft.NhwcConv <pads = [1, 1, 1, 1]> (image, kernel)": "FLOAT[N,9,9,5]",
    "com.microsoft.NhwcMaxPool <kernel_shape = [3, 3]> (bytes)": "UINT8[N,7,7,4]",
    "com.microsoft.SkipGroupNorm <activation = 0, groups = 2> (image, v, v, image)": "FLOAT[N,9,9,4]",
    "com.microsoft.QLinearConv <channels_last = 1, strides = [2, 2]> (bytes, s, z, w8, s, z, s, z)": "UINT8[N,4,4,5]",
    "com.microsoft.QLinearAveragePool <channels_last = 1, kernel_shape = [2, 2]> (bytes, s, z, s, z)": "UINT8[N,8,8,4]",
    "com.microsoft.QLinearWhere (c, q, s, z, q, s, z, s, z)": "UINT8[B,6,8]",
    "com.microsoft.QAttention <num_heads = 2> (q, p, v, s, s)": "FLOAT[B,6,4]",
    "com.microsoft.QEmbedLayerNormalization (ids, ids, t, t, t, t, t, ids, s, s, s, s, s, z, z, z, z, z)": "FLOAT[B,6,8]",
    "com.microsoft.MatMulInteger16 (short, short)": "INT32[6,6]",
    "com.microsoft.MatMulBnb4 <K = 8, N = 3, block_size = 16, quant_type = 0> (f, t, v)": "FLOAT[B,6,3]",
    "com.microsoft.GatherBlockQuantized <block_size = 16, bits = 4> (t, ids, v)": "FLOAT[B,6,16]",
}


@pytest.mark.parametrize(("node", "expected"), NODES.items(), ids=[node.split(" ")[0].split("(")[0] for node in NODES])
def test_type(node: str, expected: str) -> None:
    loaded = load(
        onnx.parser.parse_model(
            f"""<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
            g (float[B, 6, 8] f, int64[B, 6] i, int32[B, 6] ids, float[N, 9, 9, 4] image, uint8[N, 9, 9, 4] bytes, float[5, 4, 3, 3] kernel,
               uint8[5, 4, 3, 3] w8, float[4] v, float s, uint8 z, uint8[B, 6, 8] q, bool[8] c, uint8[8, 12] p, uint8[20, 8] t,
               int16[6, 6] short) => (y) {{ x = {node}  y = Identity(x) }}"""
        )
    )
    infer_types(loaded.model)
    value = loaded.model.graph.outputs[0]
    assert f"{value.dtype}{value.shape}" == expected
