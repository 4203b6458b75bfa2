"""What people signed about an image: the release, its audits, and revocations (steps 2, 3 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from glasshouse_attestations import audit, dsse, release, revocation, statement
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.keys import PublicKey
from glasshouse_attestations.release import Release
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import Statement

from ._policy import Auditors, Trust
from .errors import (
    AuditError,
    MalformedError,
    ReleaseError,
    RevokedError,
    SignatureError,
    ThresholdError,
    UntrustedKeyError,
    ValidityError,
)

__all__ = [
    "Audited",
    "Released",
    "Signed",
    "Statements",
    "check_audits",
    "check_not_revoked",
    "check_release",
    "effective_revocations",
    "parse_statements",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An envelope, its exact bytes, and what its payload says. Nobody has checked a signature yet."""

    raw: bytes
    envelope: Envelope
    says: Release | Audit | Revocation

    def verify(self, trusted: Iterable[PublicKey], threshold: int = 1) -> frozenset[PublicKey]:
        """Return the trusted keys that signed; raises as :func:`glasshouse_attestations.dsse.verify`."""
        return dsse.verify(
            self.envelope,
            payload_type=statement.PAYLOAD_TYPE,
            trusted=tuple(trusted),
            threshold=threshold,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements of a bundle, sorted by what they are."""

    releases: tuple[tuple[Signed, Release], ...]
    audits: tuple[tuple[Signed, Audit], ...]
    revocations: tuple[tuple[Signed, Revocation], ...]


_PARSERS: dict[str, Callable[[Statement], Release | Audit | Revocation]] = {
    release.PREDICATE_TYPE: Release.parse,
    audit.PREDICATE_TYPE: Audit.parse,
    revocation.PREDICATE_TYPE: Revocation.parse,
}


def parse_statements(envelopes: Iterable[bytes]) -> Statements:
    """Return what the envelopes say. An unknown kind is refused: it may be what a newer client must heed."""
    everything = [_parse_signed(raw) for raw in envelopes]
    return Statements(
        releases=tuple((each, each.says) for each in everything if isinstance(each.says, Release)),
        audits=tuple((each, each.says) for each in everything if isinstance(each.says, Audit)),
        revocations=tuple((each, each.says) for each in everything if isinstance(each.says, Revocation)),
    )


def _parse_signed(raw: bytes) -> Signed:
    envelope = Envelope.parse(raw)
    if envelope.payload_type != statement.PAYLOAD_TYPE:
        raise MalformedError(f"a statement's payload type is not {statement.PAYLOAD_TYPE}")
    parsed = Statement.parse(envelope.payload)
    parse = _PARSERS.get(parsed.predicate_type)
    if parse is None:
        raise MalformedError("a statement is no release, audit or revocation of a version known here")
    return Signed(raw=raw, envelope=envelope, says=parse(parsed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A release, and the maintainers' keys that signed it."""

    release: Release
    signers: frozenset[PublicKey]


def check_release(statements: Statements, trust: Trust, *, image_sha256: bytes | None = None) -> Released:
    """Return the bundle's one release, which enough maintainers signed, of the policy's source.

    If ``image_sha256`` is given, it is a release of that image. Raises :class:`ReleaseError`.
    """
    if len(statements.releases) != 1:
        raise ReleaseError(f"the bundle has {len(statements.releases)} releases, not one")
    signed, found = statements.releases[0]
    try:
        signers = signed.verify(trust.maintainers.keys, trust.maintainers.threshold)
    except (SignatureError, ThresholdError, UntrustedKeyError) as err:
        raise ReleaseError(f"the release is not the maintainers': {err}") from err
    if found.source.repository != trust.source:
        raise ReleaseError(
            f"the release is of the source {found.source.repository!r}, expected {trust.source!r}"
        )
    if image_sha256 is not None and found.image_sha256 != image_sha256:
        raise ReleaseError(
            f"the release is of image {found.image_sha256.hex()}, expected {image_sha256.hex()}"
        )
    return Released(release=found, signers=signers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The organisations that reproduced a release, and what others of the policy said instead."""

    organisations: tuple[str, ...]
    dissent: tuple[str, ...]


def check_audits(statements: Statements, found: Release, auditors: Auditors, *, now: datetime) -> Audited:
    """Return who reproduced the release: at least ``auditors.required`` distinct organisations.

    An organisation counts once, by its latest audit of this image. That audit must say `reproduced`, name
    the release's source and commit, have come to its reference values, and be valid now. Whoever the policy
    does not name counts for nothing. Raises :class:`AuditError`.
    """
    latest: dict[str, Audit] = {}
    for signed, said in statements.audits:
        for name in _organisations_behind(signed, auditors):
            is_about_this = said.image_sha256 == found.image_sha256
            if is_about_this and (name not in latest or _supersedes(said, latest[name])):
                latest[name] = said
    objections = {name: _objection(said, found, now) for name, said in sorted(latest.items())}
    agreed = tuple(name for name, objection in objections.items() if objection is None)
    dissent = tuple(f"auditor {name} {why}" for name, why in objections.items() if why is not None)
    if len(agreed) < auditors.required:
        told = "; ".join((f"{', '.join(agreed) or 'nobody'} reproduced it", *dissent))
        raise AuditError(f"{len(agreed)} of the {auditors.required} audits required: {told}")
    return Audited(organisations=agreed, dissent=dissent)


def _organisations_behind(signed: Signed, auditors: Auditors) -> tuple[str, ...]:
    everyone = [key for organisation in auditors.organisations for key in organisation.keys]
    try:
        keys = signed.verify(everyone) if everyone else frozenset()
    except UntrustedKeyError:
        return ()
    except SignatureError as err:
        raise AuditError(f"an audit names a trusted auditor's key, but {err}") from err
    return tuple(each.name for each in auditors.organisations if keys.intersection(each.keys))


def _supersedes(said: Audit, earlier: Audit) -> bool:
    """Whether an auditor's one audit replaces the other: the later; of two at one moment, the negative."""
    if said.time != earlier.time:
        return said.time > earlier.time
    return said.verdict is not audit.Verdict.REPRODUCED


def _objection(said: Audit, found: Release, now: datetime) -> str | None:
    """Return why an audit does not count for the release, or None if it does."""
    if said.verdict is audit.Verdict.FAILED:
        return "could not build the image"
    if said.verdict is audit.Verdict.DIFFERS:
        return "built another image from this source"
    if said.source != found.source:
        return "audited another source"
    if said.reference_values != found.reference_values:
        return "came to other reference values"
    try:
        said.check_validity(now)
    except ValidityError as err:
        return f"does not speak now: {err}"
    return None


def effective_revocations(statements: Statements, trust: Trust) -> dict[bytes, tuple[Signed, ...]]:
    """Return, by image, the revocations that count: by the maintainers' threshold, or enough auditors.

    Enough are as many organisations as a release needs, and at least one. Signatures below different
    statements about one image add up. A broken signature that names a trusted key raises SignatureError.
    """
    maintainers, organisations = trust.maintainers, trust.auditors.organisations
    everyone = [*maintainers.keys, *(key for each in organisations for key in each.keys)]
    by_image: dict[bytes, list[tuple[Signed, frozenset[PublicKey]]]] = {}
    for signed, said in statements.revocations:
        try:
            keys = signed.verify(everyone)
        except UntrustedKeyError:
            # What nobody stands behind must not be remembered beside what somebody does.
            continue
        by_image.setdefault(said.image_sha256, []).append((signed, keys))
    return {
        image: tuple(signed for signed, _ in against)
        for image, against in by_image.items()
        if _are_enough(frozenset().union(*(keys for _, keys in against)), trust)
    }


def _are_enough(keys: frozenset[PublicKey], trust: Trust) -> bool:
    maintainers, auditors = trust.maintainers, trust.auditors
    revoking = [each.name for each in auditors.organisations if keys.intersection(each.keys)]
    return len(keys.intersection(maintainers.keys)) >= maintainers.threshold or len(revoking) >= max(
        1, auditors.required
    )


def check_not_revoked(found: Release, revocations: dict[bytes, tuple[Signed, ...]]) -> None:
    """Return if none of the effective revocations is of the release's image; raises :class:`RevokedError`."""
    against = revocations.get(found.image_sha256)
    if against:
        reasons = [each.says.reason for each in against if isinstance(each.says, Revocation)]
        raise RevokedError(
            f"image {found.image_sha256.hex()} is revoked: {reasons[0]}",
            revocations=tuple(each.raw for each in against),
        )
