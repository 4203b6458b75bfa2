"""Every parser of evidence, endorsements and policies as a function of bytes, and captures to start from.

A target may raise what is documented, :class:`GlasshouseError`, and nothing else. It may not be reached by a
network, a clock or chance, so that an input that breaks it breaks it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from glasshouse._deadlines import deadlines_of_file
from glasshouse._inspection import inspect, to_text
from glasshouse_attestations import azure, canonical_json, dcap, nitro, nvidia, snp, tpm
from glasshouse_attestations.azure import HclReport, RuntimeData
from glasshouse_attestations.dcap import certificates as dcap_certificates
from glasshouse_attestations.dcap.pck import SGX_EXTENSIONS
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.nitro import cbor
from glasshouse_attestations.nvidia import certificates as nvidia_certificates
from glasshouse_attestations.nvidia import ocsp
from glasshouse_attestations.nvidia.opaque import OpaqueData
from glasshouse_attestations.nvidia.rim import ReferenceManifest
from glasshouse_attestations.nvidia.spdm import Report as GpuReport
from glasshouse_attestations.tpm import attestation_key, event_log, google_instance, pcr
from glasshouse_attestations.tpm.structures import Attestation, HashAlgorithm, PublicArea, Signature
from glasshouse_attestations.x509 import load_certificate, load_pem_chain, load_revocation_list
from support import tpm_quotes
from support.repository import SHARED

__all__ = ["TARGETS", "Target"]

VECTORS = SHARED / "vectors"
_NOW = datetime(2026, 6, 15, tzinfo=timezone.utc)
_LARGEST_SEED = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One parser. ``seeds`` are captured files below ``shared/vectors``, or bytes of our own."""

    name: str
    parse: Callable[[bytes], object]
    files: tuple[str, ...] = ()
    own: tuple[bytes, ...] = ()

    def run(self, data: bytes) -> bool:
        """Return whether the parser accepted ``data``; anything but a typed error leaves as it is."""
        try:
            self.parse(data)
        except GlasshouseError:
            return False
        return True

    def seeds(self) -> Iterator[bytes]:
        """Yield what to start from, always in the same order."""
        yield from self.own
        for pattern in self.files:
            for path in sorted(VECTORS.glob(pattern)):
                if path.is_file() and path.stat().st_size <= _LARGEST_SEED:
                    yield path.read_bytes()


def _policy(parse: Callable[[Document], object]) -> Callable[[bytes], object]:
    return lambda data: parse(Document(canonical_json.parse(data, max_size=1 << 16), "policy"))


def _nitro_document(data: bytes) -> object:
    return nitro.AttestationDocument.parse(nitro.SignedDocument.parse(data).payload)


def _pck_extensions(data: bytes) -> object:
    return dcap_certificates.pck_extensions(load_certificate(data))


def _gpu_report(data: bytes) -> object:
    return OpaqueData.parse(GpuReport.parse(data).opaque)


def _hcl_report(data: bytes) -> object:
    return RuntimeData.parse(HclReport.parse(data).runtime_data)


def _intel_chain(data: bytes) -> object:
    return dcap_certificates.load_chain(
        data,
        names=(("Intel SGX PCK Certificate",), ("Intel SGX PCK Platform CA",)),
        root_spki_sha256=frozenset({dcap.ROOT_SPKI_SHA256}),
        now=_NOW,
    )


def _verify_quote(platform: str, policy: dcap.SgxPolicy | dcap.TdxPolicy) -> Callable[[bytes], object]:
    return lambda data: dcap.verify(Evidence(platform=platform, quote=data), policy=policy, now=_NOW)


def _pcrs(data: bytes) -> object:
    return pcr.parse_values(data, bank=HashAlgorithm.SHA256)


def _event_log(data: bytes) -> object:
    events = event_log.parse(data, bank=HashAlgorithm.SHA256)
    return event_log.replay(events, bank=HashAlgorithm.SHA256)


def _manifest(data: bytes) -> object:
    return ReferenceManifest.verify(data, root_sha256=frozenset({bytes(32)}), now=_NOW, allow_expired=True)


def _firmware_identity(data: bytes) -> object:
    chain = nvidia_certificates.load_chain(data)
    return nvidia_certificates.Device.read(chain), nvidia_certificates.read_firmware_identity(chain)


def _collateral_part(name: str) -> tuple[bytes, ...]:
    folder = VECTORS / "normalized" / "dcap" / "collateral"
    found = (dcap.Collateral.parse(path.read_bytes()) for path in sorted(folder.glob("*.json")))
    return tuple(getattr(each, name) for each in found)


def _of_quotes(pick: Callable[[dcap.Quote], bytes]) -> tuple[bytes, ...]:
    folder = VECTORS / "normalized" / "dcap" / "quotes"
    parts = []
    for path in sorted(folder.glob("*.bin")):
        try:
            parts.append(pick(dcap.Quote.parse(path.read_bytes())))
        except GlasshouseError:
            continue
    return tuple(parts)


