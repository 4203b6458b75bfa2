"""Auditing a release: rebuild its commit, compare, and say what came of it.

What is expected comes from the release statement, verified under the auditor's own policy and found in the
log; never from a server, from an image, or from whoever asks for the audit.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from glasshouse import Policy
from glasshouse_attestations.audit import Audit, Environment, Verdict
from glasshouse_attestations.bundle import LoggedStatement
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release
from glasshouse_log import verify_entry
from glasshouse_log.client import LogClient

from .clone import clone
from .compare import Comparison, compare
from .errors import RebuildError
from .measure import measure
from .publication import Publication, write_audit, write_bundle
from .rebuild import Rebuilt, Surroundings, folder_of_inputs, rebuild
from .verification import verify_release

__all__ = ["Finding", "environment", "examine", "expected_release", "log_finding", "refresh_bundle"]

_MAX_TEXT = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an auditor found. ``comparison`` is with the released image, if the auditor had one that differs.

    ``failure`` says why nothing could be built. ``is_confirmed`` holds if the image and every reference
    value are the released ones: only that makes the audit count for clients.
    """

    audit: Audit
    is_confirmed: bool
    comparison: Comparison | None = None
    failure: RebuildError | None = None

    @property
    def exit_code(self) -> int:
        """0 if the release is confirmed, 2 if it could not be built, 1 if it is another."""
        if self.is_confirmed:
            return 0
        return 2 if self.audit.verdict is Verdict.FAILED else 1


def expected_release(publication: Publication, policy: Policy, *, now: datetime) -> Release:
    """Return the release to audit: the maintainers signed it, and the log has it."""
    release = verify_release(publication.release, policy)
    statement = publication.release
    verify_entry(statement.envelope, statement.proof, policy.trust.log.witnesses, now=now)
    return release


def examine(
    release: Release,
    *,
    source: str | Path,
    image: bytes | None,
    now: datetime,
    validity: timedelta,
    tell: Callable[[str], None],
    with_progress: bool = False,
) -> Finding:
    """Rebuild the released commit from a clone of ``source`` and return what came of it.

    ``image`` is what is distributed as the release, if the auditor has it: it is only compared with a rebuild
    that differs. Raises :class:`~.errors.SourceError` if the commit cannot be had, which is no verdict.
    """
    commit = release.source.commit
    with tempfile.TemporaryDirectory(prefix="glasshouse-audit-") as folder:
        tell(f"cloning commit {commit.hex()[:12]} of {source}")
        tree = clone(source, commit, Path(folder, "source"))
        tell("rebuilding the image with that commit's builder")
        try:
            rebuilt = rebuild(
                tree,
                surroundings=Surroundings(),
                inputs=folder_of_inputs(source),
                with_progress=with_progress,
            )
        except RebuildError as err:
            audit = _audit(release, None, now=now, validity=validity)
            return Finding(audit=audit, is_confirmed=False, failure=err)
    audit = _audit(release, rebuilt, now=now, validity=validity)
    same_values = audit.reference_values == release.reference_values
    return Finding(
        audit=audit,
        is_confirmed=audit.verdict is Verdict.REPRODUCED and same_values,
        comparison=None if image is None or image == rebuilt.image else compare(image, rebuilt.image),
    )


def log_finding(folder: Path, finding: Finding, key: SigningKey, log: LogClient) -> Path:
    """Sign what was found, log it whatever it is, and put it and a new bundle into the release's folder."""
    envelope = finding.audit.to_statement().sign(key).encode()
    statement = LoggedStatement(envelope=envelope, proof=log.add(envelope))
    path = write_audit(folder, key.public_key, statement)
    refresh_bundle(folder, log)
    return path


def refresh_bundle(folder: Path, log: LogClient) -> None:
    """Write a bundle of everything in the release's folder, under the log's latest checkpoint."""
    envelopes = [statement.envelope for statement in Publication.read(folder).stapled]
    write_bundle(folder, log.build_bundle(envelopes).encode())


def environment() -> Environment:
    """Return where this process runs, as an audit states it."""
    return Environment(
        os=_ascii(_operating_system()),
        architecture=_ascii(platform.machine())[:32],
        python=platform.python_version()[:32],
    )


def _reference_values(rebuilt: Rebuilt) -> ReferenceValues:
    """Return what the image measures to on each platform that its commit knows.

    Computed here where this tool knows the platform too, so that a commit's builder cannot predict what it
    likes; a platform that only that commit knows keeps what its builder says.
    """
    here = measure(rebuilt.image).reference_values.platforms
    there = rebuilt.measurements.reference_values.platforms
    return ReferenceValues(platforms={name: here.get(name, values) for name, values in there.items()})


def _audit(release: Release, rebuilt: Rebuilt | None, *, now: datetime, validity: timedelta) -> Audit:
    digest = None if rebuilt is None else hashlib.sha256(rebuilt.image).digest()
    verdict = Verdict.FAILED
    if digest is not None:
        verdict = Verdict.REPRODUCED if digest == release.image_sha256 else Verdict.DIFFERS
    return Audit(
        image_sha256=release.image_sha256,
        verdict=verdict,
        source=release.source,
        rebuilt_sha256=digest,
        reference_values=None if rebuilt is None else _reference_values(rebuilt),
        environment=environment(),
        time=now,
        expires=now + validity,
    )


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")[:_MAX_TEXT] or "unknown"
