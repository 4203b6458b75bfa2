"""Which TCB level a platform is on, how statuses combine, and which of them a policy accepts.

The collateral is signed by a generated Intel (support/pki_dcap.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations.claims import Claims
from glasshouse_attestations.dcap import TcbStatus, verify
from glasshouse_attestations.errors import ModuleIdentityError, TcbStatusError
from support.pki_dcap import (
    COMPONENTS,
    NOW,
    PCE_SVN,
    Json,
    enclave_report,
    intel,
    isv_level,
    module,
    qe_identity,
    tcb_info,
    tcb_level,
    td_report,
)

ACCEPTABLE = [
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
]
NEVER = ["OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"]
ADVISORY = "INTEL-SA-00615"
EVERYTHING = {TcbStatus(name): frozenset({ADVISORY}) for name in ["UpToDate", *ACCEPTABLE]}
CURRENT_MODULE = [module("TDX_01", isv_level(6), isv_level(4, "OutOfDate"), isv_level(2, "Revoked"))]


def svn(*values: int) -> bytes:
    return bytes(values) + bytes(16 - len(values))


def judged(
    *levels: Json,
    modules: list[Json] | None = CURRENT_MODULE,
    qe: list[Json] | None = None,
    accepted: dict[TcbStatus, frozenset[str]] = EVERYTHING,
    **body: Any,
) -> Claims:
    info = tcb_info(tcbLevels=list(levels), tdxModuleIdentities=modules)
    identity = qe_identity() if qe is None else qe_identity(tcbLevels=qe)
    evidence = intel().evidence(intel().quote(td_report(**body)), intel().collateral(info, identity))
    return verify(evidence, policy=intel().tdx(tcb={"accepted": accepted}), now=NOW)


def status_of(*levels: Json, **arguments: Any) -> str:
    """The status that the platform is judged with, accepted or not."""
    try:
        claims = judged(*levels, **arguments)
    except TcbStatusError as err:
        return str(err).removeprefix("the TCB status is ").split(" (")[0]
    assert claims.tcb_status is not None
    return claims.tcb_status


@pytest.mark.parametrize("status", NEVER)
def test_out_of_date_and_revoked_are_refused_and_cannot_be_accepted(status: str) -> None:
    with pytest.raises(TcbStatusError, match=f"the TCB status is {status} "):
        judged(tcb_level(status))
    with pytest.raises(ValueError, match="never accepted"):
        judged(tcb_level(status), accepted={TcbStatus(status): frozenset()})


@pytest.mark.parametrize("status", ACCEPTABLE[:3])
def test_a_status_is_accepted_where_the_policy_names_it(status: str) -> None:
    level = tcb_level(status, advisories=[ADVISORY])
    claims = judged(level)
    assert (claims.tcb_status, claims.advisory_ids) == (status, (ADVISORY,))
    with pytest.raises(TcbStatusError, match=f"{status} \\(advisories: {ADVISORY}\\)"):
        judged(level, accepted={})
    with pytest.raises(TcbStatusError, match=f"with {ADVISORY}, not accepted"):
        judged(level, accepted={TcbStatus(status): frozenset({"INTEL-SA-00001"})})


def test_advisories_count_even_when_up_to_date() -> None:
    level = tcb_level(advisories=[ADVISORY])
    assert judged(level).advisory_ids == (ADVISORY,)
    with pytest.raises(TcbStatusError, match=f"UpToDate with {ADVISORY}"):
        judged(level, accepted={})


def test_the_first_level_that_is_reached_decides() -> None:
    higher = tcb_level(sgx=(6, *COMPONENTS[1:]))
    assert status_of(higher, tcb_level("SWHardeningNeeded"), tcb_level("Revoked")) == "SWHardeningNeeded"


@pytest.mark.parametrize("index", range(16))
def test_every_component_of_the_processor_counts(index: int) -> None:
    sgx = list(COMPONENTS)
    sgx[index] += 1
    assert status_of(tcb_level(sgx=sgx)).startswith("the platform is below every")
    tdx = [5, 0, 3] + [0] * 13
    tdx[index] = 200
    if index > 1:
        assert status_of(tcb_level(tdx=tdx)).startswith("the platform is below every")
    else:
        # The module's own identity judges it instead, from version 1 on.
        assert status_of(tcb_level(tdx=tdx)) == "UpToDate"


def test_the_pce_counts() -> None:
    assert status_of(tcb_level(pce_svn=PCE_SVN + 1)).startswith("the platform is below every")


@pytest.mark.parametrize(("first", "status"), [(5, "UpToDate"), (4, "OutOfDate")])
def test_a_module_of_version_0_is_judged_by_the_platforms_level(first: int, status: str) -> None:
    older = tcb_level("OutOfDate", tdx=(1, 0, 1) + (0,) * 13)
    assert status_of(tcb_level(), older, modules=None, tee_tcb_svn=svn(first, 0, 3)) == status


def test_a_module_without_a_level_or_an_identity_is_no_judgement() -> None:
    assert status_of(tcb_level(), tee_tcb_svn=svn(1, 1, 3)).startswith("the TDX module is below every")
    with pytest.raises(ModuleIdentityError):
        judged(tcb_level(), modules=None)
    with pytest.raises(ModuleIdentityError):
        judged(tcb_level(), tee_tcb_svn=svn(6, 3, 3))


@pytest.mark.parametrize(
    ("platform", "part", "together"),
    [
        ("UpToDate", "UpToDate", "UpToDate"),
        ("UpToDate", "OutOfDate", "OutOfDate"),
        ("SWHardeningNeeded", "OutOfDate", "OutOfDate"),
        ("ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("OutOfDate", "OutOfDate", "OutOfDate"),
        ("OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("Revoked", "OutOfDate", "Revoked"),
        ("Revoked", "UpToDate", "Revoked"),
        *((platform, "Revoked", "Revoked") for platform in ["UpToDate", *ACCEPTABLE[:3], *NEVER]),
    ],
)
def test_the_worse_of_platform_and_part_decides(platform: str, part: str, together: str) -> None:
    assert status_of(tcb_level(platform), qe=[isv_level(8, part)]) == together
    assert status_of(tcb_level(platform), modules=[module("TDX_01", isv_level(6, part))]) == together


def test_the_quoting_enclaves_own_version_counts() -> None:
    assert status_of(tcb_level(), qe=[isv_level(9), isv_level(8, "OutOfDate")]) == "OutOfDate"
    assert status_of(tcb_level(), qe=[isv_level(9)]).startswith("the quoting enclave is below every")


def test_the_advisories_of_all_parts_are_named() -> None:
    claims = judged(
        tcb_level(advisories=["INTEL-SA-00001"]),
        qe=[isv_level(8, advisories=["INTEL-SA-00002"])],
        modules=[module("TDX_01", isv_level(6, advisories=["INTEL-DOC-00003"]))],
        accepted={TcbStatus.UP_TO_DATE: frozenset({"INTEL-SA-00001", "INTEL-SA-00002", "INTEL-DOC-00003"})},
    )
    assert claims.advisory_ids == ("INTEL-DOC-00003", "INTEL-SA-00001", "INTEL-SA-00002")


BEFORE, AFTER = svn(4, 1, 3), svn(6, 1, 3)


@pytest.mark.parametrize(
    ("platform", "loaded", "qe", "status"),
    [
        ("UpToDate", AFTER, "UpToDate", "TDRelaunchAdvised"),
        ("SWHardeningNeeded", AFTER, "UpToDate", "TDRelaunchAdvised"),
        ("ConfigurationNeeded", AFTER, "UpToDate", "TDRelaunchAdvisedConfigurationNeeded"),
        ("UpToDate", BEFORE, "UpToDate", "OutOfDate"),
        ("UpToDate", svn(6, 1, 2), "UpToDate", "OutOfDate"),
        ("UpToDate", AFTER, "OutOfDate", "OutOfDate"),
        ("UpToDate", AFTER, "Revoked", "Revoked"),
        ("OutOfDate", AFTER, "UpToDate", "OutOfDate"),
        ("UpToDate", svn(5, 0, 3), "UpToDate", "TDRelaunchAdvised"),
        ("UpToDate", svn(4, 0, 3), "UpToDate", "OutOfDate"),
    ],
)
def test_a_td_from_before_an_update_of_its_module_should_start_again(
    platform: str, loaded: bytes, qe: str, status: str
) -> None:
    found = status_of(tcb_level(platform), qe=[isv_level(8, qe)], tee_tcb_svn=BEFORE, tee_tcb_svn_2=loaded)
    assert found == status


def test_starting_again_is_not_advised_for_a_module_that_is_current_or_unknown() -> None:
    assert status_of(tcb_level(), tee_tcb_svn=AFTER, tee_tcb_svn_2=AFTER) == "UpToDate"
    assert status_of(tcb_level(), tee_tcb_svn=BEFORE) == "OutOfDate"
    with pytest.raises(ModuleIdentityError):
        judged(tcb_level(), tee_tcb_svn=BEFORE, tee_tcb_svn_2=svn(6, 3, 3))


@pytest.mark.parametrize("status", ["UpToDate", "SWHardeningNeeded", "OutOfDate", "Revoked"])
def test_sgx_is_judged_by_platform_and_quoting_enclave_alone(status: str) -> None:
    info = tcb_info("SGX", tcbLevels=[tcb_level(status, tdx=None)])
    collateral = intel().collateral(info, qe_identity("QE"))
    evidence = intel().sgx_evidence(intel().quote(enclave_report()), collateral)
    policy = intel().sgx()
    if status == "UpToDate":
        assert verify(evidence, policy=policy, now=NOW).tcb_status == status
        return
    with pytest.raises(TcbStatusError, match=status):
        verify(evidence, policy=policy, now=NOW)
