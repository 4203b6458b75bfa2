"""Evidence: a quote and its endorsements, of any platform, under limits."""

from __future__ import annotations

import base64

import pytest

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.evidence import MAX_EVIDENCE_SIZE, Evidence

FIELDS: dict[str, JSON] = {
    "schema": "glasshouse/evidence/v1",
    "platform": "snp",
    "quote": "AAAA",
    "endorsements": {"vcek": "AAAA"},
}
LARGEST_PART = 256 << 10


def parse(fields: dict[str, JSON]) -> Evidence:
    return Evidence.parse(canonical_json.encode(fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "glasshouse/evidence/v2"),
        ("schema", "Glasshouse/evidence/v1"),
        ("schema", 1),
        ("platform", ""),
        ("platform", "SNP"),
        ("platform", "s np"),
        ("platform", "../snp"),
        ("platform", "1snp"),
        ("platform", "x" * 33),
        ("platform", None),
        ("quote", ""),
        ("quote", "AAA"),
        ("quote", "AB=="),
        ("quote", "AAAA\n"),
        ("quote", []),
        ("quote", base64.b64encode(bytes(LARGEST_PART + 1)).decode()),
        ("endorsements", []),
        ("endorsements", None),
        ("endorsements", {"": "AAAA"}),
        ("endorsements", {"VCEK": "AAAA"}),
        ("endorsements", {"../vcek": "AAAA"}),
        ("endorsements", {"a.b": "AAAA"}),
        ("endorsements", {"a\n": "AAAA"}),
        ("endorsements", {"x" * 65: "AAAA"}),
        ("endorsements", {"vcek": "A"}),
        ("endorsements", {"vcek": None}),
        ("endorsements", {"vcek": {"a": "AAAA"}}),
        ("endorsements", {f"c{number}": "" for number in range(33)}),
        ("endorsements", {"vcek": base64.b64encode(bytes(LARGEST_PART + 1)).decode()}),
        ("unknown", 1),
    ],
)
def test_malformed_evidence_is_refused(name: str, value: JSON) -> None:
    with pytest.raises(MalformedError):
        parse(FIELDS | {name: value})


def test_parts_at_their_limits_are_allowed() -> None:
    part = bytes(LARGEST_PART)
    for evidence in (
        Evidence(platform="s" * 32, quote=part, endorsements={"x" * 64: part}),
        Evidence(platform="snp", quote=b"q", endorsements={f"c{number}": b"" for number in range(32)}),
    ):
        assert Evidence.parse(evidence.encode()) == evidence


def test_evidence_over_its_whole_size_is_refused() -> None:
    parts = {f"c{number}": bytes(LARGEST_PART) for number in range(3)}
    with pytest.raises(ValueError, match="at most 1048576"):
        Evidence(platform="snp", quote=b"q", endorsements=parts).encode()
    encoded: dict[str, JSON] = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    document = canonical_json.encode(FIELDS | {"endorsements": encoded})
    assert len(document) > MAX_EVIDENCE_SIZE
    with pytest.raises(MalformedError, match="at most 1048576"):
        Evidence.parse(document)
