"""What a model takes and gives, and whether the feed of a run fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.feeds import checked_feed, fitting, has_fixed_shape, placed
from onnxgpu.metadata import NodeArg

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxgpu.model_file import LoadedModel, ValueType


class Arguments:
    """The inputs and outputs of a model, as programs see them and as runs are checked against them.

    Args:
        loaded: the model.
        overrides: symbolic dimension → size.
        refuse_none: called with position and name of an input that is None; raises if a node reads it.

    Attributes:
        inputs: what a run must be given.
        outputs: in the order of the model.
        overridable: initializers that are also inputs.
        output_names: of `outputs`.
        have_fixed_shapes: whatever the inputs of a run are, shapes and dtypes are these.
    """

    def __init__(self, loaded: LoadedModel, overrides: Mapping[str, int], refuse_none: Callable[[int, str], None]) -> None:
        declared = {value.name: _argument(value, loaded.model, overrides) for value in (*loaded.inputs, *loaded.overridable_initializers)}
        self.inputs = [_public(declared[value.name]) for value in loaded.inputs]
        self.outputs = [_public(_argument(value, loaded.model, overrides)) for value in loaded.outputs]
        self.overridable = [_public(declared[value.name]) for value in loaded.overridable_initializers]
        self.output_names = [argument.name for argument in self.outputs]
        self._refuse_none = refuse_none
        self._positions: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._feeds = [(value.name or "", declared[value.name or ""], _default(value)) for value in loaded.model.graph.inputs]
        self.have_fixed_shapes = all(default is None and has_fixed_shape(argument) for _, argument, default in self._feeds)
        self._fits = [(name, fitting(argument)) for name, argument, _ in self._feeds]
        self._required = [name for name, argument, default in self._feeds if default is None and not _is_optional(argument)]

    def checked(self, feed: Mapping[str, Any]) -> list[Any]:
        """The inputs in order; a plain dict of arrays that are just what the model declares is not looked at further."""
        if type(feed) is dict and len(feed) == len(self._fits):
            inputs = []
            for name, fits in self._fits:
                value = feed.get(name)
                if not fits(value):
                    break
                inputs.append(value)
            else:
                return inputs
        return self._checked_each(feed)

    def _checked_each(self, feed: Mapping[str, Any]) -> list[Any]:
        if not hasattr(feed, "keys"):
            raise AttributeError(f"'{type(feed).__name__}' object has no attribute 'keys': input_feed is a dict, input name to array")
        self.check_required(feed)
        inputs, given = [], 0
        for name, argument, default in self._feeds:
            if name not in feed:
                inputs.append(default)
                continue
            given += 1
            if feed[name] is None and not _is_optional(argument):
                self._refuse_none(len(inputs), name)
                inputs.append(None)
            else:
                inputs.append(checked_feed(argument, feed[name]))
        if len(feed) > given:
            known = [name for name, _, _ in self._feeds]
            unknown = next(name for name in feed if name not in known)
            raise InvalidArgument(f"Invalid input name: {unknown}. The model's inputs are {known}")
        return placed(inputs)

    def check_required(self, names: Collection[str]) -> None:
        """Check that every input that has no default is among these.

        Raises:
            ValueError: one is not.
        """
        for name in self._required:
            if name not in names:
                missing = [name for name in self._required if name not in names]
                raise ValueError(f"Required inputs ({missing}) are missing from input feed ({list(names)}).")

    def input_positions(self) -> list[int]:
        """For each of `inputs`, its position among all inputs of the graph."""
        names = [name for name, _, _ in self._feeds]
        return [names.index(argument.name) for argument in self.inputs]

    def output_positions(self, names: Sequence[str] | None) -> tuple[int, ...]:
        """Positions of the outputs with these names; () for None and an empty list: all.

        Raises:
            TypeError: it is no list of names.
            InvalidArgument: there is no such output.
        """
        if not names:
            return ()
        try:
            known = self._positions.get(tuple(names)) if type(names) is list else None
        except TypeError:
            known = None
        return known or self._checked_positions(names)

    def _checked_positions(self, names: Sequence[str]) -> tuple[int, ...]:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"run(): incompatible function arguments. output_names is a list of names or None, got {names!r}")
        unknown = [name for name in names if name not in self.output_names]
        if unknown:
            raise InvalidArgument(f"Invalid output name:{unknown[0]}. The model's outputs are {self.output_names}")
        self._positions[tuple(names)] = tuple(self.output_names.index(name) for name in names)
        return self._positions[tuple(names)]


def _argument(value: ValueType, model: ir.Model, overrides: Mapping[str, int]) -> NodeArg:
    """The argument as feeds are checked; the shape of an optional tensor is that of the tensor."""
    shape: Any = value.shape
    if value.type.startswith("optional(tensor"):
        inside = next((v.shape for v in (*model.graph.inputs, *model.graph.outputs) if v.name == value.name), None)
        shape = None if inside is None else [getattr(size, "value", size) for size in inside]
    return NodeArg(value.name, value.type, None if shape is None else [overrides.get(d, d) if isinstance(d, str) else d for d in shape])


def _public(argument: NodeArg) -> NodeArg:
    """The argument as onnxruntime shows it: [] for a shape that is not known, and for what has none."""
    return NodeArg(argument.name, argument.type, argument.shape or [])


def _is_optional(argument: NodeArg) -> bool:
    return argument.type.startswith("optional")


def _default(value: ir.Value) -> np.ndarray | None:
    from onnxgpu.model_file import array_of

    return None if value.const_value is None else array_of(value.const_value)
