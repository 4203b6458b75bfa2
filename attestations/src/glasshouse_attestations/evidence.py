"""Evidence: a quote, and the endorsements that a verifier needs to judge it (RFC 9334, 8.2 and 8.4)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import canonical_json
from .document import Document, parse_base64
from .errors import MalformedError

__all__ = ["MAX_EVIDENCE_SIZE", "Evidence"]

_SCHEMA = "glasshouse/evidence/v1"
MAX_EVIDENCE_SIZE = 1 << 20
_MAX_PART_SIZE = 256 << 10
_MAX_ENDORSEMENTS = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a platform says about itself, in that platform's own formats, not yet verified.

    ``platform`` names the format of ``quote``. ``endorsements`` holds certificates, revocation lists and
    the like by name, each signed by its vendor, so that verification needs no network.
    """

    platform: str
    quote: bytes
    endorsements: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Evidence:
        """Return the evidence in ``data``: canonical JSON of at most 1 MiB."""
        document = Document(canonical_json.parse(data, max_size=MAX_EVIDENCE_SIZE, max_depth=3), "evidence")
        document.constant("schema", _SCHEMA)
        platform = document.text("platform", max_length=32)
        quote = parse_base64(document.value("quote"), "evidence.quote", max_size=_MAX_PART_SIZE)
        endorsements = _parse_endorsements(document.document("endorsements"))
        document.end()
        if not _NAME.fullmatch(platform):
            raise MalformedError("evidence.platform is malformed")
        if not quote:
            raise MalformedError("evidence.quote is empty")
        return cls(platform=platform, quote=quote, endorsements=endorsements)

    def encode(self) -> bytes:
        """Write the evidence as :meth:`parse` reads it."""
        return canonical_json.encode(
            {
                "schema": _SCHEMA,
                "platform": self.platform,
                "quote": base64.b64encode(self.quote).decode("ascii"),
                "endorsements": {
                    name: base64.b64encode(value).decode("ascii") for name, value in self.endorsements.items()
                },
            },
            max_size=MAX_EVIDENCE_SIZE,
        )


def _parse_endorsements(document: Document) -> Mapping[str, bytes]:
    names = document.names()
    if len(names) > _MAX_ENDORSEMENTS:
        raise MalformedError(f"evidence.endorsements has more than {_MAX_ENDORSEMENTS} members")
    if not all(_NAME.fullmatch(name) for name in names):
        raise MalformedError("evidence.endorsements has a malformed name")
    return {
        name: parse_base64(document.value(name), f"evidence.endorsements.{name}", max_size=_MAX_PART_SIZE)
        for name in names
    }
