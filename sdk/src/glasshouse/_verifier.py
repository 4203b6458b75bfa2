"""The verification of a server, as a story of twelve steps (docs/sdk.md tells it at length).

Everything here is a function of its arguments: no file, socket, clock, environment or global is touched.
Each step returns what the next ones may rely on, or raises an error of its own class, which carries the
verdict so far. A caller that gets a value back may rely on all of it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

from glasshouse_attestations.bundle import Bundle
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.claims import Outcome as CheckOutcome
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.receipt import receipt_public_key
from glasshouse_attestations.release import Release
from glasshouse_attestations.report_data import report_data
from glasshouse_log import VerifiedCheckpoint, verify_checkpoint

from ._log import (
    Claimed,
    Remembered,
    check_continuity,
    check_freshness,
    check_log_signature,
    check_statements_included,
    parse_proofs,
)
from ._platforms import bound_report_data, compared_registers, open_checks, unproven_registers
from ._policy import DevelopmentPolicy, Limits, Policy, Trust
from ._quote import verify_development_quote, verify_hardware_quote
from ._statements import (
    Released,
    Statements,
    check_audits,
    check_not_revoked,
    check_release,
    effective_revocations,
    parse_statements,
)
from ._verdict import Step, Story, Verdict
from .errors import (
    BundleMissingError,
    ConfigurationRefusedError,
    ReportDataMismatchError,
)

__all__ = [
    "Attestation",
    "Channel",
    "TrustedRelease",
    "VerifiedBundle",
    "VerifiedServer",
    "verify_attestation",
    "verify_bundle",
    "verify_evidence",
    "verify_transparency",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a server shows of itself, as it travels: nothing in it is verified."""

    evidence: bytes
    bundle: bytes
    receipt_public_key: bytes
    configuration: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What only this client knows first-hand: the nonce it drew, and whose TLS key it talks to."""

    nonce: bytes
    tls_spki_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBundle:
    """A bundle in its formats: statements, their proofs, and the checkpoint these lead to."""

    bundle: Bundle
    statements: Statements
    claimed: Claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRelease:
    """A release that the policy's maintainers, auditors, log and witnesses stand behind, unrevoked.

    ``log_key`` is the text form of the log's key, ``revocations`` the envelopes of all revocations that
    count, of whatever image: with ``checkpoint`` they are what a client has to remember.
    """

    release: Release
    auditors: tuple[str, ...]
    checkpoint: VerifiedCheckpoint
    log_key: str
    revocations: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedServer:
    """A server that runs a trusted release, with its keys and configuration as the quote binds them."""

    trusted: TrustedRelease
    claims: Claims
    configuration: RuntimeConfiguration
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBundle:
    """A trusted release, of which no server has been checked: steps 9 to 12 stay open."""

    trusted: TrustedRelease
    verdict: Verdict


def verify_attestation(
    attestation: Attestation,
    policy: Policy,
    *,
    channel: Channel,
    remembered: Remembered,
    now: datetime,
) -> VerifiedServer:
    """Return the server if all twelve steps pass: only then may anything be sent to it."""
    story = Story()
    with story.step(Step.FORMATS) as proved:
        evidence = Evidence.parse(attestation.evidence)
        configuration = RuntimeConfiguration.parse(attestation.configuration)
        receipt_key = _parse_receipt_key(attestation.receipt_public_key)
        bundle = parse_bundle(attestation.bundle)
        proved(f"evidence of {evidence.platform}, {len(bundle.bundle.entries)} statements, configuration")
    trusted = verify_transparency(bundle, policy.trust, remembered=remembered, now=now, story=story)
    claims = verify_evidence(
        evidence,
        trusted.release,
        policy,
        channel=channel,
        receipt_public_key=receipt_key,
        configuration=attestation.configuration,
        now=now,
        story=story,
    )
    with story.step(Step.CONFIGURATION) as proved:
        check_configuration(configuration, policy.limits)
        proved(_describe_configuration(configuration, policy.limits))
    return VerifiedServer(trusted=trusted, claims=claims, configuration=configuration, verdict=story.end())


def verify_bundle(
    data: bytes,
    policy: Policy,
    *,
    image_sha256: bytes | None = None,
    remembered: Remembered,
    now: datetime,
) -> VerifiedBundle:
    """Return the bundle's release if steps 1 to 8 pass; of the image with ``image_sha256``, if given."""
    story = Story()
    with story.step(Step.FORMATS) as proved:
        bundle = parse_bundle(data)
        proved(f"{len(bundle.bundle.entries)} statements")
    trusted = verify_transparency(
        bundle, policy.trust, image_sha256=image_sha256, remembered=remembered, now=now, story=story
    )
    for step in (Step.QUOTE, Step.MEASUREMENT, Step.CHANNEL, Step.CONFIGURATION):
        story.leave_out(step, "no server was asked")
    return VerifiedBundle(trusted=trusted, verdict=story.end())


