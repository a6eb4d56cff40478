"""The rules of each level, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Collection

from onnxgpu.rewrite.channel_arithmetic import fold_batch_normalization, fold_channel_arithmetic
from onnxgpu.rewrite.common_subexpressions import merge_common_subexpressions
from onnxgpu.rewrite.constant_branch import inline_constant_branch
from onnxgpu.rewrite.constants import fold_constants, lift_constant
from onnxgpu.rewrite.dead_code import drop_unused_outputs, remove_dead_code
from onnxgpu.rewrite.duplicate_initializers import merge_duplicate_initializers
from onnxgpu.rewrite.identities import remove_dropout, remove_identity, remove_neutral_arithmetic, remove_same_type_cast
from onnxgpu.rewrite.matmul_scale import fold_matmul_scale
from onnxgpu.rewrite.no_op_shapes import (
    remove_full_slice,
    remove_identity_transpose,
    remove_same_shape_expand,
    remove_same_shape_reshape,
    remove_single_concat,
    remove_zero_pad,
)
from onnxgpu.rewrite.pad_into_convolution import fold_pad_into_convolution
from onnxgpu.rewrite.reshape_chains import merge_reshapes, merge_transposes
from onnxgpu.rewrite.rule import GraphRule, NodeRule
from onnxgpu.rewrite.shape_arithmetic import fix_reshape_target, fold_shape_arithmetic

BASIC: tuple[NodeRule | GraphRule, ...] = (
    lift_constant,
    fold_constants,
    fold_shape_arithmetic,
    inline_constant_branch,
    remove_identity,
    remove_dropout,
    remove_same_type_cast,
    remove_neutral_arithmetic,
    fix_reshape_target,
    remove_identity_transpose,
    remove_same_shape_reshape,
    remove_same_shape_expand,
    remove_full_slice,
    remove_zero_pad,
    remove_single_concat,
    merge_transposes,
    merge_reshapes,
    merge_duplicate_initializers,
    merge_common_subexpressions,
    drop_unused_outputs,
    remove_dead_code,
)

EXTENDED: tuple[NodeRule | GraphRule, ...] = (
    *BASIC,
    fold_batch_normalization,
    fold_channel_arithmetic,
    fold_matmul_scale,
    fold_pad_into_convolution,
)


ONNXRUNTIME_NAMES = {
    "CastElimination": ("remove_same_type_cast",),
    "CommonSubexpressionElimination": ("merge_common_subexpressions",),
    "ConstantFolding": ("lift_constant", "fold_constants", "fold_shape_arithmetic", "inline_constant_branch", "fix_reshape_target"),
    "ConvAddFusion": ("fold_channel_arithmetic",),
    "ConvBNFusion": ("fold_batch_normalization",),
    "ConvMulFusion": ("fold_channel_arithmetic",),
    "EliminateDropout": ("remove_dropout",),
    "EliminateIdentity": ("remove_identity",),
    "EliminateSlice": ("remove_full_slice",),
    "ExpandElimination": ("remove_same_shape_expand",),
    "NoopElimination": ("remove_neutral_arithmetic",),
}
"""onnxruntime's optimizers and the rules that do the same here."""


def rules_of(level: int, disabled: Collection[str] = ()) -> tuple[NodeRule | GraphRule, ...]:
    """The rules of one of onnxruntime's levels (0 none, 1 basic, 2 and above extended) without those that are disabled."""
    rules = () if level <= 0 else BASIC if level == 1 else EXTENDED
    left_out = {rule for name in disabled for rule in ONNXRUNTIME_NAMES.get(name, (name,))}
    return tuple(rule for rule in rules if rule.name not in left_out)
