"""``measurements.json``: what the build measured of an image, beside the image."""

from __future__ import annotations

from dataclasses import dataclass

from . import canonical_json
from .document import Document
from .errors import MalformedError
from .reference_values import ReferenceValues

__all__ = ["Measurements"]

_SCHEMA = "glasshouse/measurements/v1"
_MAX_SIZE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """An image's digests and size in bytes, and the reference values computed from it."""

    sha256: bytes
    sha384: bytes
    size: int
    reference_values: ReferenceValues

    @classmethod
    def parse(cls, data: bytes) -> Measurements:
        """Return the measurements in ``data``: canonical JSON and a newline."""
        if not data.endswith(b"\n"):
            raise MalformedError("measurements do not end with a newline")
        document = Document(canonical_json.parse(data[:-1], max_size=_MAX_SIZE), "measurements")
        document.constant("schema", _SCHEMA)
        image = document.document("image")
        measurements = cls(
            sha256=image.digest("sha256"),
            sha384=image.digest("sha384", 48),
            size=image.integer("size", minimum=1),
            reference_values=ReferenceValues.parse(document.document("referenceValues")),
        )
        image.end()
        document.end()
        return measurements

    def encode(self) -> bytes:
        """Write the measurements as :meth:`parse` reads them."""
        document = canonical_json.encode(
            {
                "schema": _SCHEMA,
                "image": {"sha256": self.sha256.hex(), "sha384": self.sha384.hex(), "size": self.size},
                "referenceValues": self.reference_values.to_json(),
            }
        )
        return document + b"\n"
