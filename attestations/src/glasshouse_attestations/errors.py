"""What can go wrong, by class; every error of every Glasshouse distribution is one of these.

::

    GlasshouseError
    ├── MalformedError              not in the format: size, encoding, unknown field, wrong version
    ├── VerificationError           well-formed, but not what it claims to be
    │   ├── SignatureError          a signature does not verify
    │   ├── UntrustedKeyError       signed, but by nobody the policy names
    │   ├── ThresholdError          signed by fewer trusted keys than the policy asks for
    │   ├── ValidityError           outside its period of validity
    │   ├── EvidenceSignatureError  a quote is not signed by the platform it names
    │   ├── MeasurementMismatchError    registers differ from the reference values
    │   ├── ReportDataMismatchError     a quote does not bind this channel, key, configuration and nonce
    │   ├── PlatformNotAllowedError     the policy does not accept evidence of this platform
    │   └── PlatformError           genuine or not, the platform is not in a state to be trusted
    │       ├── CertificateChainError   endorsements do not chain to the vendor's pinned root
    │       ├── CertificateExpiredError a certificate of the chain is outside its period of validity
    │       ├── CertificateRevokedError a certificate of the chain is revoked
    │       ├── RevocationListError     a revocation list is not its issuer's, or is stale
    │       ├── KeyBindingError         the key that signed is not the one that was endorsed
    │       ├── CollateralError         TCB info or an identity is not the vendor's, or is stale
    │       ├── ModuleIdentityError     the quoting enclave or module is not the vendor's
    │       ├── TcbStatusError          the vendor judges this firmware, and the policy does not accept it
    │       ├── TcbFloorError           a firmware version lies below the policy's floor
    │       ├── ProductError            the policy does not accept this product
    │       ├── IdentityError           the chip, provider or instance is not the one endorsed or asked for
    │       ├── DebugError              the operator can read the guest: debug is on
    │       ├── MigrationError          the guest can be moved by somebody else
    │       ├── AttributesError         an attribute or policy bit is not as the policy asks
    │       ├── PrivilegeError          the evidence was asked for by another privilege level
    │       ├── FreshnessError          the evidence's own time is too old or in the future
    │       ├── PcrError                the PCR selection or digest is not what was asked for
    │       ├── OverrideRegisterError   something from outside the image was measured into its boot
    │       └── EventLogError           an event log does not replay to the registers
    └── UnavailableError            could not be checked
        └── PlatformNotSupportedError   this version cannot verify evidence of this platform

A caller's own mistake (a wrong type, a negative size) stays ``TypeError`` or ``ValueError``.
"""

from __future__ import annotations


class GlasshouseError(Exception):
    """The root: catching it catches everything that Glasshouse raises on purpose.

    ``hint`` says in one line what the reader can do about it, where something can be said. ``verdict`` is
    how far a client's verification had come, where one was under way.
    """

    hint: str | None = None
    verdict: object | None = None


class MalformedError(GlasshouseError):
    """The bytes are not in the format they should be in."""


class VerificationError(GlasshouseError):
    """The object is well-formed, but it is not what it claims to be."""


class SignatureError(VerificationError):
    """A signature does not verify under the key it names."""


class UntrustedKeyError(VerificationError):
    """Nobody whom the policy trusts has signed."""


class ThresholdError(VerificationError):
    """Fewer trusted keys have signed than the policy asks for."""


class ValidityError(VerificationError):
    """The moment of verification lies outside the object's period of validity."""


class EvidenceSignatureError(VerificationError):
    """A quote is not signed by the platform that it names."""


class MeasurementMismatchError(VerificationError):
    """The registers of a quote differ from the reference values."""


class ReportDataMismatchError(VerificationError):
    """A quote is genuine, but binds another channel, key, configuration or nonce."""


class PlatformNotAllowedError(VerificationError):
    """The policy does not accept evidence of this platform."""


class PlatformError(VerificationError):
    """The evidence's platform is not in a state to be trusted; the subclass names the step."""


class CertificateChainError(PlatformError):
    """The endorsements do not chain to the vendor's pinned root."""


class CertificateExpiredError(PlatformError):
    """A certificate of the chain is outside its period of validity."""


class CertificateRevokedError(PlatformError):
    """A certificate of the chain is revoked, or its holder stands on a deny list."""


class RevocationListError(PlatformError):
    """A revocation list is not signed by its issuer, or not current."""


class KeyBindingError(PlatformError):
    """The key that signed the evidence is not the one that the endorsements vouch for."""


class CollateralError(PlatformError):
    """TCB info, an identity or a manifest is not the vendor's, is stale, or speaks of something else."""


class ModuleIdentityError(PlatformError):
    """The quoting enclave or the TDX module is not the vendor's."""


class TcbStatusError(PlatformError):
    """The vendor's judgement of this firmware is one that the policy does not accept."""


class TcbFloorError(PlatformError):
    """A firmware version lies below the policy's floor."""


class ProductError(PlatformError):
    """The policy does not accept this product, or the endorsements are another product's."""


class IdentityError(PlatformError):
    """The chip, provider or instance is not the one endorsed or asked for."""


class DebugError(PlatformError):
    """Debugging is on: the operator can read the guest."""


class MigrationError(PlatformError):
    """The guest can be moved to, or by, somebody whom the policy does not name."""


class AttributesError(PlatformError):
    """An attribute, reserved bit or policy bit is not as the policy asks."""


class PrivilegeError(PlatformError):
    """The evidence was asked for by another privilege level than the one expected."""


class FreshnessError(PlatformError):
    """The evidence's own time or counters are outside what the policy allows."""


class PcrError(PlatformError):
    """The PCR selection, or the digest over it, is not what was asked for."""


class OverrideRegisterError(PlatformError):
    """A register that an image booted as it is leaves zero is not: something from outside was measured."""


class EventLogError(PlatformError):
    """An event log does not replay to the registers, or says what its digests do not."""


class UnavailableError(GlasshouseError):
    """The check could not be made, so nothing is known; this is never a pass."""


class PlatformNotSupportedError(UnavailableError):
    """This version cannot verify evidence of this platform."""
