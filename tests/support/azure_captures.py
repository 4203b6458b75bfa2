"""The captured evidence of Azure confidential machines, brought into the shape of Glasshouse's evidence."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import datetime, timezone
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from glasshouse_attestations import azure, dcap, snp, tpm
from glasshouse_attestations.azure import HclReport, ReportType, RuntimeData
from glasshouse_attestations.evidence import Evidence
from support import pki_tpm, tpm_quotes
from support.snp_captures import amd_chain
from support.vectors import case, vector

COMPLETE = "flashbots/azure-tdx-with-ak-intermediates-1780922561"
OLDER = "flashbots/azure-tdx-1764662251380464271"
COLLATERAL = "normalized/dcap/collateral/flashbots_azure-collateral-with-ak-intermediates-1780922561.json"
IN_JUNE_2026 = datetime(2026, 6, 15, tzinfo=timezone.utc)
GENOA = "trustee_snp/evidence-genoa.json"


@cache
def evidence_of(source: str) -> Evidence:
    """Return the capture with the endorsements that were captured with it, or that its vendor publishes."""
    entry = case("azure-vtpm", source)
    endorsements = {
        "hcl-report": vector(entry["hcl_report"]),
        "signature": tpm_quotes.rsassa(vector(entry["quote_sig"])),
        "pcrs": tpm_quotes.encode_values(tpm_quotes.azure_values(vector(entry["pcrs"]))),
        **_certificate(source),
    }
    if entry["type"] == "SNP":
        product = snp.Product.GENOA if source == GENOA else snp.Product.MILAN
        ask, ark = amd_chain(product)
        endorsements |= {"vcek": vector(entry["vcek.der"]), "ask": ask, "ark": ark}
    else:
        endorsements |= {"td-quote": vector(entry["td_quote.bin"]), "collateral": vector(COLLATERAL)}
    return Evidence(platform="azure", quote=vector(entry["quote_msg"]), endorsements=endorsements)


def _certificate(source: str) -> dict[str, bytes]:
    root = vector("tpm/roots/azure-virtual-tpm-root-2023.pem")
    entry = case("azure-vtpm", source)
    if source == COMPLETE:
        issuers = vector(entry["ak_intermediates.pem"]) + b"\n" + root
    elif source == OLDER:
        issuers = vector("tpm/roots/openpcc_azure_tpm_intermediate_03.pem") + b"\n" + root
    else:
        return {}
    return {"ak-certificate": vector(entry["ak_cert.der"]), "ak-chain": issuers}


def report_of(evidence: Evidence) -> HclReport:
    return HclReport.parse(evidence.endorsements["hcl-report"])


def attestation_key(evidence: Evidence) -> rsa.RSAPublicKey:
    return RuntimeData.parse(report_of(evidence).runtime_data).attestation_key


def paravisor_of(evidence: Evidence) -> bytes:
    """Return the measurement of the capture's paravisor, where the hardware's report or quote has it."""
    report = report_of(evidence)
    if report.report_type is ReportType.SNP:
        return snp.Report.parse(report.hardware_report).measurement
    body = dcap.Quote.parse(evidence.endorsements["td-quote"]).body
    assert isinstance(body, dcap.TdReport)
    return body.mrtd


def policy_for(source: str, **changed: object) -> azure.Policy:
    """Return a policy that accepts this capture, by its paravisor if it came without a certificate."""
    evidence = evidence_of(source)
    entry = case("azure-vtpm", source)
    certified = "ak-certificate" in evidence.endorsements
    settings: dict[str, object] = {
        "quote": tpm.Policy(
            root_sha256=frozenset({tpm.AZURE_ROOT_SHA256}), selection=frozenset(range(24)), zero=frozenset()
        ),
        "require_ak_certificate": certified,
        "paravisor_measurements": frozenset() if certified else frozenset({paravisor_of(evidence)}),
        "secure_boot": entry["vm_configuration"]["secure-boot"],
    }
    if entry["type"] == "SNP":
        settings["snp"] = snp_policy(evidence)
    else:
        settings["tdx"] = dcap.TdxPolicy()
    return azure.Policy(**(settings | changed))  # type: ignore[arg-type] # each test names its own fields


def snp_policy(evidence: Evidence) -> snp.Policy:
    """Return the policy that accepts the firmware of this capture, whatever its age."""
    chip = snp.Report.parse(report_of(evidence).hardware_report).chip_id
    return snp.Policy(
        products=frozenset(snp.Product),
        allowed_chip_ids=frozenset({chip}),
        minimum_microcode={},
        required_platform_flags=snp.PlatformFlag(0),
        require_revocation_list=False,
    )


def with_runtime_data(evidence: Evidence, changed: bytes) -> Evidence:
    """Return the evidence with other runtime data in its HCL report, every size to match."""
    report = evidence.endorsements["hcl-report"]
    header = bytearray(report[:1236])
    header[8:12] = (1236 + len(changed)).to_bytes(4, "little")
    header[1216:1220] = (20 + len(changed)).to_bytes(4, "little")
    header[1232:1236] = len(changed).to_bytes(4, "little")
    return tpm_quotes.with_endorsement(evidence, "hcl-report", bytes(header) + changed)


def renamed_key(evidence: Evidence, key: rsa.RSAPublicKey) -> bytes:
    """Return the capture's runtime data with another attestation key."""
    claims = json.loads(report_of(evidence).runtime_data)
    modulus = key.public_numbers().n.to_bytes(key.key_size // 8, "big")
    claims["keys"][0]["n"] = urlsafe_b64encode(modulus).rstrip(b"=").decode("ascii")
    return json.dumps(claims, separators=(",", ":")).encode("ascii")


def generated_certificate(key: rsa.RSAPublicKey, kind: str = "ConfidentialVM") -> dict[str, bytes]:
    """Return a certificate of the generated authority, in the name of an Azure machine."""
    certificate = pki_tpm.certify(key, subject=f"0123456789ab.{kind}.Azure.windows.net")
    return {"ak-certificate": certificate, "ak-chain": pki_tpm.intermediate().pem}


def pem_as_der(pem: bytes) -> tuple[bytes, ...]:
    return tuple(each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem))
