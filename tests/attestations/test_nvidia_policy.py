"""The policy for GPUs, and the nonce that ties a GPU to the evidence of its CPU."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from glasshouse_attestations import nvidia
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError


def _parse(table: dict[str, Any]) -> nvidia.Policy:
    return nvidia.Policy.parse(Document(table, "platforms.nvidia"))


def test_an_empty_table_is_the_default_policy_and_that_is_strict() -> None:
    policy = _parse({})
    assert policy == nvidia.Policy()
    assert policy.require_rims
    assert policy.require_revocation_status
    assert not policy.allow_expired_rim_signers
    assert not policy.allow_protected_pcie


def test_every_field_of_a_table_is_read() -> None:
    table = {
        "products": ["GH100", "LS_10"],
        "serials": ["410011223344556677"],
        "driver_versions": ["550.144.03"],
        "vbios_versions": ["96.00.5E.00.01"],
        "require_rims": False,
        "require_revocation_status": False,
        "allow_expired_rim_signers": True,
        "allow_protected_pcie": True,
    }
    assert _parse(table) == nvidia.Policy(
        products=frozenset({"GH100", "LS_10"}),
        serials=frozenset({bytes.fromhex("410011223344556677")}),
        driver_versions=frozenset({"550.144.03"}),
        vbios_versions=frozenset({"96.00.5E.00.01"}),
        require_rims=False,
        require_revocation_status=False,
        allow_expired_rim_signers=True,
        allow_protected_pcie=True,
    )


@pytest.mark.parametrize(
    "table",
    [
        {"device_root_sha256": "ab" * 32},
        {"nonce": "ab" * 32},
        {"products": []},
        {"products": ["gh100"]},
        {"products": [100]},
        {"products": "GH100"},
        {"serials": ["41"]},
        {"serials": ["410011223344556677".upper() + "AA"]},
        {"driver_versions": ["550"]},
        {"vbios_versions": ["96.00.5e.00.01"]},
        {"require_rims": 0},
        {"require_revocation_status": "false"},
        {"allow_protected_pcie": 1},
    ],
)
def test_a_table_that_says_anything_else_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        _parse(table)


def test_a_policy_that_makes_no_sense_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="product"):
        nvidia.Policy(products=frozenset())
    with pytest.raises(ValueError, match="nonce"):
        nvidia.Policy(nonce=bytes(31))


def test_the_nonce_of_a_gpu_is_derived_from_all_of_the_report_data() -> None:
    report_data = bytes(range(64))
    framed = b"glasshouse GPU nonce v1\0" + (64).to_bytes(8, "big") + report_data
    assert nvidia.gpu_nonce(report_data) == hashlib.sha256(framed).digest()
    for offset in range(64):
        changed = bytearray(report_data)
        changed[offset] ^= 1
        assert nvidia.gpu_nonce(bytes(changed)) != nvidia.gpu_nonce(report_data)
    for size in (0, 32, 63, 65):
        with pytest.raises(ValueError, match="64 bytes"):
            nvidia.gpu_nonce(bytes(size))
