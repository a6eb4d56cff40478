"""Protobuf's wire format, as far as it takes to leave weights where they are.

A model file is mostly tensor payloads. `without_payloads` copies everything else, so that the protobuf library parses
a few hundred kilobytes where the file has gigabytes; each payload left out is recorded in its tensor as external data
at `location`, with its offset and length in the file. Source: https://protobuf.dev/programming-guides/encoding/ and
`onnx.proto` for the field numbers.
"""

from __future__ import annotations

PAYLOAD_MINIMUM = 512
"""Bytes; a smaller message or payload is copied as it is."""

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 2, 4, 9, 10
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_TYPED_PAYLOADS = {_FLOAT_DATA: (1, 14), _DOUBLE_DATA: (11, 15)}
"""Element types whose packed repeated field has the bytes that raw_data would have."""

_LISTS = tuple(b"\xa0\x01" + bytes([kind]) for kind in (6, 7, 8))
"""How an attribute ends that is declared to be a list of numbers or texts: it may have millions, and none is a payload."""

_ENGINE = b"ep_cache_context"
"""An attribute of text with the compiled part of a model in it, which becomes a tensor of bytes as in `context_nodes`."""
_NAME, _TEXT, _TENSOR, _DIMS, _TYPE = 1, 4, 5, 1, 20
_IS_TENSOR, _IS_UINT8 = 4, 2

_DEEPEST = 100
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int, int, int]
"""Field number, wire type, where the tag starts, where the content starts, where it ends."""


class WireError(ValueError):
    """The bytes are not protobuf."""


def without_payloads(data: memoryview, location: str) -> bytes:
    """The serialized ModelProto `data` with each large payload replaced by an external-data reference to `location`.

    Raises:
        WireError: `data` is truncated or not protobuf; says at which byte.
    """
    return b"".join(_stripped("model", data, 0, len(data), location, 0))


def _stripped(kind: str, data: memoryview, start: int, end: int, location: str, depth: int) -> list[bytes]:
    if depth > _DEEPEST:
        raise WireError(f"messages are nested more than {_DEEPEST} deep at byte {start}")
    if kind == "tensor":
        return _stripped_tensor(data, start, end, location)
    if kind == "attribute" and (engine := _engine(data, start, end)) is not None:
        return _engine_tensor(*engine, location)
    children = _CHILDREN[kind]
    parts: list[bytes] = []
    copied = position = start
    while position < end:
        number, wire_type, tag, content, position = _field(data, position, end)
        if wire_type == _LENGTH and number in children and position - content >= PAYLOAD_MINIMUM:
            if children[number] == "attribute" and bytes(data[position - 3 : position]) in _LISTS:
                continue
            inner = _stripped(children[number], data, content, position, location, depth + 1)
            parts.append(bytes(data[copied:tag]))
            parts.append(_varint_bytes(number << 3 | _LENGTH) + _varint_bytes(sum(map(len, inner))))
            parts += inner
            copied = position
    parts.append(bytes(data[copied:end]))
    return parts


def _stripped_tensor(data: memoryview, start: int, end: int, location: str) -> list[bytes]:
    payloads: list[Field] = []
    data_type = 0
    position = start
    while position < end:
        field = _field(data, position, end)
        number, wire_type, _, content, position = field
        if number == _DATA_TYPE and wire_type == _VARINT:
            data_type = _varint(data, content, end)[0]
        elif number in (_FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA):
            payloads.append(field)
        elif number in (_EXTERNAL_DATA, _DATA_LOCATION):
            return [bytes(data[start:end])]
    if len(payloads) != 1 or not _can_stay(payloads[0], data_type):
        return [bytes(data[start:end])]
    _, _, tag, content, after = payloads[0]
    return [bytes(data[start:tag]), bytes(data[after:end]), _reference(location, content, after - content)]


def _engine(data: memoryview, start: int, end: int) -> tuple[int, int] | None:
    """Where the engine of an attribute starts, and how many bytes it has; None if the attribute is another, or its text is short."""
    name, engine = b"", None
    position = start
    while position < end:
        number, wire_type, _, content, position = _field(data, position, end)
        if number == _NAME and wire_type == _LENGTH:
            name = bytes(data[content:position])
        elif number == _TEXT and wire_type == _LENGTH and position - content >= PAYLOAD_MINIMUM:
            engine = content, position - content
    return engine if name == _ENGINE else None


def _engine_tensor(offset: int, length: int, location: str) -> list[bytes]:
    tensor = [
        _varint_bytes(_DIMS << 3 | _VARINT) + _varint_bytes(length),
        _varint_bytes(_DATA_TYPE << 3 | _VARINT) + _varint_bytes(_IS_UINT8),
        _reference(location, offset, length),
    ]
    return [_text(_NAME, _ENGINE), _text(_TENSOR, b"".join(tensor)), _varint_bytes(_TYPE << 3 | _VARINT) + _varint_bytes(_IS_TENSOR)]


def _can_stay(payload: Field, data_type: int) -> bool:
    number, wire_type, _, start, end = payload
    return wire_type == _LENGTH and end - start >= PAYLOAD_MINIMUM and (number == _RAW_DATA or data_type in _TYPED_PAYLOADS[number])


def _reference(location: str, offset: int, length: int) -> bytes:
    entries = (("location", location), ("offset", str(offset)), ("length", str(length)))
    encoded = [_text(_EXTERNAL_DATA, _text(1, key.encode()) + _text(2, value.encode())) for key, value in entries]
    return b"".join(encoded) + _varint_bytes(_DATA_LOCATION << 3 | _VARINT) + b"\x01"


def _text(number: int, content: bytes) -> bytes:
    return _varint_bytes(number << 3 | _LENGTH) + _varint_bytes(len(content)) + content


def _field(data: memoryview, position: int, end: int) -> Field:
    tag = position
    key, position = _varint(data, position, end)
    number, wire_type = key >> 3, key & 7
    if wire_type == _LENGTH:
        length, content = _varint(data, position, end)
        after = content + length
    elif wire_type == _VARINT:
        content = position
        _, after = _varint(data, position, end)
    elif wire_type in (_FIXED64, _FIXED32):
        content, after = position, position + (8 if wire_type == _FIXED64 else 4)
    else:
        raise WireError(f"no protobuf field can start with {data[tag]:#04x} at byte {tag}")
    if after > end or number == 0:
        reason = "field number 0" if number == 0 else f"a field needs {after - content} bytes and {end - content} are left (truncated?)"
        raise WireError(f"not protobuf at byte {tag}: {reason}")
    return number, wire_type, tag, content, after


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """The number at `position`, and where it ends."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError(f"the number before byte {position} does not end (truncated?)")


def _varint_bytes(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
