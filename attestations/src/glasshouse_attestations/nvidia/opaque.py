"""The opaque data of a GPU's or switch's response: NVIDIA's own facts about the device, type by type.

The types are those of NVIDIA's attestation SDK. The device signs them; a type not known here is kept but
has no meaning, since firmware adds types as it goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from ..errors import MalformedError
from .spdm import DIGEST_SIZE, Reader

__all__ = ["DeviceMode", "Field", "OpaqueData"]

_MAX_FIELDS = 64
_KNOWN_VERSION = 1
_ENABLED, _DISABLED = 0xAA, 0x55
_TEXT = re.compile(rb"[!-~]{1,32}", re.ASCII)


class Field(IntEnum):
    """The types that are read here."""

    DRIVER_VERSION = 3
    VBIOS_VERSION = 6
    NVDEC0_STATUS = 11
    BOARD_ID = 14
    CHIP_SKU = 15
    PROJECT = 17
    PROJECT_SKU = 18
    FWID = 20
    PROTECTED_PCIE_STATUS = 21
    DEVICE_PDI = 22
    VERSION = 34
    FEATURE_FLAG = 36


class DeviceMode(Enum):
    """How a GPU protects data outside of its own memory."""

    MULTI_GPU = "multi-GPU passthrough"
    SINGLE_GPU = "single-GPU passthrough"
    PROTECTED_PCIE = "protected PCIe: traffic between GPUs is not encrypted"


_MODES = {0: DeviceMode.MULTI_GPU, 1: DeviceMode.SINGLE_GPU, 2: DeviceMode.PROTECTED_PCIE}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueData:
    """The fields by type, each at most once."""

    fields: Mapping[int, bytes]

    @classmethod
    def parse(cls, data: bytes) -> OpaqueData:
        """Return the fields of ``data`` if its layout is a version known here."""
        reader = Reader(data, "the opaque data")
        fields: dict[int, bytes] = {}
        while reader.remaining:
            kind = reader.number(2)
            value = reader.take(reader.number(2))
            if kind in fields or len(fields) == _MAX_FIELDS:
                raise MalformedError(f"the opaque data has field {kind} twice, or too many fields")
            fields[kind] = value
        version = int.from_bytes(fields.get(Field.VERSION, b""), "little")
        if version > _KNOWN_VERSION:
            raise MalformedError(f"the opaque data is of the unknown version {version}")
        return cls(fields=fields)

    def text(self, field: Field) -> str:
        """Return a field that is a text of printable ASCII, zero bytes after it left out."""
        value = self._sized(field, None).rstrip(b"\0")
        if not _TEXT.fullmatch(value):
            raise MalformedError(f"the opaque field {field.name.lower()} is not a text")
        return value.decode("ascii")

    def optional_text(self, field: Field) -> str | None:
        """Return :meth:`text`, or ``None`` where the field is absent."""
        return self.text(field) if field in self.fields else None

    @property
    def gpu_vbios_version(self) -> str:
        """The version of a GPU's VBIOS as its RIM writes it, such as ``96.00.5E.00.01``."""
        raw = self._sized(Field.VBIOS_VERSION, 8)
        if any(raw[5:]):
            raise MalformedError("the opaque field vbios_version is not followed by zeros")
        return ".".join(f"{byte:02X}" for byte in (*reversed(raw[:4]), raw[4]))

    @property
    def firmware_id(self) -> bytes | None:
        """The FWID, the digest of the firmware that holds the signing key, where the device reports it."""
        return self._sized(Field.FWID, DIGEST_SIZE) if Field.FWID in self.fields else None

    @property
    def device_pdi(self) -> bytes:
        """A switch's own identifier, 8 bytes (a GPU has those of its switches there)."""
        return self._sized(Field.DEVICE_PDI, 8)

    @property
    def nvdec0_enabled(self) -> bool:
        """Whether the video decoder runs; if not, its measurement has no reference value."""
        return self._switch(Field.NVDEC0_STATUS)

    @property
    def mode(self) -> DeviceMode | None:
        """The GPU's mode, or ``None`` if its firmware is too old to say so and it is not protected PCIe."""
        if Field.FEATURE_FLAG in self.fields:
            flag = int.from_bytes(self._sized(Field.FEATURE_FLAG, 2), "little")
            if flag not in _MODES:
                raise MalformedError(f"the opaque field feature_flag is {flag}, an unknown mode")
            return _MODES[flag]
        protected = Field.PROTECTED_PCIE_STATUS in self.fields and self._switch(Field.PROTECTED_PCIE_STATUS)
        return DeviceMode.PROTECTED_PCIE if protected else None

    def _switch(self, field: Field) -> bool:
        value = self._sized(field, 1)[0]
        if value not in (_ENABLED, _DISABLED):
            raise MalformedError(f"the opaque field {field.name.lower()} is neither enabled nor disabled")
        return value == _ENABLED

    def _sized(self, field: Field, size: int | None) -> bytes:
        value = self.fields.get(field)
        if value is None:
            raise MalformedError(f"the opaque data lacks {field.name.lower()}")
        if size is not None and len(value) != size:
            raise MalformedError(f"the opaque field {field.name.lower()} does not have {size} bytes")
        return value