def _pck_leaf(quote: dcap.Quote) -> bytes:
    chain = load_pem_chain(quote.pck_chain.rstrip(b"\0"), max_certificates=3)
    return chain[0].public_bytes(Encoding.DER)


def _sgx_extension(quote: dcap.Quote) -> bytes:
    for extension in load_certificate(_pck_leaf(quote)).extensions:
        if extension.oid == SGX_EXTENSIONS:
            return bytes(extension.value.public_bytes())
    return b""


def _runtime_data() -> tuple[bytes, ...]:
    paths = sorted(VECTORS.glob("normalized/azure/*/hcl_report.bin"))
    return tuple(HclReport.parse(path.read_bytes()).runtime_data for path in paths)


def _opaque() -> tuple[bytes, ...]:
    paths = sorted(VECTORS.glob("normalized/nvidia/*/report.bin"))
    return tuple(GpuReport.parse(path.read_bytes()).opaque for path in paths)


def _evidence() -> tuple[bytes, ...]:
    parts = {"vcek": b"certificate", "crl": b"list"}
    return (Evidence(platform="snp", quote=b"a report", endorsements=parts).encode(),)


def _google_instance() -> tuple[bytes, ...]:
    fields = b"".join((b"\x0c\x04zone", b"\x02\x01\x01", b"\x0c\x02id", b"\x02\x01\x02", b"\x0c\x04name"))
    return (b"\x30" + bytes([len(fields)]) + fields,)


def _public_area() -> tuple[bytes, ...]:
    keys = (tpm_quotes.rsa_key(), tpm_quotes.ecc_key())
    return tuple(tpm_quotes.sized(tpm_quotes.public_area(key)) for key in keys)


def _inspect(data: bytes) -> object:
    return list(to_text(inspect(data)))


def _whole() -> tuple[bytes, ...]:
    """Evidence with every kind of endorsement, as the commands read it."""
    folder = VECTORS / "normalized" / "azure" / "flashbots__azure-tdx-with-ak-intermediates-1780922561"
    names = {"hcl-report": "hcl_report.bin", "ak-certificate": "ak_cert.der", "td-quote": "td_quote.bin"}
    if not folder.is_dir():
        return ()
    parts = {name: (folder / file).read_bytes() for name, file in names.items()}
    parts["ak-chain"] = (folder / "ak_intermediates.pem").read_bytes()
    quote = (folder / "quote.msg").read_bytes()
    return (Evidence(platform="azure", quote=quote, endorsements=parts).encode(),)


_RAW = (
    "normalized/dcap/quotes/*.bin",
    "normalized/snp/*/report.bin",
    "normalized/nitro/*.cose",
    "normalized/azure/*/quote.msg",
    "normalized/azure/*/hcl_report.bin",
    "normalized/nvidia/*/report.bin",
)
_QUOTES = "normalized/dcap/quotes/*.bin"

