"""The parsers of TPM structures refuse everything malformed with one error, and lose nothing they read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.errors import EventLogError, MalformedError, PcrError
from glasshouse_attestations.tpm import HashAlgorithm, event_log, pcr
from glasshouse_attestations.tpm.google_instance import GoogleInstance
from glasshouse_attestations.tpm.structures import (
    Attestation,
    ClockInfo,
    PublicArea,
    Selection,
    Signature,
    SignatureScheme,
)
from support import tpm_quotes
from support.tpm_quotes import Quoted, ecc_key, public_area, rsa_key, sized

QUOTED = Quoted(key=rsa_key(), values=tpm_quotes.uki_values())
INSTANCE = bytes.fromhex("3017 0c0475732d31 02020102 0c026f75 020101 0c04766d2d31")

SAMPLES: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "quote": (Attestation.parse, QUOTED.message()),
    "rsa signature": (Signature.parse, tpm_quotes.sign(rsa_key(), b"message")),
    "ecdsa signature": (Signature.parse, tpm_quotes.sign(ecc_key(), b"message")),
    "rsa public area": (PublicArea.parse, sized(public_area(rsa_key()))),
    "ecc public area": (PublicArea.parse, sized(public_area(ecc_key()))),
    "google instance": (GoogleInstance.parse, INSTANCE),
}


def test_a_quote_is_read_as_it_stands() -> None:
    attestation = Attestation.parse(QUOTED.message())
    assert attestation.extra_data == tpm_quotes.QUALIFYING_DATA
    assert attestation.clock == ClockInfo(clock_ms=60_000, reset_count=3, restart_count=1, safe=True)
    assert attestation.firmware_version == 0x2020_0312_0012_0003
    registers = frozenset({4, 8, 11, 12, 13})
    assert attestation.selections == (Selection(hash_id=tpm_quotes.SHA256, registers=registers),)


@pytest.mark.parametrize("key", [rsa_key(), ecc_key()], ids=["rsa", "ecc"])
def test_a_public_area_is_read_as_it_stands(key: tpm_quotes.Key) -> None:
    area = PublicArea.parse(sized(public_area(key)))
    assert area.key == key.public_key()
    assert int(area.attributes) == tpm_quotes.AK_ATTRIBUTES
    assert area.name == tpm_quotes.name_of(public_area(key))


def test_a_google_instance_is_read_as_it_stands() -> None:
    assert GoogleInstance.parse(INSTANCE) == GoogleInstance(
        zone="us-1", project_number=258, project_id="ou", instance_id=1, instance_name="vm-1"
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_and_followed_structures_are_refused(name: str) -> None:
    parse, sample = SAMPLES[name]
    parse(sample)
    for size in range(len(sample)):
        with pytest.raises(MalformedError):
            parse(sample[:size])
    with pytest.raises(MalformedError):
        parse(sample + b"\0")


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_as_malformed(name: str, data: bytes) -> None:
    with pytest.raises(MalformedError):
        SAMPLES[name][0](data)


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
def test_a_mutated_structure_parses_or_is_malformed(name: str, data: st.DataObject) -> None:
    parse, sample = SAMPLES[name]
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    mutated = sample[:start] + data.draw(st.binary(max_size=12)) + sample[end:]
    with suppress(MalformedError):
        parse(mutated)


@given(data=st.data())
def test_a_mutated_event_log_parses_or_is_refused(data: st.DataObject) -> None:
    sample = tpm_quotes.event_log([(4, 0x80000007, b"action"), (4, 4, bytes(4))])
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    mutated = sample[:start] + data.draw(st.binary(max_size=12)) + sample[end:]
    with suppress(MalformedError, EventLogError):
        events = event_log.parse(mutated, bank=HashAlgorithm.SHA256)
        event_log.replay(events, bank=HashAlgorithm.SHA256)


@given(st.dictionaries(st.integers(0, 23), st.binary(min_size=48, max_size=48)))
def test_register_values_come_back_as_they_were_written(values: dict[int, bytes]) -> None:
    bank = HashAlgorithm.SHA384
    assert pcr.parse_values(pcr.encode_values(values, bank=bank), bank=bank) == values


@given(st.binary(max_size=200))
def test_arbitrary_register_values_are_refused(data: bytes) -> None:
    with pytest.raises((MalformedError, PcrError)):
        pcr.parse_values(data, bank=HashAlgorithm.SHA256)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (b"\0\x05\0\x0b\0\0", "RSASSA, RSAPSS or ECDSA"),
        (b"\0\x10", "RSASSA, RSAPSS or ECDSA"),
        (bytes(4097), "more than 4096"),
    ],
    ids=["hmac", "null", "too large"],
)
def test_another_signature_is_refused(structure: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        Signature.parse(structure)


def changed(area: bytes, offset: int, value: bytes) -> bytes:
    return sized(area[:offset] + value + area[offset + len(value) :])


@pytest.mark.parametrize(
    ("area", "message"),
    [
        (changed(public_area(rsa_key()), 0, b"\0\x25"), "neither an RSA nor an ECC"),
        (changed(public_area(rsa_key()), 2, b"\0\x04"), "not SHA-256"),
        (changed(public_area(rsa_key()), 10, b"\0\x06"), "storage key"),
        (changed(public_area(rsa_key()), 12, b"\0\x10"), "RSASSA, RSAPSS or ECDSA"),
        (changed(public_area(rsa_key()), 16, b"\x0c\0"), "not as long"),
        (changed(public_area(rsa_key()), 18, b"\0\0\0\2"), "no valid public key"),
        (changed(public_area(ecc_key()), 16, b"\0\x10"), "P-256 or P-384"),
        (changed(public_area(ecc_key()), 18, b"\0\x20"), "derivation"),
        (changed(public_area(ecc_key()), 30, bytes(8)), "no valid public key"),
    ],
    ids=["kind", "name hash", "storage", "scheme", "bits", "exponent", "curve", "derivation", "off curve"],
)
def test_another_public_area_is_refused(area: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        PublicArea.parse(area)


def test_more_banks_than_a_tpm_has_are_refused() -> None:
    selections = tuple(tpm_quotes.selection(frozenset({0})) for _ in range(17))
    with pytest.raises(MalformedError, match="16 banks"):
        Attestation.parse(
            Quoted(key=rsa_key(), values=tpm_quotes.uki_values(), selections=selections).message()
        )


@pytest.mark.parametrize(
    ("der", "message"),
    [
        (b"\x30\x81\x7f" + bytes(0x7F), "not in DER"),
        (b"\x30\x80", "not in DER"),
        (b"\x30\x83\0\1\0", "not in DER"),
        (b"\x31\0", "another element"),
        (INSTANCE[:3] + b"\5" + INSTANCE[4:], "google instance"),
        (INSTANCE.replace(b"us-1", b"us\n1"), "printable"),
        (bytes([0x30, INSTANCE[1] + 2]) + INSTANCE[2:] + b"\x0c\0", "another element"),
    ],
    ids=["long form", "indefinite", "three bytes", "a set", "length", "line end", "a sixth field"],
)
def test_malformed_google_information_is_refused(der: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        GoogleInstance.parse(der)


def test_schemes_are_those_of_the_specification() -> None:
    assert {scheme.name: scheme.value for scheme in SignatureScheme} == {
        "RSASSA": 0x14,
        "RSAPSS": 0x16,
        "ECDSA": 0x18,
    }
