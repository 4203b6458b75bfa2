"""The captured SEV-SNP reports as evidence, each with AMD's certificates of its product."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from glasshouse_attestations import snp
from glasshouse_attestations.evidence import Evidence
from support.vectors import case, vector

AMAZON = "CN=cc-us-east-2.amazonaws.com"


def capture(source: str, name: str) -> bytes:
    """Return a file of the capture: ``report.bin``, ``leaf.der`` or the ``table`` of veraison's host."""
    if name == "table":
        text = json.loads(vector("snp/veraison/sevsnp-tsm-report.json"))["auxblob"]
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return vector(f"normalized/snp/{source.replace('/', '__')}/{name}")


@cache
def evidence_of(source: str) -> Evidence:
    """Return the capture as evidence, with the intermediate and the root of its product."""
    entry = case("snp", source)
    product = snp.Product.of_certificate(entry["leaf_product"])
    kind = entry["signkey"].lower()
    ask, ark = amd_chain(product, kind)
    return Evidence(
        platform="snp",
        quote=capture(source, "report.bin"),
        endorsements={kind: capture(source, "leaf.der"), "ask": ask, "ark": ark},
    )


def time_of(source: str) -> datetime:
    """Return a moment at which every certificate of the capture is valid: a VLEK lives for one year only."""
    vlek = case("snp", source)["signkey"] == "VLEK"
    return datetime(2025 if vlek else 2026, 6, 1, tzinfo=timezone.utc)


def amd_chain(product: snp.Product, kind: str = "vcek") -> tuple[bytes, bytes]:
    """Return AMD's own intermediate and root, as DER, of a product and kind of key."""
    suffix = {("Turin", "vcek"): "_vcek"}.get((product.value, kind), "" if kind == "vcek" else "_vlek")
    pem = vector(f"snp/roots/ask_ark_{product.value.lower()}{suffix}.pem")
    ask, ark = x509.load_pem_x509_certificates(pem)
    return ask.public_bytes(Encoding.DER), ark.public_bytes(Encoding.DER)


def lenient(source: str) -> snp.Policy:
    """Return the policy that accepts this very capture, whatever the age of its firmware."""
    entry = case("snp", source)
    vlek = entry["signkey"] == "VLEK"
    return snp.Policy(
        products=frozenset(snp.Product),
        allowed_chip_ids=frozenset() if vlek else frozenset({bytes.fromhex(entry["chip"])}),
        vlek_providers=frozenset({AMAZON}) if vlek else frozenset(),
        minimum_microcode={},
        required_platform_flags=snp.PlatformFlag(0),
        allowed_unknown_platform_bits=0x40,
        vmpl=entry["vmpl"],
        require_revocation_list=False,
    )
