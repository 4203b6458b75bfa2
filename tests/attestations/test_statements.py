"""Statements about an image: releases, audits and revocations, and what makes one malformed."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from glasshouse_attestations import audit, canonical_json, release, revocation
from glasshouse_attestations.audit import Audit, Verdict
from glasshouse_attestations.document import format_time, parse_time
from glasshouse_attestations.errors import MalformedError, ValidityError
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import Statement
from support.attestation_samples import AUDIT, FAILED_AUDIT, LATER, MOMENT, RELEASE, REVOCATION

PREDICATE_TYPES = (release.PREDICATE_TYPE, audit.PREDICATE_TYPE, revocation.PREDICATE_TYPE)


def fields_of(statement: Statement) -> dict[str, Any]:
    fields = canonical_json.parse(statement.encode(), max_size=65_535)
    assert isinstance(fields, dict)
    return dict(fields)


def with_field(statement: Statement, name: str, value: object) -> Statement:
    """The statement with one field of its predicate set, or taken out where ``value`` is ``...``."""
    predicate: dict[str, Any] = dict(statement.predicate)
    if value is ...:
        del predicate[name]
    else:
        predicate[name] = value
    return dataclasses.replace(statement, predicate=predicate)


DIGEST = "00" * 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("_type", "https://in-toto.io/Statement/v1/"),
        ("_type", "https://in-toto.io/statement/v1"),
        ("_type", None),
        ("subject", []),
        ("subject", {}),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": DIGEST}}] * 2),
        (
            "subject",
            [
                {"name": "enclave.efi", "digest": {"sha256": DIGEST}},
                {"name": "other", "digest": {"sha256": "11" * 32}},
            ],
        ),
        ("subject", [{"name": "enclave.efi"}]),
        ("subject", [{"digest": {"sha256": DIGEST}}]),
        ("subject", [{"name": "ENCLAVE.EFI", "digest": {"sha256": DIGEST}}]),
        ("subject", [{"name": "enclave.efi", "digest": {}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha384": "00" * 48}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha512": "00" * 64}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"SHA256": DIGEST}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": DIGEST, "sha1": "00" * 20}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": "AB" * 32}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": "00" * 31}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": "sha256:" + DIGEST}}]),
        ("subject", [{"name": "enclave.efi", "digest": {"sha256": DIGEST}, "uri": "x"}]),
        ("predicateType", ""),
        ("predicateType", 1),
        ("predicateType", "x" * 257),
        ("predicate", []),
        ("predicate", None),
        ("predicate", "{}"),
        ("extra", {}),
    ],
)
def test_a_malformed_statement_is_refused(name: str, value: object) -> None:
    fields = fields_of(RELEASE.to_statement())
    fields[name] = value
    with pytest.raises(MalformedError):
        Statement.parse(canonical_json.encode(fields))


@pytest.mark.parametrize(
    ("parse", "statement"),
    [
        (Release.parse, RELEASE.to_statement()),
        (Audit.parse, AUDIT.to_statement()),
        (Revocation.parse, REVOCATION.to_statement()),
    ],
    ids=["release", "audit", "revocation"],
)
def test_a_predicate_is_taken_for_no_other_type(parse: Any, statement: Statement) -> None:
    parse(statement)
    own = statement.predicate_type
    others = {own + "/", own.upper(), own.replace("/v1", "/v2"), own.replace("https", "http"), own + "#"}
    for other in others | set(PREDICATE_TYPES) - {own}:
        with pytest.raises(MalformedError, match="predicateType"):
            parse(dataclasses.replace(statement, predicate_type=other))


TEXT_MISTAKES: list[object] = [
    "",
    "a\nb",
    "a\0b",
    "\x1b[31mred",
    "caf\u00e9",
    "\u202etxt",
    "a\u200bb",
    "x" * 1025,
    1,
    None,
    ["x"],
    True,
]
TIME_MISTAKES: list[object] = [
    "",
    0,
    1893456000,
    None,
    "2030-01-31",
    "2030-01-31T12:00Z",
    "2030-01-31T12:00:00",
    "2030-01-31T12:00:00z",
    "2030-01-31t12:00:00Z",
    "2030-01-31 12:00:00Z",
    "2030-01-31T12:00:00.0Z",
    "2030-01-31T12:00:00+00:00",
    "2030-1-31T12:00:00Z",
    "+2030-01-31T12:00:0Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-02-29T00:00:00Z",
    "2030-01-32T00:00:00Z",
    "2030-01-31T24:00:00Z",
    "2030-01-31T23:60:00Z",
    "2016-12-31T23:59:60Z",
    "2030-01-31T23:59:61Z",
    "\u0662\u0660\u0663\u0660-01-31T12:00:00Z",
    "2030-01-31T12:00:00Z\n",
    " 2030-01-31T12:00:00Z",
]
DIGEST_MISTAKES: list[object] = [
    "",
    "00",
    "00" * 31,
    "00" * 33,
    "AB" * 32,
    "0x" + "00" * 31,
    "00" * 31 + "0g",
    " " * 64,
    0,
    None,
]
DIGEST_MISTAKES += ["\uff10" * 64, "00" * 31 + "0\n"]
SOURCE_MISTAKES: list[object] = [
    None,
    "https://example.com/glasshouse@" + "00" * 20,
    {"repository": "https://example.com/x"},
    {"commit": "00" * 20},
    {"repository": "https://example.com/x", "commit": "00" * 20, "branch": "main"},
    *({"repository": text, "commit": "00" * 20} for text in TEXT_MISTAKES),
    *(
        {"repository": "https://example.com/x", "commit": commit}
        for commit in ("", "HEAD", "v1.0.0", "00" * 3, "00" * 19, "00" * 24, "AB" * 20, "00" * 33, 0)
    ),
]
VALUE_MISTAKES: list[object] = [
    None,
    {},
    [],
    {"tpm": []},
    {"tpm": {}},
    {"tpm": [{}]},
    {"tpm": [[]]},
    {"tpm": [{"pcr4.sha256": DIGEST}, {}]},
    {"tpm": [{"pcr4.sha256": "00" * 48}]},
    {"tpm": [{"pcr4.sha384": DIGEST}]},
    {"tpm": [{"pcr4.sha256": ""}]},
    {"tpm": [{"pcr4.sha256": None}]},
    {"tpm": [{"pcr4.sha1": "00" * 20}]},
    {"tpm": [{"pcr4": DIGEST}]},
    {"tpm": [{"PCR4.sha256": DIGEST}]},
    {"tpm": [{".sha256": DIGEST}]},
    {"tpm": [{"pcr4.sha256\n": DIGEST}]},
    {"TPM": [{"pcr4.sha256": DIGEST}]},
    {"": [{"pcr4.sha256": DIGEST}]},
    {"tpm\n": [{"pcr4.sha256": DIGEST}]},
    {"tpm": [{"pcr4.sha256": DIGEST}] * 257},
    {"tpm": [{f"pcr{number}.sha256": DIGEST for number in range(33)}]},
    {f"p{number}": [{"pcr4.sha256": DIGEST}] for number in range(17)},
]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "version",
            ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0-rc1", "1.0.0 ", "1.0.1000000", 1, None],
        ),
        ("version", ["\u0661.0.0", "1.0.0\n", "-1.0.0", "1..0"]),
        ("source", SOURCE_MISTAKES),
        ("builder", [*TEXT_MISTAKES, "x" * 129]),
        ("referenceValues", VALUE_MISTAKES),
        ("sbom", DIGEST_MISTAKES),
        ("notBefore", [*TIME_MISTAKES, "2031-01-31T12:00:00Z", "2032-01-01T00:00:00Z"]),
        ("notAfter", [*TIME_MISTAKES, "2030-01-31T12:00:00Z", "2029-01-01T00:00:00Z"]),
        ("unknown", [1, None, {}]),
        ("locks", [None, {}, [], "x", *({"a.lock": digest} for digest in DIGEST_MISTAKES)]),
        ("locks", [{f"{number}.lock": DIGEST for number in range(17)}]),
    ],
)
def test_a_malformed_release_is_refused(name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(MalformedError):
            Release.parse(with_field(RELEASE.to_statement(), name, value))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../debs.lock",
        "a/../b.lock",
        "a/./b.lock",
        "./a.lock",
        "a//b.lock",
        "a/",
        ".hidden",
        "a/.git",
        "a\\b.lock",
        "C:/a.lock",
        "a b.lock",
        "a\nb.lock",
        "a\0.lock",
        "debs\u0301.lock",
        "\u0430.lock",
        "-x",
        "a/-x",
        "a.lock\n",
        "x" * 257,
        "a/" * 200 + "a",
    ],
)
def test_the_path_of_a_lock_stays_within_the_repository(path: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Release.parse(with_field(RELEASE.to_statement(), "locks", {path: DIGEST}))
    assert len(path) < 5 or path not in str(caught.value)
    with pytest.raises(MalformedError, match="malformed path"):
        dataclasses.replace(RELEASE, locks={path: bytes(32)})


def test_the_paths_of_locks_that_repositories_have_are_allowed() -> None:
    for path in ("uv.lock", "reference_server/image/debs.lock", "locks/py3.13-linux_x86.txt", "x" * 256):
        allowed = dataclasses.replace(RELEASE, locks={path: bytes(32)})
        assert Release.parse(allowed.to_statement()) == allowed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("verdict", ["", "passed", "Reproduced", "REPRODUCED", "reproduced ", None, True, ["reproduced"]]),
        ("source", SOURCE_MISTAKES),
        ("rebuilt", [*DIGEST_MISTAKES, ..., "11" * 32]),
        ("referenceValues", [*VALUE_MISTAKES, ...]),
        ("environment", [None, [], {}, {"os": "x", "architecture": "y"}]),
        ("environment", [{"os": text, "architecture": "y", "python": "3"} for text in TEXT_MISTAKES]),
        ("environment", [{"os": "x", "architecture": text, "python": "3"} for text in TEXT_MISTAKES]),
        ("environment", [{"os": "x", "architecture": "y", "python": text} for text in TEXT_MISTAKES]),
        ("environment", [{"os": "x", "architecture": "y", "python": "3", "host": "z"}]),
        ("time", [*TIME_MISTAKES, "2031-01-31T12:00:00Z", "2032-01-01T00:00:00Z"]),
        ("expires", [*TIME_MISTAKES, "2030-01-31T12:00:00Z", "2029-01-01T00:00:00Z", ...]),
        ("unknown", [1, None, {}]),
    ],
)
def test_a_malformed_audit_is_refused(name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(MalformedError):
            Audit.parse(with_field(AUDIT.to_statement(), name, value))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("reason", [*TEXT_MISTAKES, ...]),
        ("time", [*TIME_MISTAKES, ...]),
        ("unknown", [1, None, {}]),
    ],
)
def test_a_malformed_revocation_is_refused(name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(MalformedError):
            Revocation.parse(with_field(REVOCATION.to_statement(), name, value))


def test_a_release_at_its_limits_is_allowed() -> None:
    registers = {f"pcr{number}.sha256": bytes(32) for number in range(32)}
    most = dataclasses.replace(
        RELEASE,
        version="999999.999999.999999",
        locks={f"{number}.lock": bytes(32) for number in range(16)},
        builder="b" * 128,
        reference_values=ReferenceValues(
            platforms={
                "p" * 32: (registers,),
                **{f"p{number}": ({"r" * 32 + ".sha384": bytes(48)},) for number in range(14)},
                "alternatives": ({"a.sha256": bytes(32)},) * 256,
            }
        ),
    )
    assert Release.parse(Statement.parse(most.to_statement().encode())) == most


def test_an_audit_cannot_contradict_itself() -> None:
    statement = AUDIT.to_statement()
    for verdict in ("differs", "failed"):
        with pytest.raises(MalformedError):
            Audit.parse(with_field(statement, "verdict", verdict))
    for verdict in ("reproduced", "differs"):
        with pytest.raises(MalformedError):
            Audit.parse(with_field(FAILED_AUDIT.to_statement(), "verdict", verdict))
    other = bytes(32)
    changes: tuple[dict[str, Any], ...] = (
        {"verdict": Verdict.DIFFERS},
        {"verdict": Verdict.FAILED},
        {"rebuilt_sha256": other},
        {"rebuilt_sha256": None},
        {"reference_values": None},
        {"image_sha256": other},
        {"expires": MOMENT},
    )
    for change in changes:
        with pytest.raises(MalformedError):
            dataclasses.replace(AUDIT, **change)
    differs = dataclasses.replace(AUDIT, verdict=Verdict.DIFFERS, rebuilt_sha256=other)
    assert Audit.parse(differs.to_statement()) == differs
    assert Audit.parse(FAILED_AUDIT.to_statement()) == FAILED_AUDIT


def test_a_release_is_valid_from_its_first_second_to_its_last() -> None:
    second = timedelta(seconds=1)
    RELEASE.check_validity(MOMENT)
    RELEASE.check_validity(LATER)
    with pytest.raises(ValidityError, match="valid from"):
        RELEASE.check_validity(MOMENT - second)
    with pytest.raises(ValidityError, match="valid until"):
        RELEASE.check_validity(LATER + second)


def test_an_audit_speaks_from_its_first_second_to_its_last() -> None:
    second = timedelta(seconds=1)
    AUDIT.check_validity(MOMENT)
    AUDIT.check_validity(LATER)
    with pytest.raises(ValidityError, match="speaks from"):
        AUDIT.check_validity(MOMENT - second)
    with pytest.raises(ValidityError, match="expired"):
        AUDIT.check_validity(LATER + second)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        datetime(2000, 2, 29, tzinfo=timezone.utc),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
    ],
)
def test_a_moment_comes_back_from_its_text(moment: datetime) -> None:
    assert parse_time(format_time(moment), "time") == moment


def test_a_moment_is_written_in_utc_and_without_fractions() -> None:
    chatham = timezone(timedelta(hours=12, minutes=45))
    assert format_time(datetime(2030, 1, 31, 12, 0, 0, 999_999, tzinfo=chatham)) == "2030-01-30T23:15:00Z"
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2030, 1, 31))  # noqa: DTZ001


def test_an_unknown_field_is_named_without_flooding_the_error() -> None:
    with pytest.raises(MalformedError) as caught:
        Revocation.parse(with_field(REVOCATION.to_statement(), "\x1b]0;" + "x" * 10_000, 1))
    assert len(str(caught.value)) < 120
    assert "\x1b" not in str(caught.value)
