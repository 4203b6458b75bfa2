"""The release predicate: what the maintainers say an image is. Specified in ``predicates/release-v1.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from .canonical_json import JSON
from .document import Document, format_time, parse_hex
from .errors import MalformedError, ValidityError
from .reference_values import ReferenceValues
from .statement import Statement

__all__ = ["PREDICATE_TYPE", "Release", "Source"]

PREDICATE_TYPE = "https://glasshouse.invalid/attestations/release/v1"

_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", re.ASCII)
_LOCK_PATH = re.compile(r"(?=.{1,256}\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", re.ASCII)
_MAX_LOCKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an image was built from: a repository, and the commit in it (20 bytes SHA-1, or 32 SHA-256)."""

    repository: str
    commit: bytes

    @classmethod
    def parse(cls, document: Document) -> Source:
        """Return the source written as ``{"repository", "commit"}``."""
        repository = document.text("repository")
        commit = document.text("commit", max_length=64)
        document.end()
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit, re.ASCII):
            raise MalformedError("source.commit is not a full commit id in lower-case hexadecimal")
        return cls(repository=repository, commit=bytes.fromhex(commit))

    def to_json(self) -> JSON:
        """Write the source as :meth:`parse` reads it."""
        return {"repository": self.repository, "commit": self.commit.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The image with ``image_sha256`` is version ``version``, built from ``source`` with these locks.

    ``locks`` maps each lock file's path in the repository, relative and without hidden parts, to its
    SHA-256, ``builder`` names the tool and its version, ``sbom_sha256`` is the digest of the CycloneDX
    document published beside the release. One that contradicts itself is a :class:`MalformedError`.
    """

    image_sha256: bytes
    version: str
    source: Source
    locks: Mapping[str, bytes]
    builder: str
    reference_values: ReferenceValues
    sbom_sha256: bytes
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise MalformedError("release.version is not of the form X.Y.Z")
        if not 0 < len(self.locks) <= _MAX_LOCKS:
            raise MalformedError(f"release.locks names 1 to {_MAX_LOCKS} files")
        if not all(map(_LOCK_PATH.fullmatch, self.locks)):
            raise MalformedError("release.locks has a malformed path")
        if self.not_before >= self.not_after:
            raise MalformedError("release.notBefore is not before notAfter")

    @classmethod
    def parse(cls, statement: Statement) -> Release:
        """Return the release that ``statement`` makes; raises :class:`MalformedError` for another type."""
        document = statement.predicate_of(PREDICATE_TYPE)
        release = cls(
            image_sha256=statement.image_sha256,
            version=document.text("version", max_length=20),
            source=Source.parse(document.document("source")),
            locks=_parse_locks(document.document("locks")),
            builder=document.text("builder", max_length=128),
            reference_values=ReferenceValues.parse(document.document("referenceValues")),
            sbom_sha256=document.digest("sbom"),
            not_before=document.time("notBefore"),
            not_after=document.time("notAfter"),
        )
        document.end()
        return release

    def to_statement(self) -> Statement:
        """Write the release as the statement that :meth:`parse` reads."""
        return Statement(
            image_sha256=self.image_sha256,
            predicate_type=PREDICATE_TYPE,
            predicate={
                "version": self.version,
                "source": self.source.to_json(),
                "locks": cast(JSON, {path: digest.hex() for path, digest in self.locks.items()}),
                "builder": self.builder,
                "referenceValues": self.reference_values.to_json(),
                "sbom": self.sbom_sha256.hex(),
                "notBefore": format_time(self.not_before),
                "notAfter": format_time(self.not_after),
            },
        )

    def check_validity(self, now: datetime) -> None:
        """Return if ``now`` lies in the release's period, both ends included; else :class:`ValidityError`."""
        if now < self.not_before:
            raise ValidityError(f"the release is valid from {format_time(self.not_before)}")
        if now > self.not_after:
            raise ValidityError(f"the release was valid until {format_time(self.not_after)}")


def _parse_locks(document: Document) -> Mapping[str, bytes]:
    # The path of a lock is data, so an error names its place and not itself.
    return {path: parse_hex(document.value(path), "release.locks[]", 32) for path in document.names()}
