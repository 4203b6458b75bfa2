"""Checking a release: each of its files against the release statement, and all of it as a client does.

Nothing here touches a file, the network or the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from glasshouse import Policy, Remembered, Status, Step, Verdict, verify_bundle
from glasshouse_attestations import dsse
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.bundle import Bundle, LoggedStatement
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import (
    GlasshouseError,
    MeasurementMismatchError,
    PlatformNotSupportedError,
)
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.release import Release, Source
from glasshouse_attestations.statement import PAYLOAD_TYPE, Statement
from glasshouse_log import verify_entry

from .build import MEASUREMENTS_NAME
from .errors import PublicationError
from .measure import measure
from .provenance import PREDICATE_TYPE as PROVENANCE_TYPE
from .publication import SBOM_NAME, Publication
from .report import Check, Report, Writing

__all__ = ["check_image", "verify_publication", "verify_release"]


def verify_publication(
    publication: Publication,
    policy: Policy,
    *,
    now: datetime,
    image: bytes | None = None,
    is_candidate: bool = False,
) -> Report:
    """Return how every check of a release ended; ``image`` is checked too, if it is given.

    Nobody can have audited a candidate, which was not in the log until now: with ``is_candidate`` audits are
    not asked for, and the report says that they were not checked.
    """
    writing = Writing()
    release = None
    with writing.check("release statement") as shown:
        release = verify_release(publication.release, policy)
        shown(f"{release.version}, signed by the maintainers")
    if release is not None:
        _check_files(writing, publication, policy, release)
    for name, statement in _statements(publication):
        with writing.check(f"log has {name}") as shown:
            entry = verify_entry(statement.envelope, statement.proof, policy.trust.log.witnesses, now=now)
            shown(f"entry {entry.index} of {entry.checkpoint.size}")
    with writing.check("bundle") as shown:
        check_bundle(publication)
        shown("has the release and its audits, and nothing else")
    verdict = _check_as_client(writing, publication, policy, now, is_candidate=is_candidate)
    if image is None:
        writing.leave_out("image", "no image was given")
    elif release is not None:
        with writing.check("image") as shown:
            check_image(image, release)
            shown(f"sha256 {release.image_sha256.hex()}, all reference values recomputed")
    return writing.end(verdict)


def verify_release(statement: LoggedStatement, policy: Policy) -> Release:
    """Return what a release statement says: the policy's maintainers signed it, for the policy's source."""
    trust = policy.trust
    release = Release.parse(_verified(statement, policy))
    if release.source.repository != trust.source:
        raise PublicationError(
            f"the release is of the source {release.source.repository!r}, the policy's is {trust.source!r}"
        )
    return release


def check_provenance(publication: Publication, policy: Policy, release: Release) -> None:
    """Return if the maintainers signed the provenance, of this image, commit and files beside it."""
    statement = _verified(publication.provenance, policy)
    predicate = statement.predicate_of(PROVENANCE_TYPE)
    definition, run = predicate.document("buildDefinition"), predicate.document("runDetails")
    source = Source.parse(definition.document("externalParameters").document("source"))
    if statement.image_sha256 != release.image_sha256 or source != release.source:
        raise PublicationError("the provenance is of another image or commit than the release")
    expected = {
        MEASUREMENTS_NAME: hashlib.sha256(publication.measurements).digest(),
        SBOM_NAME: release.sbom_sha256,
    }
    if dict(_byproducts(run)) != expected:
        raise PublicationError("the provenance names other files than those beside the release")


def check_sbom(publication: Publication, release: Release) -> None:
    """Return if the bill of materials is the one that the release names."""
    digest = hashlib.sha256(publication.sbom).digest()
    if digest != release.sbom_sha256:
        raise PublicationError(
            f"{SBOM_NAME} has sha-256 {digest.hex()}, the release says {release.sbom_sha256.hex()}"
        )


def check_measurements(publication: Publication, release: Release) -> None:
    """Return if ``measurements.json`` has the digest and the reference values of the release."""
    measurements = Measurements.parse(publication.measurements)
    if measurements.sha256 != release.image_sha256:
        raise PublicationError(f"{MEASUREMENTS_NAME} is of another image than the release")
    if measurements.reference_values != release.reference_values:
        raise PublicationError(f"{MEASUREMENTS_NAME} has other reference values than the release")


def check_audit(name: str, statement: LoggedStatement, release: Release) -> Audit:
    """Return the audit in a file: of the release's image, signed by the key that the file is named after.

    Whether the auditor counts for anything is the client's question.
    """
    envelope = dsse.Envelope.parse(statement.envelope)
    audit = Audit.parse(Statement.parse(envelope.payload))
    if not any(each.key_id.startswith(name) for each in envelope.signatures):
        raise PublicationError(f"the audit {name} is not signed by the key of that name")
    if audit.image_sha256 != release.image_sha256:
        raise PublicationError(f"the audit {name} is of another image than the release")
    return audit


def check_bundle(publication: Publication) -> None:
    """Return if the bundle has exactly the statements that lie beside it."""
    stapled = {entry.envelope for entry in Bundle.parse(publication.bundle).entries}
    published = {statement.envelope for statement in publication.stapled}
    if stapled != published:
        raise PublicationError("the bundle does not have exactly the release and its audits")


def check_image(image: bytes, release: Release) -> None:
    """Return if ``image`` is the released one: its digest, and every reference value recomputed from it."""
    digest = hashlib.sha256(image).digest()
    if digest != release.image_sha256:
        raise MeasurementMismatchError(
            f"the image has sha-256 {digest.hex()}, the release says {release.image_sha256.hex()}"
        )
    here = measure(image).reference_values.platforms
    for platform, stated in release.reference_values.platforms.items():
        if platform not in here:
            raise PlatformNotSupportedError(f"this version cannot measure images for platform {platform}")
        if here[platform] != stated:
            raise MeasurementMismatchError(
                f"the image measures to other values for platform {platform} than the release says"
            )


def _check_files(writing: Writing, publication: Publication, policy: Policy, release: Release) -> None:
    with writing.check("provenance") as shown:
        check_provenance(publication, policy, release)
        shown("signed by the maintainers, of this image and commit")
    with writing.check("bill of materials") as shown:
        check_sbom(publication, release)
        shown("as the release names it")
    with writing.check("measurements") as shown:
        check_measurements(publication, release)
        shown(f"{', '.join(sorted(release.reference_values.platforms))} as released")
    for name, statement in sorted(publication.audits.items()):
        with writing.check(f"audit {name}") as shown:
            audit = check_audit(name, statement, release)
            shown(f"{audit.verdict.value}, {audit.environment.os}, Python {audit.environment.python}")


def _check_as_client(
    writing: Writing, publication: Publication, policy: Policy, now: datetime, *, is_candidate: bool
) -> Verdict | None:
    """Write down how a client ends, and steps 1 to 8 as it takes them."""
    trusting = _unaudited(policy) if is_candidate else policy
    verdict: Verdict | None = None
    with writing.check("client") as shown:
        try:
            verdict = verify_bundle(publication.bundle, trusting, remembered=Remembered(), now=now).verdict
        except GlasshouseError as err:
            verdict = getattr(err, "verdict", None)
            raise
        shown("would trust the release once it is audited" if is_candidate else "trusts the release")
    if verdict is not None:
        verdict = _of_candidate(verdict, policy) if is_candidate else verdict
        for step in tuple(Step)[: Step.REVOCATION.number]:
            result = verdict[step]
            name, detail = f"client, step {step.number}: {step.title}", result.detail or "not reached"
            writing.add(Check(name=name, status=result.status, detail=detail))
    return verdict


def _of_candidate(verdict: Verdict, policy: Policy) -> Verdict:
    """Return a verdict under :func:`_unaudited` in the words of the policy, which asks for audits."""
    reason = f"nobody can have audited it yet, and the policy requires {policy.trust.auditors.required}"
    steps = tuple(
        replace(result, detail=reason)
        if result.step is Step.AUDITS and result.status is Status.NOT_CHECKED
        else result
        for result in verdict.steps
    )
    unproven = tuple(each for each in verdict.unproven if "the policy requires no audit" not in each)
    return replace(verdict, steps=steps, unproven=(*unproven, "that others build this image from its source"))


def _unaudited(policy: Policy) -> Policy:
    auditors = replace(policy.trust.auditors, required=0)
    return replace(policy, trust=replace(policy.trust, auditors=auditors))


def _statements(publication: Publication) -> Iterator[tuple[str, LoggedStatement]]:
    yield "the release", publication.release
    yield "the provenance", publication.provenance
    for name, statement in sorted(publication.audits.items()):
        yield f"audit {name}", statement


def _verified(statement: LoggedStatement, policy: Policy) -> Statement:
    maintainers = policy.trust.maintainers
    envelope = dsse.Envelope.parse(statement.envelope)
    dsse.verify(
        envelope, payload_type=PAYLOAD_TYPE, trusted=maintainers.keys, threshold=maintainers.threshold
    )
    return Statement.parse(envelope.payload)


def _byproducts(run: Document) -> Iterator[tuple[str, bytes]]:
    for item in run.documents("byproducts", max_count=16):
        yield item.text("name"), item.document("digest").digest("sha256")
