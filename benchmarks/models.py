"""Make the nine benchmark models, with random weights, through torch and transformers; nothing is downloaded.

`python benchmarks/models.py OUT_DIR [--small] [--only NAME,...]` writes `NAME.onnx` for each model: opset 18, weights
inside the file. Needs torch, transformers, onnxscript, onnx, onnx-ir and onnxruntime. A model whose outputs are
constant, not finite or far from order one in onnxruntime is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.outputs import OutputFault, check_outputs
from benchmarks.recipes import RECIPES, Recipe, model_names

if TYPE_CHECKING:
    import numpy as np

OPSET = 18
LARGEST_ABSOLUTE_OUTPUT = 1e3


def build_network(recipe: Recipe, small: bool) -> Any:
    """The torch network of `recipe` in evaluation mode, its weights drawn anew from torch's current seed."""
    import torch
    import transformers

    settings = recipe.settings | (recipe.small_settings if small else {})
    network_class, configuration_class = recipe.family
    configuration = getattr(transformers, configuration_class)(**settings)
    configuration._attn_implementation = "eager"
    network = getattr(transformers, network_class)(configuration)
    if recipe.pools_globally:
        network.efficientnet.pooler = torch.nn.AdaptiveAvgPool2d(1)
    if recipe.part:
        network = getattr(network, recipe.part)
    _draw_weights(network)
    return network.eval()


def _draw_weights(network: Any) -> None:
    """He initialisation (fan-out) for convolutions, unit gain for matrices, nearly one for norms and layer scales."""
    from torch import nn

    for module in network.modules():
        kind = type(module).__name__
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            _draw_convolution(module)
        elif isinstance(module, nn.Linear) or kind == "Conv1D":
            fan_in = module.weight.shape[0] if kind == "Conv1D" else module.weight.shape[1]
            nn.init.normal_(module.weight, std=fan_in**-0.5)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm) or "LayerNorm" in kind:
            nn.init.uniform_(module.weight, 0.7, 1.3)
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(getattr(module, "layer_scale_parameter", None), nn.Parameter):
            nn.init.uniform_(module.layer_scale_parameter, 0.2, 0.6)


def _draw_convolution(module: Any) -> None:
    from torch import nn

    fan_out = module.out_channels * module.weight[0, 0].numel() // module.groups
    nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)


def settle_batch_norms(network: Any, feeds: dict[str, Any]) -> None:
    """Give each BatchNorm the mean and variance of the activations that reach it for eight random images.

    Only the norms are in training mode meanwhile.
    """
    import torch

    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    if norms:
        noise = [{name: torch.randn(4, *tensor.shape[1:]) for name, tensor in feeds.items()} for _ in range(2)]
        with torch.no_grad():
            for batch in noise:
                network(**batch)
    network.eval()


def export(name: str, path: Path, *, small: bool = False) -> None:
    """Write model `name` to `path`; raises OutputFault when onnxruntime does not get sensible outputs from it."""
    import onnx_ir
    import torch

    recipe = RECIPES[name]
    torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))
    network = build_network(recipe, small)
    shapes = recipe.small_inputs if small else recipe.inputs
    feeds = {n: torch.ones(s, dtype=torch.int64) if _is_text(s) else torch.randn(s) for n, s in shapes.items()}
    settle_batch_norms(network, feeds)
    program = torch.onnx.export(
        _positional(network, tuple(shapes), recipe.outputs),
        tuple(feeds.values()),
        input_names=list(shapes),
        output_names=list(recipe.outputs),
        dynamic_shapes=(tuple(_dynamic_dimensions(s) for s in shapes.values()),),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError(f"{name}: torch.onnx.export gave no program")
    model = program.model
    _drop_metadata(model)
    model.graph.name = name
    onnx_ir.save(model, path)
    _verify(name, path)


def _is_text(shape: Sequence[int]) -> bool:
    return len(shape) == 2


def _dynamic_dimensions(shape: Sequence[int]) -> dict[int, str] | None:
    return {0: "batch", 1: "sequence"} if _is_text(shape) else None


def _positional(network: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    """A module that takes the tensors `inputs` in that order and returns a tuple of what `network` names `outputs`."""
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            result = self.network(**dict(zip(inputs, tensors, strict=True)))
            return tuple(getattr(result, output) for output in outputs)

    return Positional()


def _drop_metadata(model: Any) -> None:
    """Remove torch's notes on where in the source each node came from: they hold paths of this machine."""
    for graph in model.graphs():
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
    model.metadata_props.clear()


def _verify(name: str, path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    described = described_inputs(session)
    first, second = (session.run(None, make_inputs(described, seed=seed)) for seed in (0, 1))
    check_outputs(name, first)
    _check_sensitivity(name, first, second)


def _check_sensitivity(name: str, first: list[np.ndarray], second: list[np.ndarray]) -> None:
    import numpy as np

    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        largest = float(np.abs(a).max())
        if largest > LARGEST_ABSOLUTE_OUTPUT:
            raise OutputFault(f"{name}: output {index} reaches {largest:.3g}; expected at most {LARGEST_ABSOLUTE_OUTPUT:g}")
        if float(np.abs(a - b).max()) < 1e-3 * largest:
            raise OutputFault(f"{name}: output {index} is the same for two different inputs: the weights extinguish the signal")


def make_models(folder: Path, *, small: bool = False, only: Sequence[str] = ()) -> list[Path]:
    """Write the models that are not in `folder` yet; returns the paths of all that were asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in only or model_names():
        path = folder / f"{name}.onnx"
        if not path.exists():
            partial = path.with_suffix(".partial")
            export(name, partial, small=small)
            partial.replace(path)
        paths.append(path)
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB", flush=True)
    return paths


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Make the benchmark models; those already in OUT_DIR are kept.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--small", action="store_true", help="the same architectures with few layers and small inputs, below 1 MB each")
    parser.add_argument("--only", default="", help=f"comma-separated names out of {', '.join(model_names())}")
    options = parser.parse_args(arguments)
    only = [name for name in options.only.split(",") if name]
    unknown = sorted(set(only) - set(model_names()))
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; known: {', '.join(model_names())}")
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    make_models(options.out_dir, small=options.small, only=only)


if __name__ == "__main__":
    main()
