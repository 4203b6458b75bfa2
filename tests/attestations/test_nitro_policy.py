"""The policy for Nitro evidence: what a table may say, and what it means when it says nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from glasshouse_attestations import nitro
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError
from support.vectors import needs_vectors, vector

_INSTANCE = "i-0123456789abcdef0"


def _parse(table: dict[str, Any]) -> nitro.Policy:
    return nitro.Policy.parse(Document(table, "platforms.nitro"))


def test_an_empty_table_is_the_default_policy() -> None:
    assert _parse({}) == nitro.Policy()


def test_every_field_of_a_table_is_read() -> None:
    table = {
        "pcrs": [0, 1, 2, 8],
        "expected": {"pcr3.sha384": "ab" * 48},
        "instances": [_INSTANCE],
        "max_age_seconds": 30,
        "max_clock_skew_seconds": 0,
    }
    assert _parse(table) == nitro.Policy(
        pcrs=frozenset({0, 1, 2, 8}),
        expected={3: b"\xab" * 48},
        instances=frozenset({_INSTANCE}),
        max_age=timedelta(seconds=30),
        max_clock_skew=timedelta(),
    )


@pytest.mark.parametrize(
    "table",
    [
        {"root_sha256": "ab" * 32},
        {"nonce": "ab"},
        {"allow_debug": True},
        {"pcrs": []},
        {"pcrs": [32]},
        {"pcrs": [-1]},
        {"pcrs": [True]},
        {"pcrs": ["0"]},
        {"pcrs": [0, 0]},
        {"expected": {}},
        {"expected": {"pcr32.sha384": "ab" * 48}},
        {"expected": {"pcr3.sha256": "ab" * 32}},
        {"expected": {"pcr03.sha384": "ab" * 48}},
        {"expected": {"pcr3.sha384": "ab" * 47}},
        {"instances": []},
        {"instances": ["i-xyz"]},
        {"instances": [1]},
        {"max_age_seconds": 0},
        {"max_age_seconds": 3 * 3600 + 1},
        {"max_age_seconds": "300"},
        {"max_clock_skew_seconds": -1},
    ],
)
def test_a_table_that_says_anything_else_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        _parse(table)


@pytest.mark.parametrize(
    "fields",
    [
        {"pcrs": frozenset()},
        {"pcrs": frozenset({32})},
        {"expected": {32: bytes(48)}},
        {"expected": {3: bytes(32)}},
        {"max_age": timedelta()},
        {"max_age": timedelta(hours=4)},
        {"max_clock_skew": timedelta(seconds=-1)},
    ],
)
def test_a_policy_that_makes_no_sense_is_a_mistake_of_the_caller(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"register|ages"):
        nitro.Policy(**fields)


@needs_vectors
def test_the_pinned_root_is_the_one_that_aws_publishes() -> None:
    root = x509.load_pem_x509_certificate(vector("nitro/roots/AWS_NitroEnclaves_Root-G1.pem"))
    assert root.fingerprint(hashes.SHA256()) == nitro.ROOT_SHA256
