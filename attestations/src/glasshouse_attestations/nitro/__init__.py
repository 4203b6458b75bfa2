"""AWS Nitro Enclaves: attestation documents of the Nitro hypervisor.

What :func:`verify` proves: the Nitro hypervisor, certified for three hours by the AWS Nitro root, signed
the document within the policy's age; it describes an enclave (not a NitroTPM instance) that is not in debug
mode; PCR0 to PCR2 and whatever else the policy asks for are in it; PCR4 is that of the parent instance
which the document names. The ``user_data`` that the enclave chose becomes the claims' report data, and
comparing it and the registers is left to the caller.

What it cannot prove stands in :data:`UNPROVEN`.
"""

from .document import AttestationDocument, SignedDocument
from .policy import ROOT_SHA256, Policy
from .verify import PLATFORM, UNPROVEN, verify

__all__ = [
    "PLATFORM",
    "ROOT_SHA256",
    "UNPROVEN",
    "AttestationDocument",
    "Policy",
    "SignedDocument",
    "verify",
]
