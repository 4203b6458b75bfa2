"""Azure confidential virtual machines: a hardware report, and below it the vTPM of Microsoft's paravisor.

On Azure a guest cannot put anything into its SEV-SNP or TDX report: the paravisor (the "host compatibility
layer", HCL), which runs inside the confidential machine at its highest privilege, asked for the report at
boot and put the hash of its runtime data there. The runtime data name the attestation key of the vTPM that
the paravisor provides, and that key signs a quote over the guest's boot measurements and over the nonce. So
there are two layers, and neither is evidence of anything without the other: the hardware vouches for the
paravisor and its key, the key for what was booted and that it is now.

All of this rests on the paravisor, and on knowing that it is one: on other clouds a guest does choose its
report data, so it could name a "vTPM" that is a program of its own. Every policy therefore asks for
Microsoft's certificate of the vTPM's key, or names the measurements of the paravisors that it accepts.

Structures: Microsoft, "Azure confidential VMs guest attestation design", for the HCL report; the TCG's for
the quote (:mod:`glasshouse_attestations.tpm`).
"""

from .hcl import HclReport, ReportType, RuntimeData, VmConfiguration
from .policy import Policy
from .verify import PLATFORM, UNPROVEN, verify

__all__ = [
    "PLATFORM",
    "UNPROVEN",
    "HclReport",
    "Policy",
    "ReportType",
    "RuntimeData",
    "VmConfiguration",
    "verify",
]
