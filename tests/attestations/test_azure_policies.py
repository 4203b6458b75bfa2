"""Policies of the azure platform are read strictly, and cannot be written so that they ask nothing."""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations import azure, dcap, snp, tpm
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError

UNIQUE_ID = "3c18c97a-0d2a-4565-969d-166cdcef26a3"


def parse(**fields: JSON) -> azure.Policy:
    return azure.Policy.parse(Document({**fields}, "platforms.azure"))


def test_a_table_that_names_the_hardware_gives_the_strict_policy() -> None:
    policy = parse(tdx={})
    assert policy == azure.Policy(tdx=dcap.TdxPolicy())
    assert policy.require_ak_certificate
    assert policy.secure_boot is True
    assert policy.quote == tpm.Policy(root_sha256=frozenset({tpm.AZURE_ROOT_SHA256}))


def test_every_field_can_be_set() -> None:
    assert parse(
        snp={},
        tdx={},
        quote={"root_sha256": [tpm.AZURE_ROOT_SHA256.hex()], "selection": [4], "zero": []},
        require_ak_certificate=False,
        paravisor_measurements=["11" * 48],
        secure_boot="any",
        tpm_persisted=False,
        console_enabled=True,
        unique_ids=[UNIQUE_ID],
    ) == azure.Policy(
        snp=snp.Policy(),
        tdx=dcap.TdxPolicy(),
        quote=tpm.Policy(
            root_sha256=frozenset({tpm.AZURE_ROOT_SHA256}), selection=frozenset({4}), zero=frozenset()
        ),
        require_ak_certificate=False,
        paravisor_measurements=frozenset({b"\x11" * 48}),
        secure_boot=None,
        tpm_persisted=False,
        console_enabled=True,
        unique_ids=frozenset({UNIQUE_ID}),
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "SEV-SNP, TDX or both"),
        ({"tdx": {}, "require_ak_certificate": False}, "certificate or names paravisors"),
        ({"tdx": {}, "require_ak_certificate": "any"}, "certificate or names paravisors"),
        ({"tdx": {}, "secure_boot": "no"}, 'true, false or "any"'),
        ({"tdx": {}, "secure_boot": 1}, 'true, false or "any"'),
        ({"tdx": {}, "paravisor_measurements": ["00"]}, "48 bytes"),
        ({"tdx": {}, "unique_ids": ["MINE"]}, "UUID"),
        ({"tdx": {}, "unique_ids": [UNIQUE_ID, UNIQUE_ID]}, "twice"),
        ({"tdx": {"debug": True}}, "unknown field"),
        ({"tdx": {}, "debug": True}, "unknown field 'debug'"),
        ({"tdx": {}, "quote": {}}, "root_sha256 is missing"),
    ],
)
def test_a_malformed_policy_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse(**fields)


def test_a_paravisors_measurement_has_the_size_of_one() -> None:
    with pytest.raises(ValueError, match="48 bytes"):
        azure.Policy(tdx=dcap.TdxPolicy(), paravisor_measurements=frozenset({bytes(32)}))