_ALL = (
    Target(name="evidence", parse=Evidence.parse, own=_evidence()),
    Target(name="inspection", parse=_inspect, files=_RAW, own=_whole()),
    Target(
        name="deadlines",
        parse=deadlines_of_file,
        files=(*_RAW, "normalized/dcap/collateral/*.json", "tpm/roots/*.pem"),
        own=_whole(),
    ),
    Target(name="snp-report", parse=snp.Report.parse, files=("normalized/snp/*/report.bin",)),
    Target(name="snp-endorsement-key", parse=snp.EndorsementKey.parse, files=("normalized/snp/*/leaf.der",)),
    Target(
        name="snp-certificate-table",
        parse=snp.parse_certificate_table,
        own=(
            snp.encode_certificate_table({"vcek": b"certificate", "ask": b"another"}),
            snp.encode_certificate_table({}),
        ),
    ),
    Target(
        name="snp-policy",
        parse=_policy(snp.Policy.parse),
        own=(canonical_json.encode(snp.Policy().to_json()),),
    ),
    Target(name="dcap-quote", parse=dcap.Quote.parse, files=(_QUOTES,)),
    Target(name="dcap-sgx-steps", parse=_verify_quote("sgx", dcap.SgxPolicy()), files=(_QUOTES,)),
    Target(name="dcap-tdx-steps", parse=_verify_quote("tdx", dcap.TdxPolicy()), files=(_QUOTES,)),
    Target(name="dcap-collateral", parse=dcap.Collateral.parse, files=("normalized/dcap/collateral/*.json",)),
    Target(name="dcap-tcb-info", parse=dcap.TcbInfo.parse, own=_collateral_part("tcb_info")),
    Target(name="dcap-qe-identity", parse=dcap.EnclaveIdentity.parse, own=_collateral_part("qe_identity")),
    Target(name="dcap-chain", parse=_intel_chain, own=_of_quotes(lambda quote: quote.pck_chain)),
    Target(name="dcap-pck", parse=_pck_extensions, own=_of_quotes(_pck_leaf)),
    Target(name="dcap-sgx-extensions", parse=dcap.PckExtensions.parse, own=_of_quotes(_sgx_extension)),
    Target(
        name="dcap-sgx-policy",
        parse=_policy(dcap.SgxPolicy.parse),
        own=(
            b"{}",
            b'{"accepted_statuses":{"SWHardeningNeeded":["INTEL-SA-00289"]},"fmspcs":["00a067110000"]}',
        ),
    ),
    Target(
        name="dcap-tdx-policy",
        parse=_policy(dcap.TdxPolicy.parse),
        own=(b"{}", b'{"allowed_xfam":"0000000000000003","mr_owner":"any","rtmr3":"any"}'),
    ),
    Target(name="nitro-document", parse=_nitro_document, files=("normalized/nitro/*.cose",)),
    Target(
        name="nitro-cbor",
        parse=lambda data: cbor.decode(data, max_size=1 << 16),
        files=("normalized/nitro/*.cose",),
        own=(bytes.fromhex("a1013822"), bytes.fromhex("bf6161f6ff")),
    ),
    Target(
        name="nitro-policy",
        parse=_policy(nitro.Policy.parse),
        own=(b'{"instances":["i-0123456789abcdef0"],"max_age_seconds":300,"pcrs":[0,1,2]}',),
    ),
    Target(name="tpm-attestation", parse=Attestation.parse, files=("normalized/azure/*/quote.msg",)),
    Target(
        name="tpm-signature",
        parse=Signature.parse,
        own=(bytes.fromhex("0014000b0004deadbeef"), bytes.fromhex("0018000b0002dead0002beef")),
    ),
    Target(name="tpm-public-area", parse=PublicArea.parse, own=_public_area()),
    Target(
        name="tpm-pcrs",
        parse=_pcrs,
        own=(pcr.encode_values({4: bytes(32), 11: b"\x01" * 32}, bank=HashAlgorithm.SHA256),),
    ),
    Target(
        name="tpm-event-log",
        parse=_event_log,
        files=(
            "tpm/gotpmtools/eventlogs_*.bin",
            "normalized/measure/*.eventlog.bin",
            "tpm/dstack/tpm_eventlog.bin",
        ),
    ),
    Target(
        name="tpm-certificate",
        parse=attestation_key.load_padded_certificate,
        files=("normalized/azure/*/ak_cert.der",),
    ),
    Target(name="tpm-google-instance", parse=google_instance.GoogleInstance.parse, own=_google_instance()),
    Target(
        name="tpm-policy",
        parse=_policy(tpm.Policy.parse),
        own=(canonical_json.encode(tpm.Policy(root_sha256=frozenset({bytes(32)})).to_json()),),
    ),
    Target(name="azure-hcl-report", parse=_hcl_report, files=("normalized/azure/*/hcl_report.bin",)),
    Target(name="azure-runtime-data", parse=RuntimeData.parse, own=_runtime_data()),
    Target(
        name="azure-policy",
        parse=_policy(azure.Policy.parse),
        own=(b'{"secure_boot":"any","snp":{},"tdx":{}}',),
    ),
    Target(name="nvidia-report", parse=_gpu_report, files=("normalized/nvidia/*/report.bin",)),
    Target(name="nvidia-opaque-data", parse=OpaqueData.parse, own=_opaque()),
    Target(name="nvidia-chain", parse=_firmware_identity, files=("normalized/nvidia/*/chain.pem",)),
    Target(name="nvidia-ocsp", parse=ocsp._load, own=(bytes.fromhex("30030a0106"),)),
    Target(
        name="nvidia-manifest", parse=_manifest, files=("nvidia/attsdk/*.xml", "nvidia/nvtrust/*.swidtag")
    ),
    Target(
        name="nvidia-policy",
        parse=_policy(nvidia.Policy.parse),
        own=(b'{"products":["GH100"],"require_rims":true}',),
    ),
    Target(name="x509-certificate", parse=load_certificate, own=_of_quotes(_pck_leaf)),
    Target(
        name="x509-chain",
        parse=lambda data: load_pem_chain(data, max_certificates=5),
        files=("tpm/roots/*.pem", "snp/roots/*.pem"),
    ),
    Target(name="x509-revocation-list", parse=load_revocation_list, own=_collateral_part("root_ca_crl")),
)

TARGETS: Mapping[str, Target] = {target.name: target for target in _ALL}


def captures_are_absent() -> str | None:
    """Say what is missing, if the captured evidence is not beside the checkout."""
    return None if Path(VECTORS).is_dir() else "shared/vectors is absent: inputs grow from nothing"
