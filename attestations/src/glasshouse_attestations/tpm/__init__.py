"""TPM 2.0: a quote that an attestation key of a trusted authority signed over boot measurements.

It proves which boot chain the registers record, to whoever trusts the TPM: a chip of a known maker, the
vTPM of a cloud, or that of the launcher that the policy names. It proves nothing about confidentiality:
whoever operates the machine can read its memory unless another technology prevents that.

    >>> from glasshouse_attestations import tpm
    >>> policy = tpm.Policy(root_sha256=frozenset({tpm.GOOGLE_ROOT_SHA256}))
    >>> sorted(policy.selection)
    [4, 8, 11, 12, 13]

Specifications: TCG TPM 2.0 Library (Parts 1 to 3, with the section numbers of version 1.59), TCG PC Client
Platform Firmware Profile (1.05) for event logs, TCG OID Registry and RFC 5280 for certificates.
"""

from .policy import AZURE_ROOT_SHA256, GOOGLE_ROOT_SHA256, OVERRIDE_REGISTERS, UKI_REGISTERS, Policy
from .structures import HashAlgorithm
from .verify import PLATFORM, QUALIFYING_DATA, UNPROVEN, verify

__all__ = [
    "AZURE_ROOT_SHA256",
    "GOOGLE_ROOT_SHA256",
    "OVERRIDE_REGISTERS",
    "PLATFORM",
    "QUALIFYING_DATA",
    "UKI_REGISTERS",
    "UNPROVEN",
    "HashAlgorithm",
    "Policy",
    "verify",
]
