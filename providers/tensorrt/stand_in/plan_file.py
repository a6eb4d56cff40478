"""Serialised engines: a head with version and GPU, a checksum, facts, the model, and its weights."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import onnx

from onnxgpu.providers.tensorrt.stand_in.profile import Range

MAGIC = b"ptrt stand-in engine\n"
_HEAD = struct.Struct("<32s64s32sQQ")


class PlanError(Exception):
    """The bytes are no engine that can be used here; the text is TensorRT's."""


@dataclass(frozen=True)
class IoTensor:
    """An input or output of an engine; `is_shape` says that its values are read on the host."""

    name: str
    type: str
    shape: tuple[int, ...]
    is_input: bool
    is_shape: bool = False


@dataclass(frozen=True)
class Facts:
    """What an engine knows of itself besides its model.

    Attributes:
        profiles: for each profile the shapes of inputs, and the values of shape tensors.
        memory: bytes of activations, for each profile.
        flags: names of the builder's flags.
        unknown: outputs whose shapes are not known before they are computed.
        refittable: names of weights that can be refitted.
        stripped: those of them that are not in the engine.
    """

    name: str
    tensors: tuple[IoTensor, ...]
    profiles: tuple[tuple[Mapping[str, Range], Mapping[str, Range]], ...]
    memory: tuple[int, ...]
    layers: tuple[tuple[str, str], ...]
    flags: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    refittable: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    plugin_operators: tuple[str, ...] = ()
    capability: int = 0
    compatibility: str = "NONE"
    verbosity: str = "LAYER_NAMES_ONLY"
    engine_capability: str = "STANDARD"
    tactic_sources: int = 0
    aux_streams: int = 0


@dataclass(frozen=True)
class PlanFile:
    """An engine as bytes hold it.

    Attributes:
        model: without the data of its large weights.
        weights: name → bytes as `raw_data` has them; without those that were stripped.
    """

    version: str
    platform: str
    facts: Facts
    model: bytes
    weights: Mapping[str, bytes] = field(default_factory=dict)

    def serialized(self) -> bytes:
        """The bytes."""
        sizes = {name: len(content) for name, content in self.weights.items()}
        text = json.dumps({"facts": asdict(self.facts), "weights": sizes}).encode()
        body = struct.pack("<Q", len(text)) + text + struct.pack("<Q", len(self.model)) + self.model + b"".join(self.weights.values())
        head = _HEAD.pack(self.version.encode(), self.platform.encode(), hashlib.sha256(body).digest(), len(body), 0)
        return MAGIC + head + body

    def without(self, names: Sequence[str]) -> PlanFile:
        """The same engine without these weights."""
        kept = {name: content for name, content in self.weights.items() if name not in names}
        facts = replace(self.facts, stripped=tuple(sorted({*self.facts.stripped, *(set(self.weights) - set(kept))})))
        return replace(self, weights=kept, facts=facts)

    def complete_model(self, weights: Mapping[str, bytes]) -> onnx.ModelProto:
        """The model with the data of `weights`."""
        proto = onnx.ModelProto()
        proto.ParseFromString(self.model)
        for tensor in proto.graph.initializer:
            if tensor.name in weights:
                name, dims, kind = tensor.name, list(tensor.dims), tensor.data_type
                tensor.CopyFrom(onnx.TensorProto(name=name, dims=dims, data_type=kind, raw_data=weights[name]))
        return proto


def restored(content: bytes, version: str, platform: str, capability: int) -> PlanFile:
    """The engine of some bytes.

    Args:
        content: of `serialized`.
        version: of the TensorRT that runs it.
        platform: the GPU.
        capability: its compute capability.

    Raises:
        PlanError: the bytes are of something else, of another version, or of a GPU that this one does not stand for.
    """
    if not content.startswith(MAGIC) or len(content) < len(MAGIC) + _HEAD.size:
        raise PlanError("Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match")
    fields = _HEAD.unpack_from(content, len(MAGIC))
    made_by, made_on = (text.rstrip(b"\0").decode() for text in fields[:2])
    if made_by != version:
        told = f"Note: Current Version: {version}, Serialized Engine Version: {made_by}"
        raise PlanError(f"Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. {told}")
    body = content[len(MAGIC) + _HEAD.size :]
    if len(body) < fields[3]:
        raise PlanError(f"Serialization assertion cur + size <= end failed.Trying to read {fields[3]} bytes of {len(body)}")
    body = body[: fields[3]]
    if hashlib.sha256(body).digest() != fields[2]:
        raise PlanError("Serialization assertion checksum failed.The engine plan file is damaged")
    plan = _parsed(body, made_by, made_on)
    _check_gpu(plan, platform, capability)
    return plan


def _parsed(body: bytes, made_by: str, made_on: str) -> PlanFile:
    (size,) = struct.unpack_from("<Q", body)
    head = json.loads(body[8 : 8 + size])
    at = 8 + size
    (size,) = struct.unpack_from("<Q", body, at)
    model, at = body[at + 8 : at + 8 + size], at + 8 + size
    weights: dict[str, bytes] = {}
    for name, size in head["weights"].items():
        weights[name], at = body[at : at + size], at + size
    return PlanFile(made_by, made_on, _facts(head["facts"]), model, weights)


def _facts(found: dict[str, object]) -> Facts:
    """JSON has lists where the facts have tuples."""

    def tupled(value: object) -> object:
        if isinstance(value, list):
            return tuple(tupled(item) for item in value)
        return {key: tupled(item) for key, item in value.items()} if isinstance(value, dict) else value

    fields = {key: tupled(value) for key, value in found.items()}
    fields["tensors"] = tuple(IoTensor(**tensor) for tensor in fields["tensors"])  # type: ignore[attr-defined]
    return Facts(**fields)  # type: ignore[arg-type]


def _check_gpu(plan: PlanFile, platform: str, capability: int) -> None:
    level, made_for = plan.facts.compatibility, plan.facts.capability
    fits = (
        platform == plan.platform
        or (level == "AMPERE_PLUS" and capability >= 80)
        or (level == "SAME_COMPUTE_CAPABILITY" and capability == made_for)
    )
    if not fits:
        expected, got = (f"{number // 10}.{number % 10}" for number in (made_for, capability))
        raise PlanError(
            "Using an engine plan file across different models of devices is not supported: The engine plan file is generated on an "
            f"incompatible device, expecting compute {expected} got compute {got}, please rebuild."
        )


def raw_bytes(tensor: onnx.TensorProto) -> bytes:
    """What `raw_data` of an initializer holds, or would hold."""
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data
