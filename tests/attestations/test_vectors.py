"""The vectors of these formats: they mean what they meant when they were written."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from glasshouse_attestations import dsse, simulated
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.bundle import Bundle
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.errors import UntrustedKeyError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import PublicKey
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.receipt import Receipt
from glasshouse_attestations.release import Release
from glasshouse_attestations.report_data import report_data
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import PAYLOAD_TYPE, Statement
from support import attestation_samples as samples
from support.repository import ROOT

FOLDER = ROOT / "tests" / "vectors" / "attestations"
SCRIPT = FOLDER / "regenerate.py"


def read(name: str) -> bytes:
    return Path(FOLDER, name).read_bytes()


def key(name: str) -> PublicKey:
    return PublicKey.parse(json.loads(read("keys.json"))[name])


def signed_statement(name: str, signer: str) -> Statement:
    envelope = Envelope.parse(read(name))
    dsse.verify(envelope, payload_type=PAYLOAD_TYPE, trusted=[key(signer)])
    return Statement.parse(envelope.payload)


def test_the_script_writes_the_vectors_byte_for_byte() -> None:
    written = runpy.run_path(str(SCRIPT))["vectors"]()
    kept = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    assert kept == written


def test_the_statements_verify_and_say_what_they_said() -> None:
    assert Release.parse(signed_statement("release.envelope.json", "maintainer")) == samples.RELEASE
    assert Audit.parse(signed_statement("audit.envelope.json", "auditor")) == samples.AUDIT
    assert Audit.parse(signed_statement("audit-failed.envelope.json", "auditor")) == samples.FAILED_AUDIT
    assert Revocation.parse(signed_statement("revocation.envelope.json", "maintainer")) == samples.REVOCATION


def test_the_evidence_verifies_and_says_what_it_said() -> None:
    evidence = Evidence.parse(read("evidence.json"))
    claims = simulated.verify(evidence, launcher_keys=[key("launcher")])
    assert claims.report_data == samples.REPORT_DATA
    samples.REFERENCE_VALUES.check(claims.platform, claims.registers)


def test_the_receipt_verifies_and_says_what_it_said() -> None:
    assert Receipt.verify(read("receipt.envelope.json"), receipt_key=key("receipt")) == samples.RECEIPT


def test_the_unsigned_documents_say_what_they_said() -> None:
    assert Bundle.parse(read("bundle.json")) == samples.BUNDLE
    assert RuntimeConfiguration.parse(read("configuration.json")) == samples.CONFIGURATION
    assert Measurements.parse(read("measurements.json")) == samples.MEASUREMENTS


def test_the_report_data_is_what_it_was() -> None:
    fields = {name: bytes.fromhex(value) for name, value in json.loads(read("report-data.json")).items()}
    expected = fields.pop("report_data")
    assert report_data(**fields) == expected


@pytest.mark.parametrize("name", ["release.envelope.json", "audit.envelope.json", "evidence.json"])
def test_a_vector_fits_no_other_key(name: str) -> None:
    document = read(name) if name != "evidence.json" else Evidence.parse(read(name)).quote
    envelope = Envelope.parse(document)
    with pytest.raises(UntrustedKeyError):
        dsse.verify(envelope, payload_type=envelope.payload_type, trusted=[key("stranger")])
