"""AMD SEV-SNP: a report proves which memory a confidential guest was launched with, and on what platform.

A report that verifies was signed by a genuine AMD processor of an accepted product, whose firmware is at the
versions it reports, for a guest that the host cannot debug; it carries the launch measurement and the 64
bytes that the guest chose. See ``docs/evidence/snp.md`` for what it does not prove.
"""

from .certificate_table import encode_certificate_table, parse_certificate_table
from .endorsement_key import EndorsementKey, Kind
from .policy import ENTRYSIGN_MICROCODE, Policy
from .product import ROOT_SHA256, Processor, Product
from .report import Firmware, GuestFlag, PlatformFlag, Report, Signer
from .tcb import Tcb
from .verify import PLATFORM, UNPROVEN, verify

__all__ = [
    "ENTRYSIGN_MICROCODE",
    "PLATFORM",
    "ROOT_SHA256",
    "UNPROVEN",
    "EndorsementKey",
    "Firmware",
    "GuestFlag",
    "Kind",
    "PlatformFlag",
    "Policy",
    "Processor",
    "Product",
    "Report",
    "Signer",
    "Tcb",
    "encode_certificate_table",
    "parse_certificate_table",
    "verify",
]
