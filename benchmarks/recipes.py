"""The nine benchmark models as configurations of transformers' networks: settings, inputs and outputs of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made.

    Attributes:
        family: transformers' class of the network and of its configuration, without `Config`: (class, configuration).
        settings: configuration of the full model; `small_settings` are laid over it for the small one.
        inputs: input name → shape of the full model; `small_inputs` likewise. Text inputs have dynamic dimensions.
        outputs: names of the outputs, which are attributes of what the network returns.
        part: attribute of the network that is exported instead of the whole (`encoder`).
        pools_globally: EfficientNet's pooling window of `hidden_dim` pixels, which torch cannot export, becomes what it amounts to.
    """

    family: tuple[str, str]
    settings: dict[str, Any]
    small_settings: dict[str, Any]
    inputs: Shapes
    small_inputs: Shapes
    outputs: tuple[str, ...] = ("logits",)
    part: str = ""
    pools_globally: bool = False


IMAGE_224: Shapes = {"pixel_values": (1, 3, 224, 224)}
IMAGE_64: Shapes = {"pixel_values": (1, 3, 64, 64)}
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
        pools_globally=True,
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
