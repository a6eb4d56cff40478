"""Every operator schema of ONNX on generated inputs, compared with onnxruntime and `onnx.reference`.

`draw.py` makes choices and arrays, `examples.py` registers one generator an operator (they live in `operators/`),
`oracles.py` runs a one-node model on each side, `verdict.py` compares. What an oracle is known to get wrong stands in
`disagreements.py`, what nobody else can run in `not_comparable.py`.
"""
