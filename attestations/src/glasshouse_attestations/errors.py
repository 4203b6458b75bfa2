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
    │   └── PlatformNotAllowedError     the policy does not accept evidence of this platform
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


class UnavailableError(GlasshouseError):
    """The check could not be made, so nothing is known; this is never a pass."""


class PlatformNotSupportedError(UnavailableError):
    """This version cannot verify evidence of this platform."""
