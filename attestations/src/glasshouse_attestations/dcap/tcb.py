"""Intel's judgement of one platform: which level it is on, and how the parts' statuses combine.

Source: Intel PCS API v4, "Get TCB Info" and "Get TDX TCB Info", on comparing TCB levels; Intel SGX DCAP
Quote Verification, 4.1.2.4.17, on combining them and on ``TEE_TCB_SVN2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ModuleIdentityError, TcbStatusError
from .identities import EnclaveIdentity, IsvLevel, TcbInfo, TcbLevel, TcbStatus
from .pck import PckExtensions
from .quote import TdReport

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The status of the platform, quoting enclave and TDX module together, and all their advisories."""

    status: TcbStatus
    advisory_ids: tuple[str, ...]


def judge(
    *,
    tcb_info: TcbInfo,
    pck: PckExtensions,
    qe_identity: EnclaveIdentity,
    qe_isv_svn: int,
    td: TdReport | None,
) -> Judgement:
    """Return Intel's judgement of a platform, with the TD's report if it is a TDX quote.

    The versions of the platform are those that Intel certified (in the PCK certificate), never those that
    a quote states. Raises :class:`TcbStatusError` if there is no level for it, which is no judgement, and
    :class:`ModuleIdentityError` if its TDX module is none that Intel states.
    """
    platform = _first_platform_level(tcb_info.levels, pck, td.tee_tcb_svn if td else None)
    qe = _first_isv_level(qe_identity.levels, qe_isv_svn, "quoting enclave")
    module = _module_level(tcb_info, td.tee_tcb_svn) if td else None
    status = platform.status
    if module is not None:
        status = _combine(status, module.status)
    if td is not None and module is not None and td.tee_tcb_svn_2 is not None:
        status = _advise_relaunch(tcb_info, pck, td.tee_tcb_svn_2, status, module.status, qe.status)
    levels = (platform, qe) if module is None else (platform, qe, module)
    return Judgement(
        status=_combine(status, qe.status),
        advisory_ids=tuple(sorted({advisory for level in levels for advisory in level.advisory_ids})),
    )


def _first_platform_level(
    levels: Sequence[TcbLevel], pck: PckExtensions, tee_tcb_svn: bytes | None
) -> TcbLevel:
    for level in levels:
        certified = _reaches(pck.components, level.sgx_components) and pck.pce_svn >= level.pce_svn
        if certified and (tee_tcb_svn is None or _reaches_tdx(tee_tcb_svn, level)):
            return level
    raise TcbStatusError("the platform is below every TCB level that Intel states")


def _reaches(svns: Sequence[int], level: Sequence[int]) -> bool:
    return all(svn >= minimum for svn, minimum in zip(svns, level, strict=True))


def _reaches_tdx(tee_tcb_svn: bytes, level: TcbLevel) -> bool:
    if level.tdx_components is None:
        return False
    # A module of version 1 or more is judged by its own identity, so its two bytes are left out here.
    start = 2 if tee_tcb_svn[1] > 0 else 0
    return _reaches(tee_tcb_svn[start:], level.tdx_components[start:])


def _first_isv_level(levels: Sequence[IsvLevel], isv_svn: int, name: str) -> IsvLevel:
    for level in levels:
        if isv_svn >= level.isv_svn:
            return level
    raise TcbStatusError(f"the {name} is below every TCB level that Intel states")


def _module_level(tcb_info: TcbInfo, tee_tcb_svn: bytes) -> IsvLevel | None:
    version = tee_tcb_svn[1]
    if version == 0:
        return None
    identity = tcb_info.module(version)
    if identity is None:
        raise ModuleIdentityError(f"Intel states no identity of TDX modules of version {version}")
    return _first_isv_level(identity.levels, tee_tcb_svn[0], "TDX module")


_NEEDS_CONFIGURATION = frozenset(
    {
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
        TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    }
)
_CURRENT = frozenset(
    {
        TcbStatus.UP_TO_DATE,
        TcbStatus.SW_HARDENING_NEEDED,
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    }
)
_BEHIND = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})


def _combine(status: TcbStatus, part: TcbStatus) -> TcbStatus:
    """Return the platform's status, worsened by that of a part: an enclave or a module."""
    if part is TcbStatus.REVOKED:
        return TcbStatus.REVOKED
    if part is TcbStatus.OUT_OF_DATE and status in _CURRENT:
        if status in _NEEDS_CONFIGURATION:
            return TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
        return TcbStatus.OUT_OF_DATE
    return status


def _advise_relaunch(
    tcb_info: TcbInfo,
    pck: PckExtensions,
    loaded: bytes,
    status: TcbStatus,
    module: TcbStatus,
    qe: TcbStatus,
) -> TcbStatus:
    """Return the milder status of a TD that only has to start again, under the module now loaded.

    ``loaded`` is TEE_TCB_SVN2, the versions at the time of the quote; the TD was started before they were
    updated. All else must be current, and ``loaded`` must reach the newest level.
    """
    sgx = _first_platform_level(tcb_info.levels, pck, None)
    if qe is not TcbStatus.UP_TO_DATE or sgx.status not in _CURRENT:
        return status
    if status not in _BEHIND or module is not TcbStatus.OUT_OF_DATE:
        return status
    if not _reaches_newest(tcb_info, loaded):
        return status
    if sgx.status in _NEEDS_CONFIGURATION or status in _NEEDS_CONFIGURATION:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def _reaches_newest(tcb_info: TcbInfo, loaded: bytes) -> bool:
    newest = tcb_info.levels[0].tdx_components
    if newest is None:
        return False
    if loaded[1] == 0:
        return loaded[0] >= newest[0] and loaded[2] >= newest[2]
    identity = tcb_info.module(loaded[1])
    if identity is None:
        raise ModuleIdentityError(f"Intel states no identity of TDX modules of version {loaded[1]}")
    return loaded[0] >= identity.levels[0].isv_svn and loaded[2] >= newest[2]
