"""Policies for SGX and TDX as they stand in a policy file: strict by default, and nothing unknown in them."""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations.dcap import SgxPolicy, TcbPolicy, TcbStatus, TdxPolicy
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError

_PLATFORM: dict[str, Any] = {
    "minimum_evaluation_number": 21,
    "accepted_statuses": {"UpToDate": ["INTEL-SA-00837"], "SWHardeningNeeded": ["INTEL-SA-00615"]},
    "ppids": ["11" * 16],
    "fmspcs": ["00606a000000"],
    "forbidden_configuration": ["smt", "cached keys"],
}
_TCB = TcbPolicy(
    minimum_evaluation_number=21,
    accepted={
        TcbStatus.UP_TO_DATE: frozenset({"INTEL-SA-00837"}),
        TcbStatus.SW_HARDENING_NEEDED: frozenset({"INTEL-SA-00615"}),
    },
    ppids=frozenset({b"\x11" * 16}),
    fmspcs=frozenset({bytes.fromhex("00606a000000")}),
    forbidden_configuration=frozenset({"smt", "cached keys"}),
)
_SGX: dict[str, Any] = {
    "allowed_attributes": "0000000000000005",
    "allowed_xfrm": "0000000000000003",
    "allowed_misc_select": 1,
    "mr_signers": ["22" * 32],
    "isv_prod_id": 1,
    "minimum_isv_svn": 3,
    "config_id": "33" * 64,
    "config_svn": 2,
    "isv_ext_prod_id": "any",
    "isv_family_id": "44" * 16,
}
_TDX: dict[str, Any] = {
    "required_attributes": "0000000010000000",
    "allowed_attributes": "8000000050000000",
    "allowed_xfam": "00000000000602e7",
    "mr_seams": ["55" * 48],
    "minimum_tee_tcb_svn": "050100" + "00" * 13,
    "mr_service_td": "any",
    "mr_config_id": "66" * 48,
    "mr_owner": "77" * 48,
    "mr_owner_config": "any",
    "rtmr3": "00" * 48,
}
PARSERS = {"sgx": SgxPolicy.parse, "tdx": TdxPolicy.parse}


def test_every_field_of_an_sgx_policy_is_read() -> None:
    assert SgxPolicy.parse(Document({**_PLATFORM, **_SGX}, "sgx")) == SgxPolicy(
        tcb=_TCB,
        allowed_attributes=5,
        allowed_xfrm=3,
        allowed_misc_select=1,
        mr_signers=frozenset({b"\x22" * 32}),
        isv_prod_id=1,
        minimum_isv_svn=3,
        config_id=b"\x33" * 64,
        config_svn=2,
        isv_ext_prod_id=None,
        isv_family_id=b"\x44" * 16,
    )


def test_every_field_of_a_tdx_policy_is_read() -> None:
    assert TdxPolicy.parse(Document({**_PLATFORM, **_TDX}, "tdx")) == TdxPolicy(
        tcb=_TCB,
        required_attributes=1 << 28,
        allowed_attributes=1 << 28 | 1 << 30 | 1 << 63,
        allowed_xfam=0x602E7,
        mr_seams=frozenset({b"\x55" * 48}),
        minimum_tee_tcb_svn=bytes((5, 1)) + bytes(14),
        mr_service_td=None,
        mr_config_id=b"\x66" * 48,
        mr_owner=b"\x77" * 48,
        mr_owner_config=None,
        rtmr3=bytes(48),
    )


def test_an_empty_table_is_the_default() -> None:
    assert SgxPolicy.parse(Document({}, "sgx")) == SgxPolicy()
    assert TdxPolicy.parse(Document({}, "tdx")) == TdxPolicy()
    assert TcbPolicy().accepted == {}
    assert TcbPolicy().minimum_evaluation_number == 19


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
@pytest.mark.parametrize(
    "table",
    [
        {"unknown": 1},
        {"root_spki_sha256": ["00" * 32]},
        {"minimum_evaluation_number": -1},
        {"minimum_evaluation_number": "19"},
        {"accepted_statuses": {"OutOfDate": []}},
        {"accepted_statuses": {"OutOfDateConfigurationNeeded": []}},
        {"accepted_statuses": {"Revoked": []}},
        {"accepted_statuses": {"Fine": []}},
        {"accepted_statuses": {"SWHardeningNeeded": "INTEL-SA-00615"}},
        {"accepted_statuses": {"SWHardeningNeeded": [615]}},
        {"accepted_statuses": ["SWHardeningNeeded"]},
        {"ppids": []},
        {"ppids": ["11" * 15]},
        {"ppids": "11" * 16},
        {"fmspcs": ["00606A000000"]},
        {"forbidden_configuration": ["hyperthreading"]},
        {"forbidden_configuration": ["smt", "smt"]},
    ],
)
def test_a_platform_policy_that_is_not_one_is_refused(kind: str, table: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        PARSERS[kind](Document(table, kind))


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("sgx", {"allowed_attributes": "0000000000000007"}),
        ("sgx", {"allowed_attributes": "0000000000000015"}),
        ("sgx", {"allowed_attributes": 5}),
        ("sgx", {"mr_signers": []}),
        ("sgx", {"config_id": "none"}),
        ("sgx", {"isv_prod_id": 65536}),
        ("sgx", {"mr_seams": ["55" * 48]}),
        ("tdx", {"allowed_attributes": "0000000010000001"}),
        ("tdx", {"allowed_attributes": "0000000010000080"}),
        ("tdx", {"allowed_attributes": "0000000000000000"}),
        ("tdx", {"allowed_attributes": "0000000110000000"}),
        ("tdx", {"allowed_xfam": "0000000000000400"}),
        ("tdx", {"mr_seams": []}),
        ("tdx", {"minimum_tee_tcb_svn": "05"}),
        ("tdx", {"mr_owner": True}),
        ("tdx", {"isv_prod_id": 1}),
    ],
)
def test_a_policy_that_is_not_one_is_refused(kind: str, table: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        PARSERS[kind](Document(table, kind))
