"""The profiles of a build: checked against the network, and completed with the inputs that have one shape alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxgpu.providers.tensorrt.stand_in.network import Network, Tensor
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.profile import OptimizationProfile, Range
from onnxgpu.providers.tensorrt.stand_in.reports import Reports

CALL = "IBuilder::buildSerializedNetwork"

Profile = tuple[Mapping[str, Range], Mapping[str, Range]]
"""The shapes of all inputs, and the values of shape tensors."""


def complete_profiles(network: Network, given: Sequence[OptimizationProfile], reports: Reports) -> tuple[Profile, ...] | None:
    """Every profile with the shapes of all inputs; those of static inputs are filled in."""
    dynamic = [tensor for tensor in network.inputs if -1 in tensor.shape]
    deciding = [tensor for tensor in network.inputs if tensor.is_shape_tensor]
    if not given:
        if dynamic or deciding:
            told = "Network has dynamic or shape inputs, but no optimization profile has been defined."
            broken("profile before building", reports, CALL, told, "INTERNAL_ERROR")
            return None
        return (({tensor.name: (tensor.shape,) * 3 for tensor in network.inputs}, {}),)
    try:
        return tuple(_complete(network, profile, number) for number, profile in enumerate(given))
    except _Unfit as error:
        if error.rule:
            broken(error.rule, reports, CALL, error.text, "INTERNAL_ERROR")
        else:
            reports.error(CALL, error.text, "INTERNAL_ERROR")
        return None


class _Unfit(Exception):
    """A profile does not fit; `rule` is empty where that is no question of order."""

    def __init__(self, text: str, rule: str = "") -> None:
        self.text, self.rule = text, rule


def _complete(network: Network, profile: OptimizationProfile, number: int) -> Profile:
    known = {tensor.name for tensor in network.inputs}
    for name in (*profile.shapes, *profile.values):
        if name not in known:
            raise _Unfit(f"{name}: profile {number} names no input of the network")
    deciding = {tensor.name for tensor in network.inputs if tensor.is_shape_tensor}
    for name in sorted(profile.values.keys() - deciding):
        raise _Unfit(f"{name} is no shape tensor", "shape values for shape tensors alone")
    for name in sorted(deciding - profile.values.keys()):
        raise _Unfit(f"{name}: shape input is missing values in profile {number}.", "profile gives every shape value")
    return {tensor.name: _shapes_of(tensor, profile, number) for tensor in network.inputs}, dict(profile.values)


def _shapes_of(tensor: Tensor, profile: OptimizationProfile, number: int) -> Range:
    given = profile.shapes.get(tensor.name)
    if given is None and -1 in tensor.shape:
        raise _Unfit(f"{tensor.name}: dynamic input is missing dimensions in profile {number}.", "profile names every dynamic input")
    shapes = given or (tensor.shape, tensor.shape, tensor.shape)
    if not all(_agrees(shape, tensor.shape) for shape in shapes):
        raise _Unfit(f"{tensor.name}: profile {number} does not match network definition {list(tensor.shape)}")
    return shapes


def _agrees(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(b in (-1, a) for a, b in zip(shape, declared, strict=True))
