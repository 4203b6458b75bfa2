"""Whether an ONNX model is self-contained: no tensor of it lies in another file, or anywhere in memory.

A tensor can name a file, or an address in the process's memory, where onnxruntime is to find its values. A
caller's model must not choose what the enclave reads. The onnx package is too large a dependency for that one
question, so this walks the protobuf encoding (Protocol Buffers, "Encoding") along the fields through which
onnx.proto reaches a TensorProto, and copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from glasshouse_attestations.errors import MalformedError

__all__ = ["check_self_contained", "protobuf_fields"]

_MAX_DEPTH = 64
_MAX_FIELDS = 4_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    """Which fields of a message hold messages that matter here, by field number."""

    fields: dict[int, _Message] = field(default_factory=dict)


_TENSOR: Final = _Message()
_SPARSE_TENSOR = _Message({1: _TENSOR, 2: _TENSOR})
_GRAPH = _Message()
_ATTRIBUTE = _Message(
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE_TENSOR, 23: _SPARSE_TENSOR}
)
_NODE = _Message({5: _ATTRIBUTE})
_GRAPH.fields.update({1: _NODE, 5: _TENSOR, 15: _SPARSE_TENSOR})
_FUNCTION = _Message({7: _NODE, 11: _ATTRIBUTE})
_TRAINING = _Message({1: _GRAPH, 2: _GRAPH})
_MODEL = _Message({7: _GRAPH, 20: _TRAINING, 25: _FUNCTION})

_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14


def check_self_contained(model: bytes) -> None:
    """Return if the ONNX model holds all of its tensors itself.

    Raises :class:`MalformedError` if one lies elsewhere, if the bytes are not protobuf, or if the model has
    more fields or levels than any real one. Takes time linear in the number of fields.
    """
    pending = [(_MODEL, memoryview(model), 0)]
    count = 0
    while pending:
        message, data, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise MalformedError(f"the model is nested deeper than {_MAX_DEPTH} levels")
        for number, value in protobuf_fields(data):
            count += 1
            if count > _MAX_FIELDS:
                raise MalformedError(f"the model has more than {_MAX_FIELDS} fields")
            if message is _TENSOR:
                _check_tensor_field(number, value)
            elif (inner := message.fields.get(number)) is not None:
                if isinstance(value, int):
                    raise MalformedError("a message of the model is encoded as a number")
                pending.append((inner, value, depth + 1))


def _check_tensor_field(number: int, value: int | memoryview) -> None:
    if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
        raise MalformedError("a tensor of the model lies outside of it")


def protobuf_fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field's number, and its value if it is a varint or its bytes if it has any.

    Raises :class:`MalformedError` where the bytes stop being a message.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        # Some readers drop the bits above 32, and would see another field than this one.
        if not 0 < tag < 1 << 32:
            raise MalformedError("the model has a field of an impossible number")
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise MalformedError("the model has a field of a wire type that onnx does not use")
        if size > len(data) - position:
            raise MalformedError("a field of the model ends behind its message")
        yield number, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise MalformedError("a number of the model does not end")
