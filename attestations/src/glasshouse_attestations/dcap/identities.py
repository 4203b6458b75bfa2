"""TCB info and enclave identities: the two documents in which Intel judges its firmware and its enclaves.

Source: Intel PCS API v4, "Get TCB Info" (``TcbInfoV3``) and "Get Quoting Enclave Identity"
(``EnclaveIdentityV2``). Unknown fields are refused: a field that Intel adds may change what the others
mean, as ``tdxModuleIdentities`` once did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeVar

from ..document import Document, parse_hex
from ..errors import CollateralError, MalformedError
from . import vendor_json

__all__ = ["EnclaveIdentity", "IsvLevel", "ModuleIdentity", "TcbInfo", "TcbLevel", "TcbStatus"]

_MAX_SIZE = 64 << 10
_MAX_LEVELS = 64
_MAX_ADVISORIES = 64
_MAX_MODULES = 16
_COMPONENTS = 16
_ADVISORY = re.compile(r"INTEL-(?:SA|DOC)-[0-9]{5}", re.ASCII)
_MODULE_ID = re.compile(r"TDX_[0-9A-Fa-f]{2}", re.ASCII)


class TcbStatus(Enum):
    """What Intel says of a firmware level; the last two follow from a quote, and stand in no document."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"


_PLATFORM_STATUSES = frozenset(TcbStatus) - {
    TcbStatus.TD_RELAUNCH_ADVISED,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
}
_ISV_STATUSES = frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class IsvLevel:
    """What Intel says of an enclave or module from version ``isv_svn`` on."""

    isv_svn: int
    status: TcbStatus
    advisory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbLevel:
    """What Intel says of a platform whose components all have at least these versions.

    ``tdx_components`` is ``None`` in TCB info for SGX.
    """

    sgx_components: tuple[int, ...]
    pce_svn: int
    tdx_components: tuple[int, ...] | None
    status: TcbStatus
    advisory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleIdentity:
    """The signer and attributes of a TDX module; ``levels`` is empty for the module of version 0."""

    mr_signer: bytes
    attributes: int
    attributes_mask: int
    levels: tuple[IsvLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """Intel's judgement of one family of processors, for SGX or for TDX.

    ``modules`` maps the module version in ``TEE_TCB_SVN[1]`` to its identity, with ``tdxModule`` as 0.
    """

    tee: str
    issued: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    evaluation_number: int
    modules: tuple[tuple[int, ModuleIdentity], ...]
    levels: tuple[TcbLevel, ...]

    @classmethod
    def parse(cls, data: bytes) -> TcbInfo:
        """Return the TCB info in ``data``, which is of version 3.

        Raises :class:`CollateralError` for another version: version 2 doesn't say for what it is meant,
        SGX or TDX. Raises :class:`MalformedError` for anything else than what the source describes.
        """
        document = _open(data, "tcbInfo", version=3)
        tee = document.text("id", max_length=8)
        if tee not in {"SGX", "TDX"}:
            raise CollateralError(f"the TCB info is for {tee}, neither SGX nor TDX")
        document.constant("tcbType", 0)
        info = cls(
            tee=tee,
            issued=document.time("issueDate"),
            next_update=document.time("nextUpdate"),
            fmspc=_hex(document, "fmspc", 6),
            pce_id=_hex(document, "pceId", 2),
            evaluation_number=document.integer("tcbEvaluationDataNumber", maximum=0xFFFF),
            modules=tuple(_parse_modules(document)) if tee == "TDX" else (),
            levels=_levels(document, lambda level: _parse_tcb_level(level, tdx=tee == "TDX")),
        )
        document.end()
        return info

    def module(self, version: int) -> ModuleIdentity | None:
        """Return the identity of TDX modules of ``version``, if Intel states one."""
        return dict(self.modules).get(version)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveIdentity:
    """Which enclave may quote: Intel's signer, its product number, attributes under a mask, and levels."""

    id: str
    issued: datetime
    next_update: datetime
    evaluation_number: int
    misc_select: int
    misc_select_mask: int
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[IsvLevel, ...]

    @classmethod
    def parse(cls, data: bytes) -> EnclaveIdentity:
        """Return the identity in ``data``, which is of version 2; errors as :meth:`TcbInfo.parse`."""
        document = _open(data, "enclaveIdentity", version=2)
        identity = cls(
            id=document.text("id", max_length=8),
            issued=document.time("issueDate"),
            next_update=document.time("nextUpdate"),
            evaluation_number=document.integer("tcbEvaluationDataNumber", maximum=0xFFFF),
            # Numbers in hexadecimal, most significant byte first, unlike the bytes of the attributes.
            misc_select=int.from_bytes(_hex(document, "miscselect", 4), "big"),
            misc_select_mask=int.from_bytes(_hex(document, "miscselectMask", 4), "big"),
            attributes=_hex(document, "attributes", 16),
            attributes_mask=_hex(document, "attributesMask", 16),
            mr_signer=_hex(document, "mrsigner", 32),
            isv_prod_id=document.integer("isvprodid", maximum=0xFFFF),
            levels=_levels(document, _parse_isv_level),
        )
        document.end()
        return identity


def _open(data: bytes, name: str, *, version: int) -> Document:
    document = Document(vendor_json.parse(data, name=name, max_size=_MAX_SIZE), name)
    found = document.integer("version", maximum=0xFFFF)
    if found != version:
        raise CollateralError(f"{name} is of version {found}, only version {version} is accepted")
    return document


def _hex(document: Document, name: str, size: int) -> bytes:
    value = document.value(name)
    # Intel writes upper case, its own tools' output lower case; the signature fixes which.
    return parse_hex(value.lower() if isinstance(value, str) else value, name, size)


_Level = TypeVar("_Level", TcbLevel, IsvLevel)


def _levels(document: Document, parse: Callable[[Document], _Level]) -> tuple[_Level, ...]:
    levels = tuple(parse(level) for level in document.documents("tcbLevels", max_count=_MAX_LEVELS))
    if not levels:
        raise MalformedError("tcbLevels is empty")
    return levels


def _parse_tcb_level(document: Document, *, tdx: bool) -> TcbLevel:
    tcb = document.document("tcb")
    level = TcbLevel(
        sgx_components=_parse_components(tcb, "sgxtcbcomponents"),
        pce_svn=tcb.integer("pcesvn", maximum=0xFFFF),
        tdx_components=_parse_components(tcb, "tdxtcbcomponents") if tdx else None,
        status=_parse_status(document, _PLATFORM_STATUSES),
        advisory_ids=_parse_advisories(document),
    )
    tcb.end()
    document.end()
    return level


def _parse_components(document: Document, name: str) -> tuple[int, ...]:
    svns = tuple(map(_parse_component, document.documents(name, max_count=_COMPONENTS)))
    if len(svns) != _COMPONENTS:
        raise MalformedError(f"{name} has {len(svns)} components, not {_COMPONENTS}")
    return svns


def _parse_component(document: Document) -> int:
    svn = document.integer("svn", maximum=0xFF)
    for label in ("category", "type"):
        if document.has(label):
            document.text(label)
    document.end()
    return svn


def _parse_isv_level(document: Document) -> IsvLevel:
    tcb = document.document("tcb")
    level = IsvLevel(
        isv_svn=tcb.integer("isvsvn", maximum=0xFFFF),
        status=_parse_status(document, _ISV_STATUSES),
        advisory_ids=_parse_advisories(document),
    )
    tcb.end()
    document.end()
    return level


def _parse_status(document: Document, allowed: frozenset[TcbStatus]) -> TcbStatus:
    document.time("tcbDate")
    text = document.text("tcbStatus", max_length=64)
    for status in allowed:
        if status.value == text:
            return status
    raise MalformedError(f"the TCB status {text!r} is unknown here")


def _parse_advisories(document: Document) -> tuple[str, ...]:
    if not document.has("advisoryIDs"):
        return ()
    advisories = document.list("advisoryIDs", max_count=_MAX_ADVISORIES)
    known = tuple(one for one in advisories if isinstance(one, str) and _ADVISORY.fullmatch(one))
    if len(known) != len(advisories):
        raise MalformedError("advisoryIDs has an item that is not like INTEL-SA-00615")
    return known


def _parse_modules(document: Document) -> Iterator[tuple[int, ModuleIdentity]]:
    module = document.document("tdxModule")
    yield 0, _parse_module(module, levels=False)
    if not document.has("tdxModuleIdentities"):
        return
    seen = {0}
    for identity in document.documents("tdxModuleIdentities", max_count=_MAX_MODULES):
        name = identity.text("id", max_length=8)
        if not _MODULE_ID.fullmatch(name) or int(name[4:], 16) in seen:
            raise MalformedError("tdxModuleIdentities has an id twice, or one that is not like TDX_01")
        version = int(name[4:], 16)
        seen.add(version)
        yield version, _parse_module(identity, levels=True)


def _parse_module(document: Document, *, levels: bool) -> ModuleIdentity:
    identity = ModuleIdentity(
        mr_signer=_hex(document, "mrsigner", 48),
        attributes=int.from_bytes(_hex(document, "attributes", 8), "little"),
        attributes_mask=int.from_bytes(_hex(document, "attributesMask", 8), "little"),
        levels=_levels(document, _parse_isv_level) if levels else (),
    )
    document.end()
    return identity
