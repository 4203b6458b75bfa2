"""Quotes, collateral and Intel's documents: what they are read from, and all that is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.dcap import (
    Collateral,
    EnclaveIdentity,
    PckExtensions,
    Quote,
    TcbInfo,
    TcbStatus,
    TdReport,
    Tee,
    vendor_json,
    verify,
)
from glasshouse_attestations.errors import CollateralError, GlasshouseError, MalformedError
from glasshouse_attestations.evidence import Evidence
from support.hypothesis_strategies import mutated
from support.pki_dcap import (
    COMPONENTS,
    FMSPC,
    INSTANCE,
    NOW,
    PCE_SVN,
    PPID,
    TEE_TCB_SVN,
    Json,
    intel,
    isv_level,
    module,
    qe_identity,
    sgx_extensions,
    tcb_info,
    tcb_level,
    td_report,
    text,
)
from support.vectors import VECTORS, needs_vectors, vector

NEGATIVE = "sgx/openenclave_negative_json"


def test_a_quote_is_read_by_the_offsets_of_its_format() -> None:
    body = td_report(tee_tcb_svn_2=TEE_TCB_SVN, mr_service_td=b"V" * 48, mr_owner=b"O" * 48)
    quote = Quote.parse(intel().quote(body) + bytes(100))
    assert (quote.version, quote.tee, quote.padding, quote.user_data) == (5, Tee.TDX, 100, b"U" * 20)
    assert isinstance(quote.body, TdReport)
    assert quote.body.tee_tcb_svn_2 == TEE_TCB_SVN
    assert (quote.body.mr_seam, quote.body.mrtd) == (b"M" * 48, b"T" * 48)
    assert (quote.body.mr_owner, quote.body.mr_service_td) == (b"O" * 48, b"V" * 48)
    assert quote.body.rtmrs == (b"0" * 48, b"1" * 48, b"2" * 48, bytes(48))
    assert quote.quoting_enclave.mrsigner == b"Q" * 32


def test_the_sgx_extensions_are_read() -> None:
    extensions = PckExtensions.parse(sgx_extensions(components=(200,) * 16, pce_svn=0x1FF))
    assert (extensions.ppid, extensions.fmspc, extensions.pce_svn) == (PPID, FMSPC, 0x1FF)
    assert extensions.components == (200,) * 16
    assert extensions.platform_instance_id == INSTANCE
    assert extensions.configuration == frozenset({"dynamic platform", "smt"})
    single = PckExtensions.parse(sgx_extensions(without=[6], configuration=None))
    assert (single.platform_instance_id, single.configuration) == (None, None)


def test_tcb_info_is_read() -> None:
    info = TcbInfo.parse(text(tcb_info(tcbLevels=[tcb_level("Revoked", advisories=["INTEL-SA-00615"])])))
    assert (info.tee, info.fmspc, info.evaluation_number) == ("TDX", FMSPC, 19)
    (level,) = info.levels
    assert (level.sgx_components, level.pce_svn) == (COMPONENTS, PCE_SVN)
    assert level.tdx_components == (5, 0, 3) + (0,) * 13
    assert (level.status, level.advisory_ids) == (TcbStatus.REVOKED, ("INTEL-SA-00615",))
    assert [version for version, _ in info.modules] == [0, 1]


def without(document: Json, name: str) -> bytes:
    return text({key: value for key, value in document.items() if key != name})


@pytest.mark.parametrize("name", sorted(tcb_info()))
def test_tcb_info_without_a_field_is_refused(name: str) -> None:
    if name == "tdxModuleIdentities":
        assert len(TcbInfo.parse(without(tcb_info(), name)).modules) == 1
        return
    with pytest.raises(MalformedError):
        TcbInfo.parse(without(tcb_info(), name))


@pytest.mark.parametrize("name", sorted(qe_identity()))
def test_an_identity_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        EnclaveIdentity.parse(without(qe_identity(), name))


_TCB = tcb_level()["tcb"]


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"version": "3"},
        {"tcbType": 1},
        {"fmspc": "90C06F0000"},
        {"fmspc": 1},
        {"issueDate": "2030-01-31"},
        {"nextUpdate": "2030-02-30T12:00:00Z"},
        {"tcbEvaluationDataNumber": -1},
        {"tcbLevels": []},
        {"tcbLevels": [tcb_level()] * 65},
        {"tcbLevels": [tcb_level("Fine")]},
        {"tcbLevels": [tcb_level("TDRelaunchAdvised")]},
        {"tcbLevels": [tcb_level(sgx=COMPONENTS[:15])]},
        {"tcbLevels": [tcb_level(sgx=(*COMPONENTS, 0))]},
        {"tcbLevels": [tcb_level(sgx=(256, *COMPONENTS[1:]))]},
        {"tcbLevels": [tcb_level(tdx=None)]},
        {"tcbLevels": [tcb_level(pce_svn=65536)]},
        {"tcbLevels": [tcb_level(advisories=["CVE-2026-22696"])]},
        {"tcbLevels": [{**tcb_level(), "unknown": 1}]},
        {"tcbLevels": [{**tcb_level(), "tcb": {**_TCB, "unknown": 1}}]},
        {"tdxModule": {**module(), "mrsigner": "00"}},
        {"tdxModuleIdentities": [module("TDX_1", isv_level(1))]},
        {"tdxModuleIdentities": [module("TDX_00", isv_level(1))]},
        {"tdxModuleIdentities": [module("TDX_01", isv_level(1)), module("TDX_01", isv_level(2))]},
        {"tdxModuleIdentities": [module("TDX_01")]},
        {"tdxModuleIdentities": [module("TDX_01", isv_level(1, "SWHardeningNeeded"))]},
    ],
)
def test_tcb_info_with_another_content_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        TcbInfo.parse(text(tcb_info(**changes)))


@pytest.mark.parametrize("tee", ["SGX", "TDX"])
def test_a_version_without_its_purpose_is_refused_with_the_reason(tee: str) -> None:
    with pytest.raises(CollateralError, match="version 2, only version 3"):
        TcbInfo.parse(text(tcb_info(tee, version=2)))
    with pytest.raises(CollateralError, match="version 1, only version 2"):
        EnclaveIdentity.parse(text(qe_identity(version=1)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":12345678901}',
        b'{"a":1}x',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b'{"a":01}',
        b"[" * 9 + b"]" * 9,
        b"[" * 100_000,
        b" " * 1001,
    ],
)
def test_json_that_readers_could_understand_differently_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        vendor_json.parse(data, name="document", max_size=200_000 if data[:9] == b"[" * 9 else 1000)


def test_json_may_be_spaced_and_ordered_as_its_author_likes() -> None:
    assert vendor_json.parse(b' { "b" : [ 1 ], "a" : "[[[[[[[[[[[" }\n', name="x", max_size=99) == {
        "b": [1],
        "a": "[[[[[[[[[[[",
    }


@needs_vectors
@pytest.mark.parametrize(
    "name", sorted(file.name for file in (VECTORS / NEGATIVE).glob("*.json")) if VECTORS.is_dir() else []
)
def test_the_malformed_documents_of_another_verifier_are_refused(name: str) -> None:
    data = vector(f"{NEGATIVE}/{name}")
    parse: Callable[[bytes], object] = EnclaveIdentity.parse if name.startswith("qe_") else TcbInfo.parse
    try:
        # Those that are JSON hold what is signed under one name; the form around it is no part of it.
        whole = json.loads(data)
        inner = json.dumps(whole.get("tcbInfo") or whole.get("enclaveIdentity") or whole.get("qeIdentity"))
    except ValueError:
        inner = data.decode("latin-1")
    with pytest.raises((MalformedError, CollateralError)):
        parse(inner.encode("latin-1", "replace"))


@needs_vectors
def test_captured_collateral_is_read_and_written_again() -> None:
    files = sorted((VECTORS / "normalized/dcap/collateral").glob("*.json"))
    assert files
    for file in files:
        collateral = Collateral.parse(file.read_bytes())
        assert Collateral.parse(collateral.encode()) == collateral
        assert collateral.tcb_info.decode() == json.loads(file.read_bytes())["tcb_info"]


def _collateral(**changes: Any) -> bytes:
    document = json.loads(intel().collateral().encode()) | changes
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": "x"},
        {"tcb_info": None},
        {"tcb_info": ""},
        {"tcb_info": {}},
        {"tcb_info": "é"},
        {"tcb_info": "x" * ((64 << 10) + 1)},
        {"pck_crl": "0"},
        {"pck_crl": "AB"},
        {"pck_crl": ""},
        {"pck_crl": "00" * ((64 << 10) + 1)},
        {"tcb_info_signature": "00" * 63},
        {"qe_identity_issuer_chain": "x" * ((16 << 10) + 1)},
    ],
)
def test_collateral_that_is_not_its_nine_parts_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match="collateral"):
        Collateral.parse(_collateral(**changes))


@cache
def _samples() -> tuple[Evidence, ...]:
    # Signed once: the strategies would be at odds with themselves if the bytes changed.
    own = intel()
    on_15 = own.quote(td_report(tee_tcb_svn_2=TEE_TCB_SVN))
    return own.evidence(), own.evidence(on_15), own.sgx_evidence()


def _refused_or_verified(evidence: Evidence) -> None:
    policy = intel().tdx() if evidence.platform == "tdx" else intel().sgx()
    with suppress(GlasshouseError):
        verify(evidence, policy=policy, now=NOW)


_FUZZ = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@_FUZZ
@given(st.data())
def test_whatever_is_done_to_evidence_only_typed_errors_come_out(data: st.DataObject) -> None:
    evidence = data.draw(st.sampled_from(_samples()))
    quote = data.draw(st.one_of(st.just(evidence.quote), mutated(evidence.quote)))
    collateral = data.draw(mutated(evidence.endorsements["collateral"]))
    endorsements = {"collateral": collateral}
    _refused_or_verified(Evidence(platform=evidence.platform, quote=quote, endorsements=endorsements))


@given(st.binary(max_size=2000) | mutated(sgx_extensions()))
def test_any_bytes_are_sgx_extensions_or_malformed(data: bytes) -> None:
    with suppress(MalformedError):
        PckExtensions.parse(data)


@given(mutated(text(tcb_info())))
def test_any_bytes_are_tcb_info_or_refused(data: bytes) -> None:
    for parse in (TcbInfo.parse, EnclaveIdentity.parse):
        with suppress(MalformedError, CollateralError):
            parse(data)
