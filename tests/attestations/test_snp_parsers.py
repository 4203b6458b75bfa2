"""The parsers of SEV-SNP: one encoding per value, and a typed error for everything else."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse_attestations import canonical_json, snp
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import (
    MalformedError,
    PlatformError,
    ProductError,
    VerificationError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.snp.der import Certificate, Reader
from support import pki_snp

TABLE = {"vcek": b"v" * 40, "ask": b"s" * 30, "ark": b"r" * 20, "crl": b"c" * 10, "vlek": b"l"}
ZERO_ENTRY = bytes(24)
CHIPS = st.frozensets(st.binary(min_size=64, max_size=64), max_size=2)
DIGESTS = st.frozensets(st.binary(min_size=48, max_size=48), max_size=2)
BYTES = st.integers(0, 255)
TCBS = st.builds(snp.Tcb, fmc=BYTES, bootloader=BYTES, tee=BYTES, snp=BYTES, microcode=BYTES)
PROCESSORS = st.builds(snp.Processor, family=BYTES, model=BYTES, stepping=BYTES)


def flags(kind: Any) -> st.SearchStrategy[Any]:
    return st.frozensets(st.sampled_from(list(kind))).map(lambda chosen: kind(sum(chosen)))


POLICIES = st.builds(
    snp.Policy,
    products=st.frozensets(st.sampled_from(snp.Product)),
    allowed_chip_ids=CHIPS,
    denied_chip_ids=CHIPS,
    vlek_providers=st.frozensets(st.sampled_from(["CN=a.example", "CN=b.example"])),
    minimum_tcb=st.dictionaries(st.sampled_from(snp.Product), TCBS),
    minimum_microcode=st.dictionaries(PROCESSORS, BYTES, max_size=3),
    minimum_firmware=st.none() | st.builds(snp.Firmware, major=BYTES, minor=BYTES, build=BYTES),
    require_committed=st.booleans(),
    minimum_abi=st.none() | st.tuples(BYTES, BYTES),
    required_guest_flags=flags(snp.GuestFlag),
    forbidden_guest_flags=flags(snp.GuestFlag),
    required_platform_flags=flags(snp.PlatformFlag),
    forbidden_platform_flags=flags(snp.PlatformFlag),
    allowed_unknown_platform_bits=st.integers(0, 2**53 - 1),
    minimum_mitigations=st.none() | st.integers(0, 2**53 - 1),
    minimum_guest_svn=st.none() | st.integers(0, 2**32 - 1),
    vmpl=st.integers(0, 3),
    host_data=st.none() | st.binary(min_size=32, max_size=32),
    family_id=st.none() | st.binary(min_size=16, max_size=16),
    image_id=st.none() | st.binary(min_size=16, max_size=16),
    id_key_digests=DIGESTS,
    author_key_digests=DIGESTS,
    require_revocation_list=st.booleans(),
)


def parse_policy(value: Any) -> snp.Policy:
    return snp.Policy.parse(Document(value, "platforms.snp"))


@given(POLICIES)
@settings(max_examples=60)
def test_a_policy_round_trips_through_json(policy: snp.Policy) -> None:
    written = canonical_json.encode(policy.to_json())
    assert parse_policy(canonical_json.parse(written, max_size=1 << 20)) == policy


def test_an_empty_table_is_the_default_policy() -> None:
    assert parse_policy({}) == snp.Policy()


def test_a_test_root_cannot_be_written_to_nor_read_from_a_file() -> None:
    with pytest.raises(ValueError, match="test root"):
        pki_snp.policy().to_json()
    with pytest.raises(MalformedError, match="unknown field 'root_sha256'"):
        parse_policy({"root_sha256": "00" * 32})


@pytest.mark.parametrize(
    "value",
    [
        {"unknown": 1},
        {"products": ["milan"]},
        {"products": ["Genoa", "Genoa"]},
        {"products": [1]},
        {"products": "Genoa"},
        {"allowed_chip_ids": ["00"]},
        {"allowed_chip_ids": ["AA" * 64]},
        {"minimum_tcb": {"Rome": {}}},
        {"minimum_tcb": {"Genoa": {"ucode": 1}}},
        {"minimum_tcb": {"Genoa": {"snp": 256}}},
        {"minimum_tcb": {"Genoa": {"snp": -1}}},
        {"minimum_microcode": {"19110": 1}},
        {"minimum_microcode": {"19110G": 1}},
        {"minimum_microcode": {"191101": 256}},
        {"minimum_firmware": "1.55"},
        {"minimum_firmware": "1.55.40.1"},
        {"minimum_abi": "1"},
        {"require_committed": 1},
        {"require_revocation_list": "no"},
        {"required_platform_flags": ["SMT"]},
        {"required_guest_flags": ["smt"]},
        {"vmpl": 4},
        {"vmpl": True},
        {"host_data": "00"},
        {"allowed_unknown_platform_bits": -1},
    ],
    ids=str,
)
def test_a_policy_with_anything_unknown_is_malformed(value: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_policy(value)


def test_a_certificate_table_round_trips() -> None:
    table = snp.encode_certificate_table(TABLE)
    assert snp.parse_certificate_table(table) == TABLE
    assert snp.parse_certificate_table(table + bytes(4096)) == TABLE
    assert snp.parse_certificate_table(ZERO_ENTRY) == {}


def entry(start: int, length: int, guid: str = "63da758de6644564adc5f4b93be8accd") -> bytes:
    return bytes.fromhex(guid) + start.to_bytes(4, "little") + length.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "all-zero"),
        (bytes(23), "all-zero"),
        (entry(24, 4), "all-zero"),
        (entry(48, 0) + ZERO_ENTRY, "empty"),
        (entry(48, 5) + ZERO_ENTRY + b"four", "outside"),
        (entry(0, 4) + ZERO_ENTRY, "overlaps"),
        (entry(47, 4) + ZERO_ENTRY + b"four", "overlaps"),
        (entry(0xFFFFFFFF, 0xFFFFFFFF) + ZERO_ENTRY, "outside"),
        (entry(48, 4) + ZERO_ENTRY + b"fourX", "bytes outside"),
        (entry(49, 4) + ZERO_ENTRY + b"Xfour", "bytes outside"),
        (entry(72, 4) + entry(76, 4) + ZERO_ENTRY + b"fourfour", "two entries of one kind"),
        (entry(72, 4) + entry(74, 4, "ff" * 16) + ZERO_ENTRY + b"foursix", "overlaps"),
        (entry(500, 1) * 17 + ZERO_ENTRY, "at most 16"),
        (bytes(131073), "at most 131072 bytes"),
        (snp.encode_certificate_table({"ask": b"-----BEGIN CERTIFICATE-----\n!!"}), "PEM"),
        (
            snp.encode_certificate_table(
                {"ask": b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"}
            ),
            "base64",
        ),
    ],
)
def test_a_malformed_certificate_table_is_refused(table: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        snp.parse_certificate_table(table)


def test_entries_of_unknown_kinds_are_passed_over() -> None:
    table = entry(72, 4, "ff" * 16) + entry(76, 4) + ZERO_ENTRY + b"fourvcek"
    assert snp.parse_certificate_table(table) == {"vcek": b"vcek"}


def test_evidence_may_carry_its_endorsements_in_a_table_but_not_twice() -> None:
    evidence, policy = pki_snp.evidence(), pki_snp.policy()
    table = snp.encode_certificate_table(evidence.endorsements)
    tabled = replace(evidence, endorsements={"certificate-table": table})
    assert snp.verify(tabled, policy=policy, now=pki_snp.NOW) == snp.verify(
        evidence, policy=policy, now=pki_snp.NOW
    )
    twice = replace(evidence, endorsements={**evidence.endorsements, "certificate-table": table})
    with pytest.raises(MalformedError, match="both in the certificate table and beside it"):
        snp.verify(twice, policy=policy, now=pki_snp.NOW)


@pytest.mark.parametrize(
    ("data", "take"),
    [
        ("", "sequence"),
        ("30", "sequence"),
        ("3080", "sequence"),
        ("30800000", "sequence"),
        ("308101", "sequence"),
        ("308100", "sequence"),
        ("30820001", "sequence"),
        ("3083000001", "sequence"),
        ("30ff", "sequence"),
        ("3002", "sequence"),
        ("0200", "integer"),
        ("020180", "integer"),
        ("02020001", "integer"),
        ("0600", "oid"),
        ("060180", "oid"),
        ("06022a80", "oid"),
        ("06032a8001", "oid"),
        ("0300", "bit_string"),
        ("03020100", "bit_string"),
        ("0401", "octets"),
        ("160180", "ia5"),
        ("16010a", "ia5"),
        ("0c02c3a9", "name_text"),
        ("170d3235313331373137303434365a", "time"),
        ("170d3235303731373137303434362b", "time"),
        ("170b323530373137313730345a", "time"),
        ("180f32303235303731373137303434365a", "time"),
        ("1700", "time"),
        ("1800", "time"),
    ],
)
def test_what_is_not_der_is_malformed(data: str, take: str) -> None:
    with pytest.raises(MalformedError, match="DER"):
        getattr(Reader(bytes.fromhex(data)), take)()


def test_der_is_read() -> None:
    assert Reader(bytes.fromhex("06092b060104019c780104")).oid() == "1.3.6.1.4.1.3704.1.4"
    assert Reader(bytes.fromhex("0603883703")).oid() == "2.999.3"
    assert Reader(bytes.fromhex("020200d9")).integer() == 0xD9
    assert Reader(bytes.fromhex("170d3439313233313233353935395a")).time().year == 2049
    assert Reader(bytes.fromhex("170d3530303130313030303030305a")).time().year == 1950
    assert Reader(bytes.fromhex("180f32303530303130313030303030305a")).time().year == 2050
    assert Reader(b"\x04\x81\x80" + bytes(128)).octets() == bytes(128)


@pytest.mark.parametrize(
    ("processor", "product"),
    [
        ("190101", "Milan"),
        ("190f01", "Milan"),
        ("191101", "Genoa"),
        ("19a002", "Genoa"),
        ("1a0201", "Turin"),
        ("1a1100", "Turin"),
        ("192000", None),
        ("19b000", None),
        ("1a2000", None),
        ("173101", None),
        ("000000", None),
    ],
)
def test_family_and_model_name_the_product(processor: str, product: str | None) -> None:
    parsed = snp.Processor.parse(processor)
    assert parsed.encode() == processor
    if product is not None:
        assert parsed.product.value == product
        return
    with pytest.raises(ProductError):
        _ = parsed.product


def splice(data: bytes, at: int, new: bytes, cut: int) -> bytes:
    at %= len(data) + 1
    return data[:at] + new + data[at + cut :]


SPLICES = st.tuples(st.integers(0, 4096), st.binary(max_size=12), st.integers(0, 12))


@given(st.sampled_from(["quote", "vcek", "ask", "ark", "crl"]), st.lists(SPLICES, min_size=1, max_size=3))
@settings(max_examples=150)
def test_spliced_evidence_ends_in_a_typed_error_or_is_unchanged(
    name: str, splices: list[tuple[int, bytes, int]]
) -> None:
    evidence = EVIDENCE
    data = evidence.quote if name == "quote" else evidence.endorsements[name]
    original = data
    for at, new, cut in splices:
        data = splice(data, at, new, cut)
    if name == "quote":
        changed = Evidence(platform="snp", quote=data, endorsements=evidence.endorsements)
    else:
        changed = replace(evidence, endorsements={**evidence.endorsements, name: data})
    if data == original:
        return
    with pytest.raises((MalformedError, PlatformError, VerificationError)):
        snp.verify(changed, policy=POLICY, now=pki_snp.NOW)


EVIDENCE, POLICY = pki_snp.evidence(), pki_snp.policy()


@given(st.binary(max_size=200))
@settings(max_examples=150)
def test_arbitrary_bytes_end_in_a_typed_error(data: bytes) -> None:
    for parse in (Certificate.parse, snp.EndorsementKey.parse, snp.Report.parse):
        with pytest.raises(MalformedError):
            parse(data)
    with suppress(MalformedError):
        snp.parse_certificate_table(data)


@given(st.binary(min_size=0x4A0, max_size=0x4A0), st.integers(2, 5))
@settings(max_examples=60)
def test_arbitrary_reports_of_the_right_size_are_malformed_or_say_what_is_signed(
    data: bytes, version: int
) -> None:
    sane = bytearray(data)
    sane[0:4], sane[0x34:0x38] = version.to_bytes(4, "little"), b"\x01\0\0\0"
    for start, end in ((0x48, 0x50), (0x188, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x1F8, 0x2A0)):
        sane[start:end] = bytes(end - start)
    sane[0x330:] = bytes(0x4A0 - 0x330)
    report = snp.Report.parse(bytes(sane))
    assert (report.version, report.signed) == (version, bytes(sane[:0x2A0]))
    bits = report.guest_flags | report.unknown_guest_bits | report.policy & 0xFFFF
    assert bits == report.policy
    assert report.platform_flags | report.unknown_platform_bits == report.platform_info
