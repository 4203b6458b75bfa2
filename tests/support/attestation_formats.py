"""Every format as a pair of inverses over bytes, so that one test can ask the same of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from glasshouse_attestations import canonical_json, dsse, simulated
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.bundle import Bundle
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.receipt import PAYLOAD_TYPE as RECEIPT_PAYLOAD_TYPE
from glasshouse_attestations.receipt import Receipt
from glasshouse_attestations.release import Release
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import Statement
from support import attestation_samples as samples
from support import hypothesis_strategies as strategies


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format: how to parse and encode it, one valid value, and a strategy for more."""

    name: str
    parse: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    sample: Any = field(repr=False)
    values: st.SearchStrategy[Any] = field(repr=False)

    @property
    def document(self) -> bytes:
        """The encoding of the sample."""
        return self.encode(self.sample)

    def __str__(self) -> str:
        return self.name


def _parse_receipt_payload(payload: bytes) -> Receipt:
    """A receipt is parsed only once its signature is verified, so what is parsed here is signed first."""
    envelope = dsse.sign(payload, RECEIPT_PAYLOAD_TYPE, samples.RECEIPT_KEY)
    return Receipt.verify(envelope.encode(), receipt_key=samples.RECEIPT_KEY.public_key)


def _parse_quote_payload(payload: bytes) -> bytes:
    envelope = dsse.sign(payload, simulated.PAYLOAD_TYPE, samples.LAUNCHER)
    evidence = Evidence(platform=simulated.PLATFORM, quote=envelope.encode())
    simulated.verify(evidence, launcher_keys=[samples.LAUNCHER.public_key])
    return payload


def _encode_receipt_payload(receipt: Receipt) -> bytes:
    return Envelope.parse(receipt.sign(samples.RECEIPT_KEY)).payload


FORMATS = (
    Format(
        name="json",
        parse=lambda data: canonical_json.parse(data, max_size=1 << 20),
        encode=canonical_json.encode,
        sample={"a": [1, -1, True, None, "é\n"], "b": {}},
        values=strategies.json_values,
    ),
    Format(
        name="envelope",
        parse=Envelope.parse,
        encode=Envelope.encode,
        sample=samples.RELEASE.to_statement().sign(samples.MAINTAINER, samples.AUDITOR),
        values=strategies.envelopes,
    ),
    Format(
        name="statement",
        parse=Statement.parse,
        encode=Statement.encode,
        sample=samples.RELEASE.to_statement(),
        values=strategies.statements,
    ),
    Format(
        name="release",
        parse=lambda data: Release.parse(Statement.parse(data)),
        encode=lambda release: release.to_statement().encode(),
        sample=samples.RELEASE,
        values=strategies.releases,
    ),
    Format(
        name="audit",
        parse=lambda data: Audit.parse(Statement.parse(data)),
        encode=lambda audit: audit.to_statement().encode(),
        sample=samples.AUDIT,
        values=strategies.audits(),
    ),
    Format(
        name="revocation",
        parse=lambda data: Revocation.parse(Statement.parse(data)),
        encode=lambda revocation: revocation.to_statement().encode(),
        sample=samples.REVOCATION,
        values=strategies.revocations,
    ),
    Format(
        name="measurements",
        parse=Measurements.parse,
        encode=Measurements.encode,
        sample=samples.MEASUREMENTS,
        values=strategies.measurements,
    ),
    Format(
        name="evidence",
        parse=Evidence.parse,
        encode=Evidence.encode,
        sample=Evidence(platform="snp", quote=b"quote", endorsements={"vcek": b"certificate", "ask": b""}),
        values=strategies.evidence,
    ),
    Format(
        name="simulated-quote",
        parse=_parse_quote_payload,
        encode=bytes,
        sample=Envelope.parse(samples.EVIDENCE.quote).payload,
        values=st.just(Envelope.parse(samples.EVIDENCE.quote).payload),
    ),
    Format(
        name="bundle",
        parse=Bundle.parse,
        encode=Bundle.encode,
        sample=samples.BUNDLE,
        values=strategies.bundles,
    ),
    Format(
        name="configuration",
        parse=RuntimeConfiguration.parse,
        encode=RuntimeConfiguration.encode,
        sample=samples.CONFIGURATION,
        values=strategies.configurations,
    ),
    Format(
        name="receipt",
        parse=_parse_receipt_payload,
        encode=_encode_receipt_payload,
        sample=samples.RECEIPT,
        values=strategies.receipts,
    ),
)

BY_NAME = {form.name: form for form in FORMATS}