def parse_bundle(data: bytes) -> ParsedBundle:
    """Step 1: the bundle, its statements and its proofs are in their formats and within their limits."""
    if not data:
        raise BundleMissingError("the server has no bundle")
    bundle = Bundle.parse(data)
    return ParsedBundle(
        bundle=bundle,
        statements=parse_statements(entry.envelope for entry in bundle.entries),
        claimed=parse_proofs(bundle),
    )


def verify_transparency(
    parsed: ParsedBundle,
    trust: Trust,
    *,
    image_sha256: bytes | None = None,
    remembered: Remembered,
    now: datetime,
    story: Story,
) -> TrustedRelease:
    """Steps 2 to 8: people vouch for a release, everybody can see that they do, and nobody took it back."""
    statements, bundle = parsed.statements, parsed.bundle
    with story.step(Step.RELEASE) as proved:
        released = check_release(statements, trust, image_sha256=image_sha256)
        proved(_describe_release(released, trust))
    release = released.release
    _tell_release(release, story)
    with story.step(Step.AUDITS) as proved:
        audited = check_audits(statements, release, trust.auditors, now=now)
        proved(f"reproduced by {', '.join(audited.organisations) or 'nobody'}")
    _tell_audits(audited.dissent, trust, story)
    with story.step(Step.INCLUSION) as proved:
        check_statements_included(bundle, parsed.claimed)
        proved(f"all {len(bundle.entries)} statements are among the log's {parsed.claimed.checkpoint.size}")
    with story.step(Step.LOG_SIGNATURE) as proved:
        log_key = check_log_signature(parsed.claimed.note, trust.log.witnesses, now=now)
        proved(f"by {parsed.claimed.checkpoint.origin}")
    with story.step(Step.WITNESSES) as proved:
        checkpoint = verify_checkpoint(parsed.claimed.note, trust.log.witnesses, now=now)
        proved(f"cosigned by {', '.join(name for name, _ in checkpoint.cosigned)}")
    _tell_witnesses(trust, story)
    with story.step(Step.FRESHNESS) as proved:
        time = check_freshness(checkpoint, trust.log, now=now)
        proved(f"cosigned at {time:%Y-%m-%dT%H:%M:%SZ}" if time else "of unknown age")
        known = remembered.checkpoints.get(log_key)
        if known is None:
            proved("first contact")
        else:
            proved(f"continues the {check_continuity(known, checkpoint, bundle)} entries seen before")
    _tell_memory(known, time, story)
    with story.step(Step.REVOCATION) as proved:
        revocations = effective_revocations(_with_remembered(statements, remembered), trust)
        check_not_revoked(release, revocations)
        release.check_validity(now)
        proved(f"none of this image; valid until {release.not_after:%Y-%m-%dT%H:%M:%SZ}")
    return TrustedRelease(
        release=release,
        auditors=audited.organisations,
        checkpoint=checkpoint,
        log_key=log_key,
        revocations=tuple(each.raw for signed in revocations.values() for each in signed),
    )


def verify_evidence(
    evidence: Evidence,
    release: Release,
    policy: Policy,
    *,
    channel: Channel,
    receipt_public_key: bytes,
    configuration: bytes,
    now: datetime,
    story: Story,
) -> Claims:
    """Steps 9 to 11: a platform vouches that this very channel ends in the release."""
    with story.step(Step.QUOTE) as proved:
        claims = verify_quote(evidence, policy, now=now)
        proved(f"signed by the {claims.platform} platform")
        if passed := [check.name for check in claims.checks if check.outcome is CheckOutcome.PASSED]:
            proved(f"checked: {', '.join(passed)}")
    _tell_claims(claims, story)
    with story.step(Step.MEASUREMENT) as proved:
        compared = compared_registers(claims)
        release.reference_values.check(claims.platform, compared)
        proved(f"{', '.join(sorted(compared))} as released")
    with story.step(Step.CHANNEL) as proved:
        check_report_data(
            claims, channel=channel, receipt_public_key=receipt_public_key, configuration=configuration
        )
        proved("the quote binds our nonce, this TLS key, the receipt key and the configuration")
    return claims


