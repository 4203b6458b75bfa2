"""The folder of a release: what ``attestations/releases/<version>/`` holds, and reading and writing it.

``release.dsse.json`` and ``provenance.dsse.json`` are signed envelopes, ``audits/<key id>.dsse.json`` one for
each auditor, and beside each of them lies its ``.tlog-proof``. ``sbom.cdx.json`` and ``measurements.json``
are named by digest or value in the release, and ``bundle.json`` is what a server staples to its evidence.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE, LoggedStatement
from glasshouse_attestations.dsse import MAX_ENVELOPE_SIZE
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import PublicKey

from .build import MEASUREMENTS_NAME, write_atomically
from .errors import PublicationError, SourceError

__all__ = ["RELEASES_FOLDER", "SBOM_NAME", "Publication", "audit_name", "write_audit", "write_bundle"]

RELEASES_FOLDER = "attestations/releases"
_RELEASE, _PROVENANCE = "release", "provenance"
SBOM_NAME = "sbom.cdx.json"
_BUNDLE, _AUDITS = "bundle.json", "audits"
_ENVELOPE_SUFFIX, _PROOF_SUFFIX = ".dsse.json", ".tlog-proof"
_AUDIT_NAME = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MAX_SBOM_SIZE = 4 << 20
_MAX_AUDITS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The files of one release, as they are: read under size caps and not verified.

    ``audits`` maps the first 16 digits of an auditor's key id to what that auditor signed.
    """

    release: LoggedStatement
    provenance: LoggedStatement
    sbom: bytes
    measurements: bytes
    bundle: bytes
    audits: Mapping[str, LoggedStatement] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Publication:
        """Return the release in ``folder``, in which nothing may be missing or unknown."""
        if not folder.is_dir():
            raise SourceError(f"{folder} is not the folder of a release", hint="name a version, or a folder")
        _check_names(folder)
        return cls(
            release=_read_statement(folder / _RELEASE),
            provenance=_read_statement(folder / _PROVENANCE),
            sbom=_read(folder / SBOM_NAME, _MAX_SBOM_SIZE),
            measurements=_read(folder / MEASUREMENTS_NAME, _MAX_SBOM_SIZE),
            bundle=_read(folder / _BUNDLE, MAX_BUNDLE_SIZE),
            audits={name: _read_statement(folder / _AUDITS / name) for name in _audit_names(folder)},
        )

    def write(self, folder: Path) -> None:
        """Make ``folder``, which must not exist, with all files in it, or leave nothing behind."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            complete = Path(temporary) / folder.name
            (complete / _AUDITS).mkdir(parents=True)
            _write_statement(complete / _RELEASE, self.release)
            _write_statement(complete / _PROVENANCE, self.provenance)
            (complete / SBOM_NAME).write_bytes(self.sbom)
            (complete / MEASUREMENTS_NAME).write_bytes(self.measurements)
            (complete / _BUNDLE).write_bytes(self.bundle)
            for name, statement in self.audits.items():
                _write_statement(complete / _AUDITS / name, statement)
            complete.rename(folder)

    @property
    def stapled(self) -> Sequence[LoggedStatement]:
        """The statements that a server's bundle carries: the release, and the audits in order of key id."""
        return (self.release, *(self.audits[name] for name in sorted(self.audits)))


def audit_name(key: PublicKey) -> str:
    """Return what an auditor's files are called: the first 16 digits of the key id."""
    return key.key_id[:16]


def write_audit(folder: Path, key: PublicKey, statement: LoggedStatement) -> Path:
    """Write an auditor's statement into a release and return its path; an earlier one of the key goes.

    The log keeps the earlier one for good; the folder holds what the auditor says last.
    """
    (folder / _AUDITS).mkdir(exist_ok=True)
    stem = folder / _AUDITS / audit_name(key)
    _write_statement(stem, statement)
    return _with_suffix(stem, _ENVELOPE_SUFFIX)


def write_bundle(folder: Path, bundle: bytes) -> None:
    """Replace the bundle of a release."""
    write_atomically(folder / _BUNDLE, bundle)


def _check_names(folder: Path) -> None:
    expected = {SBOM_NAME, MEASUREMENTS_NAME, _BUNDLE, _AUDITS}
    for stem in (_RELEASE, _PROVENANCE):
        expected |= {stem + _ENVELOPE_SUFFIX, stem + _PROOF_SUFFIX}
    found = {path.name for path in folder.iterdir()}
    # git keeps no empty folder, so a release without audits has none.
    missing = sorted(expected - found - {_AUDITS})
    if missing:
        raise PublicationError(f"{folder.name} lacks {missing[0]}")
    unknown = sorted(found - expected)
    if unknown:
        raise PublicationError(f"{folder.name} has {unknown[0]}, which is no part of a release")


def _audit_names(folder: Path) -> list[str]:
    audits = folder / _AUDITS
    names = sorted(path.name for path in audits.iterdir()) if audits.is_dir() else []
    stems = [name.removesuffix(_ENVELOPE_SUFFIX) for name in names if name.endswith(_ENVELOPE_SUFFIX)]
    if len(stems) > _MAX_AUDITS or not all(_AUDIT_NAME.fullmatch(stem) for stem in stems):
        raise PublicationError(f"{_AUDITS} does not hold 1 to {_MAX_AUDITS} statements named by key id")
    expected = sorted(stem + suffix for stem in stems for suffix in (_ENVELOPE_SUFFIX, _PROOF_SUFFIX))
    if names != expected:
        raise PublicationError(f"{_AUDITS} does not hold a statement and its proof for each auditor")
    return stems


def _read_statement(stem: Path) -> LoggedStatement:
    return LoggedStatement(
        envelope=_read(_with_suffix(stem, _ENVELOPE_SUFFIX), MAX_ENVELOPE_SIZE),
        proof=_read(_with_suffix(stem, _PROOF_SUFFIX), MAX_ENVELOPE_SIZE),
    )


def _write_statement(stem: Path, statement: LoggedStatement) -> None:
    write_atomically(_with_suffix(stem, _ENVELOPE_SUFFIX), statement.envelope)
    write_atomically(_with_suffix(stem, _PROOF_SUFFIX), statement.proof)


def _with_suffix(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _read(path: Path, max_size: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(max_size + 1)
    if len(data) > max_size:
        raise MalformedError(f"{path.name} has more than {max_size} bytes")
    return data
