"""The quote itself: signed by the key, over the registers shown, of a boot as young as asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ..claims import Check, Outcome
from ..errors import EvidenceSignatureError, FreshnessError, UnavailableError
from . import event_log, pcr
from .attestation_key import Scheme
from .policy import Policy
from .structures import Attestation, ClockInfo, HashAlgorithm, PublicKey, Signature, SignatureScheme

__all__ = ["Quote", "verify_quote"]

_HASHES = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A verified quote: what the TPM said, the registers that it said it about, and how that was checked."""

    attestation: Attestation
    values: Mapping[int, bytes]
    checks: tuple[Check, ...]


def verify_quote(
    message: bytes,
    *,
    signature: bytes,
    pcrs: bytes,
    log: bytes | None,
    key: PublicKey,
    scheme: Scheme,
    policy: Policy,
) -> Quote:
    """Return the quote in ``message`` if ``key`` signed it and it shows what ``policy`` asks for."""
    attestation = Attestation.parse(message)
    values = pcr.parse_values(pcrs, bank=policy.bank)
    checks = (
        _check_signature(message, Signature.parse(signature), key, scheme),
        _check_selection(attestation, values, policy),
        _check_digest(attestation, values, scheme),
        _check_override_registers(values, policy),
        _check_clock(attestation.clock, policy),
        _check_event_log(log, values, policy),
    )
    return Quote(attestation=attestation, values=values, checks=checks)


def _check_signature(message: bytes, signature: Signature, key: PublicKey, scheme: Scheme) -> Check:
    """The signature over all of TPMS_ATTEST (Part 3, 18.4), by the key's one scheme (Part 2, 11.3.4)."""
    if (signature.scheme, signature.hash_id) != (scheme.scheme, scheme.hash.value):
        raise EvidenceSignatureError(
            f"the quote is not signed with the key's scheme, {scheme.scheme.name} with {scheme.hash.label}"
        )
    try:
        _verify_signature(message, signature, key, scheme)
    except (InvalidSignature, ValueError) as err:
        raise EvidenceSignatureError("the quote is not signed by the attestation key") from err
    return _passed(
        "quote signature",
        f"{scheme.scheme.name}, {scheme.hash.label}",
        "TPM 2.0 Part 2, 11.3.4; Part 3, 18.4",
    )


def _verify_signature(message: bytes, signature: Signature, key: PublicKey, scheme: Scheme) -> None:
    digest = _HASHES[scheme.hash]
    if isinstance(key, ec.EllipticCurvePublicKey):
        r, s = (int.from_bytes(number, "big") for number in signature.numbers)
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))
    else:
        key.verify(signature.numbers[0], message, _rsa_padding(scheme.scheme, digest), digest)


def _rsa_padding(scheme: SignatureScheme, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if scheme is SignatureScheme.RSASSA:
        return padding.PKCS1v15()
    # How long the salt is depends on the TPM's version and certification (Part 1, B.7).
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.AUTO)


def _check_selection(attestation: Attestation, values: Mapping[int, bytes], policy: Policy) -> Check:
    pcr.check_selection(attestation.selections, values, bank=policy.bank, expected=policy.selection)
    return _passed("register selection", f"{len(values)} of {policy.bank.label}", "TPM 2.0 Part 2, 10.6.2")


def _check_digest(attestation: Attestation, values: Mapping[int, bytes], scheme: Scheme) -> Check:
    pcr.check_digest(attestation.pcr_digest, values, signing_hash=scheme.hash)
    return _passed("register digest", "recomputed", "TPM 2.0 Part 2, 10.12.4")


def _check_override_registers(values: Mapping[int, bytes], policy: Policy) -> Check:
    """What stays zero while nothing from outside the image is measured into its boot (UKI specification)."""
    source = "Linux TPM PCR Registry, 8, 12 and 13"
    if not policy.zero:
        return Check(name="override registers", outcome=Outcome.NOT_CHECKED, source=source)
    pcr.check_zero(values, zero=policy.zero)
    return _passed("override registers", "zero: " + ", ".join(map(str, sorted(policy.zero))), source)


def _check_clock(clock: ClockInfo, policy: Policy) -> Check:
    """How long the TPM has run and how often it was reset, against the limits of the policy if it has any."""
    limits = (
        ("clock", clock.clock_ms, policy.maximum_clock_ms),
        ("reset count", clock.reset_count, policy.maximum_reset_count),
        ("restart count", clock.restart_count, policy.maximum_restart_count),
    )
    for name, value, limit in limits:
        if limit is not None and value > limit:
            raise FreshnessError(f"the TPM's {name} is {value}, above the policy's limit of {limit}")
    if policy.require_safe_clock and not clock.safe:
        raise FreshnessError("the TPM's clock may have gone backwards: it was not shut down in order")
    limited = policy.require_safe_clock or any(limit is not None for _, _, limit in limits)
    return Check(
        name="clock and counters",
        outcome=Outcome.PASSED if limited else Outcome.NOT_CHECKED,
        detail="within the policy's limits" if limited else "the policy sets no limit",
        source="TPM 2.0 Part 2, 10.11.1",
    )


def _check_event_log(log: bytes | None, values: Mapping[int, bytes], policy: Policy) -> Check:
    """The log replays to the quoted registers, if it is there (TCG PC Client PFP, 10)."""
    source = "TCG PC Client PFP, 10"
    if log is None:
        if policy.require_event_log:
            raise UnavailableError("the policy asks for an event log, and the evidence has none")
        return Check(name="event log", outcome=Outcome.NOT_APPLICABLE, detail="none given", source=source)
    unlogged = policy.unlogged_registers
    events = event_log.verified_events(log, values, bank=policy.bank, unlogged=unlogged)
    return _passed("event log", f"{len(events)} events replay to the registers", source)


def _passed(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.PASSED, detail=detail, source=source)