def verify_quote(evidence: Evidence, policy: Policy, *, now: datetime) -> Claims:
    """Step 9: return what the platform signed; only a development policy can lead beyond hardware."""
    if isinstance(policy, DevelopmentPolicy):
        return verify_development_quote(
            evidence, platforms=policy.platforms, launcher_keys=policy.launcher_keys, now=now
        )
    return verify_hardware_quote(evidence, platforms=policy.platforms, now=now)


def check_report_data(
    claims: Claims, *, channel: Channel, receipt_public_key: bytes, configuration: bytes
) -> None:
    """Step 11: the quote binds exactly these values, and if not: ``ReportDataMismatchError``.

    It has the 64 bytes of report data themselves, or their SHA-256 where a TPM signs it (on Azure, too).
    """
    expected = report_data(
        nonce=channel.nonce,
        tls_spki_sha256=channel.tls_spki_sha256,
        receipt_public_key=receipt_public_key,
        configuration_sha256=hashlib.sha256(configuration).digest(),
    )
    if not hmac.compare_digest(claims.report_data, bound_report_data(claims.platform, expected)):
        raise ReportDataMismatchError(
            "the quote does not bind our nonce, this channel's TLS key, the receipt key and the configuration"
        )


def check_configuration(configuration: RuntimeConfiguration, limits: Limits) -> None:
    """Step 12: no field is above the policy's maximum; :class:`ConfigurationRefusedError` if one is."""
    for name, maximum in limits.maxima:
        value = getattr(configuration, name)
        if value > maximum:
            raise ConfigurationRefusedError(f"the server's {name} is {value}, at most {maximum} is accepted")


def _parse_receipt_key(raw: bytes) -> bytes:
    receipt_public_key(raw)
    return raw


def _with_remembered(statements: Statements, remembered: Remembered) -> Statements:
    """Add the revocations that this client has seen before: a server that omits one gains nothing."""
    shown = {signed.raw for signed, _ in statements.revocations}
    others = parse_statements(raw for raw in remembered.revocations if raw not in shown)
    return Statements(
        releases=statements.releases,
        audits=statements.audits,
        revocations=statements.revocations + others.revocations,
    )


def _describe_release(released: Released, trust: Trust) -> str:
    keys = ", ".join(sorted(key.key_id[:16] for key in released.signers))
    return f"{released.release.version}, signed by maintainers {keys} ({trust.maintainers.threshold} needed)"


def _describe_configuration(configuration: RuntimeConfiguration, limits: Limits) -> str:
    accepted = ", ".join(name for name, _ in limits.maxima) or "no field"
    namespaces = ", ".join(sorted({key.namespace for key in configuration.api_keys})) or "none"
    return f"{accepted} limited by the policy; namespaces that api keys may change: {namespaces}"


def _tell_release(release: Release, story: Story) -> None:
    story.fact("release", release.version)
    story.fact("image", release.image_sha256.hex())
    story.fact("source", f"{release.source.repository} {release.source.commit.hex()}")


def _tell_audits(dissent: tuple[str, ...], trust: Trust, story: Story) -> None:
    for each in dissent:
        story.warn(each)
    if trust.auditors.required == 0:
        story.leave_out(Step.AUDITS, "the policy requires no audit")
        story.unproven("that the image is built from its source: the policy requires no audit")


def _tell_witnesses(trust: Trust, story: Story) -> None:
    needed = trust.log.smallest_quorum
    if needed == 0:
        story.leave_out(Step.WITNESSES, "the policy asks for no witness (quorum none)")
        story.unproven("that the log shows everybody the same, and when: the policy asks for no witness")
    elif needed == 1:
        story.unproven("that the log shows everybody the same, unless the one witness needed is honest")
    else:
        story.unproven(f"that the {needed} witnesses needed are run by different people")


def _tell_memory(known: bytes | None, time: datetime | None, story: Story) -> None:
    if known is None and time is None:
        story.leave_out(Step.FRESHNESS, "without witnesses there is no age, and this is the first contact")
    if known is None:
        story.unproven("that the log continues what this client saw before: this is its first contact")


def _tell_claims(claims: Claims, story: Story) -> None:
    story.fact("platform", claims.platform)
    for name, value in claims.attributes:
        story.fact(name, value)
    if claims.tcb_status is not None:
        story.fact("tcb status", " ".join((claims.tcb_status, *claims.advisory_ids)))
    for check in open_checks(claims):
        story.unproven(f"of the {claims.platform} evidence, {check.name}: {check.detail}")
    for each in (*unproven_registers(claims), *claims.unproven):
        story.unproven(each)
