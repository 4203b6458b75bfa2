"""SGX and TDX quotes, field by field (Intel SGX and TDX DCAP Quoting Library APIs, Appendix A)."""

from __future__ import annotations

from collections.abc import Iterator

from glasshouse_attestations.dcap import EnclaveReport, PckExtensions, Quote, TdReport
from glasshouse_attestations.dcap.certificates import pck_extensions
from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.x509 import load_pem_chain

from .certificates import chain
from .tree import Node, bits, branch, leaf

__all__ = ["describe"]

_ENCLAVE_ATTRIBUTES = {
    0: "INIT",
    1: "DEBUG",
    2: "MODE64BIT",
    4: "PROVISION_KEY",
    5: "EINITTOKEN_KEY",
    6: "CET",
    7: "KSS",
    10: "AEX_NOTIFY",
}
_TD_ATTRIBUTES = {
    0: "DEBUG",
    27: "LASS",
    28: "SEPT_VE_DISABLE",
    29: "MIGRATABLE",
    30: "PKS",
    31: "KL",
    62: "TPA",
    63: "PERFMON",
}
_FEATURES = {
    0: "x87",
    1: "SSE",
    2: "AVX",
    5: "AVX-512 opmask",
    6: "AVX-512 ZMM_Hi256",
    7: "AVX-512 Hi16_ZMM",
    8: "PT",
    9: "PKRU",
    11: "CET_U",
    12: "CET_S",
    14: "UINTR",
    15: "LBR",
    17: "TILECFG",
    18: "TILEDATA",
}


def describe(data: bytes) -> Node:
    """Return the fields of header, body and signature data by Intel's names."""
    quote = Quote.parse(data)
    header = (
        leaf("version", quote.version),
        leaf("attestation key type", "2 (ECDSA-256-with-P-256)"),
        leaf("TEE type", f"{quote.tee:#x} ({quote.tee.name})"),
        leaf("user data", quote.user_data),
    )
    signature_data = (
        leaf("quote signature", quote.signature),
        leaf("ECDSA attestation key", quote.attestation_key),
        branch("QE report", _enclave(quote.quoting_enclave)),
        leaf("QE report signature", quote.qe_report_signature),
        leaf("QE authentication data", quote.authentication_data),
        *_pck(quote.pck_chain),
    )
    is_td = isinstance(quote.body, TdReport)
    body = _trust_domain(quote.body) if isinstance(quote.body, TdReport) else _enclave(quote.body)
    below = (
        branch("quote header", header),
        branch("TD quote body" if is_td else "ISV enclave report", body),
        branch("quote signature data", signature_data),
        leaf("zero bytes after the quote", quote.padding),
    )
    return branch(f"{quote.tee.name} quote", below)


def _enclave(report: EnclaveReport) -> Iterator[Node]:
    yield leaf("CPUSVN", report.cpu_svn)
    yield leaf("MISCSELECT", f"{report.misc_select:#010x}")
    yield leaf("ISVEXTPRODID", report.isv_ext_prod_id)
    yield bits("ATTRIBUTES.FLAGS", report.attributes, _ENCLAVE_ATTRIBUTES)
    yield bits("ATTRIBUTES.XFRM", report.xfrm, _FEATURES)
    yield leaf("MRENCLAVE", report.mrenclave)
    yield leaf("MRSIGNER", report.mrsigner)
    yield leaf("CONFIGID", report.config_id)
    yield leaf("ISVPRODID", report.isv_prod_id)
    yield leaf("ISVSVN", report.isv_svn)
    yield leaf("CONFIGSVN", report.config_svn)
    yield leaf("ISVFAMILYID", report.isv_family_id)
    yield leaf("REPORTDATA", report.report_data)


def _trust_domain(report: TdReport) -> Iterator[Node]:
    yield leaf("TEE_TCB_SVN", report.tee_tcb_svn)
    yield leaf("MRSEAM", report.mr_seam)
    yield leaf("MRSIGNERSEAM", report.mr_signer_seam)
    yield leaf("SEAMATTRIBUTES", f"{report.seam_attributes:#018x}")
    yield bits("TDATTRIBUTES", report.attributes, _TD_ATTRIBUTES)
    yield bits("XFAM", report.xfam, _FEATURES)
    yield leaf("MRTD", report.mrtd)
    yield leaf("MRCONFIGID", report.mr_config_id)
    yield leaf("MROWNER", report.mr_owner)
    yield leaf("MROWNERCONFIG", report.mr_owner_config)
    yield from (leaf(f"RTMR{index}", value) for index, value in enumerate(report.rtmrs))
    yield leaf("REPORTDATA", report.report_data)
    if report.tee_tcb_svn_2 is not None:
        yield leaf("TEE_TCB_SVN_2", report.tee_tcb_svn_2)
        yield leaf("MRSERVICETD", report.mr_service_td)


def _pck(pem: bytes) -> Iterator[Node]:
    name = "PCK certificate chain"
    try:
        found = load_pem_chain(pem.rstrip(b"\0"), max_certificates=8)
    except GlasshouseError as err:
        yield leaf(name, f"{len(pem)} bytes that cannot be read: {err}")
        return
    yield chain(name, found)
    try:
        yield branch("PCK certificate's SGX extensions", _extensions(pck_extensions(found[0])))
    except GlasshouseError as err:
        yield leaf("PCK certificate's SGX extensions", f"unreadable: {err}")


def _extensions(pck: PckExtensions) -> Iterator[Node]:
    yield leaf("PPID", pck.ppid)
    yield leaf("SGX TCB components", " ".join(map(str, pck.components)))
    yield leaf("PCESVN", pck.pce_svn)
    yield leaf("PCE-ID", pck.pce_id)
    yield leaf("FMSPC", pck.fmspc)
    yield leaf("platform instance id", pck.platform_instance_id)
    configuration = pck.configuration
    yield leaf(
        "configuration", None if configuration is None else ", ".join(sorted(configuration)) or "no flag set"
    )
