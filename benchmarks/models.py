"""Make the nine benchmark models, with random weights, through torch and transformers; nothing is downloaded.

`python benchmarks/models.py OUT_DIR [--small] [--only NAME,...]` writes `NAME.onnx` for each model: opset 18, weights
inside the file. Needs torch, transformers, onnxscript, onnx, onnx-ir and onnxruntime. A model whose outputs are
constant, not finite or far from order one in onnxruntime is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.inputs import InputDescription, make_inputs
from benchmarks.outputs import OutputFault, check_outputs

if TYPE_CHECKING:
    import numpy as np

OPSET = 18
LARGEST_ABSOLUTE_OUTPUT = 1e3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made.

    Attributes:
        family: transformers' class of the network and of its configuration, without `Config`: (class, configuration).
        settings: configuration of the full model; `small_settings` are laid over it for the small one.
        inputs: input name → shape of the full model; `small_inputs` likewise. Text inputs have dynamic dimensions.
        outputs: names of the outputs, which are attributes of what the network returns.
        part: attribute of the network that is exported instead of the whole (`encoder`).
    """

    family: tuple[str, str]
    settings: dict[str, Any]
    small_settings: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]
    small_inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...] = ("logits",)
    part: str = ""
    adjust: Callable[[Any], None] = field(default=lambda network: None)


def _pool_globally(network: Any) -> None:
    """Replace EfficientNet's pooling window of `hidden_dim` pixels, which torch cannot export, by what it amounts to."""
    import torch

    network.efficientnet.pooler = torch.nn.AdaptiveAvgPool2d(1)


IMAGE_224 = {"pixel_values": (1, 3, 224, 224)}
IMAGE_64 = {"pixel_values": (1, 3, 64, 64)}
BERT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

RECIPES: dict[str, Recipe] = {
    "resnet50": Recipe(
        ("ResNetForImageClassification", "ResNetConfig"),
        {"num_labels": 1000},
        {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "num_labels": 10},
        IMAGE_224,
        IMAGE_64,
    ),
    "mobilenet_v2": Recipe(
        ("MobileNetV2ForImageClassification", "MobileNetV2Config"),
        {"num_labels": 1000},
        {"depth_multiplier": 0.1, "finegrained_output": False, "expand_ratio": 2.0, "num_labels": 10, "image_size": 64},
        IMAGE_224,
        IMAGE_64,
    ),
    "efficientnet_b0": Recipe(
        ("EfficientNetForImageClassification", "EfficientNetConfig"),
        {"image_size": 224, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "num_labels": 1000},
        {
            "image_size": 64,
            "width_coefficient": 0.25,
            "num_block_repeats": [1, 1, 1, 1, 1, 1, 1],
            "expand_ratios": [1, 2, 2, 2, 2, 2, 2],
            "hidden_dim": 320,
            "num_labels": 10,
        },
        IMAGE_224,
        IMAGE_64,
        adjust=_pool_globally,
    ),
    "vit_small": Recipe(
        ("ViTForImageClassification", "ViTConfig"),
        {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_labels": 1000},
        {
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "image_size": 64,
            "num_labels": 10,
        },
        IMAGE_224,
        IMAGE_64,
    ),
    "convnext_tiny": Recipe(
        ("ConvNextForImageClassification", "ConvNextConfig"),
        {"num_labels": 1000},
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1], "image_size": 64, "num_labels": 10},
        IMAGE_224,
        IMAGE_64,
    ),
    "segformer_b0": Recipe(
        ("SegformerForSemanticSegmentation", "SegformerConfig"),
        {"num_labels": 150},
        {
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [8, 16, 32, 48],
            "num_attention_heads": [1, 2, 2, 4],
            "decoder_hidden_size": 32,
            "num_labels": 8,
        },
        {"pixel_values": (1, 3, 512, 512)},
        IMAGE_64,
    ),
    "bert_base": Recipe(
        ("BertModel", "BertConfig"),
        {},
        {
            "vocab_size": 500,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        },
        dict.fromkeys(BERT_INPUTS, (2, 128)),
        dict.fromkeys(BERT_INPUTS, (2, 16)),
        outputs=("last_hidden_state", "pooler_output"),
    ),
    "gpt2_6l": Recipe(
        ("GPT2LMHeadModel", "GPT2Config"),
        {"n_layer": 6, "use_cache": False},
        {"vocab_size": 500, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "bos_token_id": 1, "eos_token_id": 1},
        {"input_ids": (2, 128)},
        {"input_ids": (2, 16)},
    ),
    "whisper_enc": Recipe(
        ("WhisperModel", "WhisperConfig"),
        {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048, "decoder_attention_heads": 8},
        {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_attention_heads": 2,
            "max_source_positions": 64,
            "num_mel_bins": 16,
        },
        {"input_features": (1, 80, 3000)},
        {"input_features": (1, 16, 128)},
        outputs=("last_hidden_state",),
        part="encoder",
    ),
}


def model_names() -> tuple[str, ...]:
    """Names of the nine models, in the order in which reports list them."""
    return tuple(RECIPES)


def build_network(recipe: Recipe, small: bool) -> Any:
    """The torch network of `recipe` in evaluation mode, its weights drawn anew from torch's current seed."""
    import transformers

    settings = recipe.settings | (recipe.small_settings if small else {})
    network_class, configuration_class = recipe.family
    configuration = getattr(transformers, configuration_class)(**settings)
    configuration._attn_implementation = "eager"
    network = getattr(transformers, network_class)(configuration)
    recipe.adjust(network)
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
    """Give each BatchNorm the mean and variance of the activations that reach it.

    Only the norms are in training mode meanwhile. The variance is that over the pixels of one input, so a norm that sees
    one pixel keeps mean 0 and variance 1.
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
    described = [InputDescription(i.name, i.type, tuple(i.shape)) for i in session.get_inputs()]
    first, second = (session.run(None, make_inputs(described, seed=seed)) for seed in (0, 1))
    check_outputs(name, first)
    _check_sensitivity(name, first, second)


def _check_sensitivity(name: str, first: list[np.ndarray], second: list[np.ndarray]) -> None:
    import numpy as np

    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        largest = float(np.abs(a).max())
        if largest > LARGEST_ABSOLUTE_OUTPUT:
            raise OutputFault(f"{name}: output {index} reaches {largest:.3g}; expected at most {LARGEST_ABSOLUTE_OUTPUT:g}: scale the weights down")
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
    make_models(options.out_dir, small=options.small, only=only)


if __name__ == "__main__":
    main()
