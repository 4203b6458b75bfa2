"""HCL reports of Azure, field by field (Microsoft, "Azure confidential VMs guest attestation design")."""

from __future__ import annotations

from glasshouse_attestations.azure import HclReport, ReportType, RuntimeData

from . import snp
from .tree import Node, branch, leaf

__all__ = ["describe"]


def describe(data: bytes) -> Node:
    """Return the hardware's report, the runtime data, and whether the one binds the other."""
    report = HclReport.parse(data)
    runtime = RuntimeData.parse(report.runtime_data)
    numbers = runtime.attestation_key.public_numbers()
    configuration = runtime.configuration
    claims = (
        branch("HCLAkPub", (leaf("n", f"{numbers.n:x}"), leaf("e", numbers.e))),
        branch(
            "vm-configuration",
            (
                leaf("secure-boot", configuration.secure_boot),
                leaf("tpm-enabled", configuration.tpm_enabled),
                leaf("tpm-persisted", configuration.tpm_persisted),
                leaf("console-enabled", configuration.console_enabled),
                leaf("vmUniqueId", configuration.unique_id),
            ),
        ),
        leaf("user-data", runtime.user_data),
    )
    if report.report_type is ReportType.SNP:
        hardware = snp.describe(report.hardware_report)
    else:
        hardware = branch("TDREPORT", (leaf("REPORTDATA", report.td_report_data),))
    below = (
        leaf("report type", report.report_type.name),
        hardware,
        branch("runtime data", claims),
        leaf("SHA-256 of the runtime data, then zeros", report.runtime_digest),
    )
    return branch("HCL report", below)
