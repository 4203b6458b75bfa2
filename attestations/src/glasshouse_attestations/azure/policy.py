"""What a relying party asks of an Azure confidential machine: its hardware, its paravisor, its boot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .. import snp, tpm
from ..canonical_json import JSON
from ..dcap import TdxPolicy
from ..document import Document, parse_hex
from ..errors import MalformedError

__all__ = ["Policy"]

_MAX_ITEMS = 256
_UNIQUE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _default_quote_policy() -> tpm.Policy:
    return tpm.Policy(root_sha256=frozenset({tpm.AZURE_ROOT_SHA256}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What must hold of both layers.

    ``snp`` and ``tdx`` are the policies for the hardware below; a kind without a policy is refused. ``quote``
    is the policy for the vTPM's quote, and its roots are those of the key's certificate.
    ``paravisor_measurements`` are the launch measurements (SEV-SNP) or MRTDs (TDX) of the paravisors that are
    accepted, if there are any. Without them the certificate is what tells Microsoft's paravisor from a guest
    that plays one, so only with them ``require_ak_certificate`` may be off. ``secure_boot``,
    ``tpm_persisted`` and ``console_enabled`` are what the configuration must say, ``None`` for anything;
    ``unique_ids`` the machines that are accepted, if there are any.
    """

    snp: snp.Policy | None = None
    tdx: TdxPolicy | None = None
    quote: tpm.Policy = field(default_factory=_default_quote_policy)
    require_ak_certificate: bool = True
    paravisor_measurements: frozenset[bytes] = frozenset()
    secure_boot: bool | None = True
    tpm_persisted: bool | None = None
    console_enabled: bool | None = None
    unique_ids: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.snp is None and self.tdx is None:
            raise ValueError("an azure policy accepts SEV-SNP, TDX or both")
        if not (self.require_ak_certificate or self.paravisor_measurements):
            raise ValueError("an azure policy asks for the key's certificate or names paravisors, or both")
        if any(len(measurement) != 48 for measurement in self.paravisor_measurements):
            raise ValueError("a paravisor's measurement has 48 bytes")
        if not all(_UNIQUE_ID.fullmatch(unique_id) for unique_id in self.unique_ids):
            raise ValueError("a machine's unique id is a UUID in lower case")

    @classmethod
    def parse(cls, document: Document) -> Policy:
        """Return the policy of a ``[platforms.azure]`` table.

        ``[platforms.azure.snp]``, ``.tdx`` and ``.quote`` are written as the policies of those platforms are.
        The settings of the machine are ``true``, ``false`` or ``"any"``. Only one of ``snp`` and ``tdx`` must
        be there.
        """
        try:
            policy = cls(
                snp=snp.Policy.parse(document.document("snp")) if document.has("snp") else None,
                tdx=TdxPolicy.parse(document.document("tdx")) if document.has("tdx") else None,
                quote=_parse_quote_policy(document),
                require_ak_certificate=_parse_setting(document, "require_ak_certificate", True) is True,
                paravisor_measurements=_parse_measurements(document),
                secure_boot=_parse_setting(document, "secure_boot", True),
                tpm_persisted=_parse_setting(document, "tpm_persisted", None),
                console_enabled=_parse_setting(document, "console_enabled", None),
                unique_ids=_parse_unique_ids(document),
            )
        except ValueError as err:
            raise MalformedError(str(err)) from err
        document.end()
        return policy


def _parse_quote_policy(document: Document) -> tpm.Policy:
    if not document.has("quote"):
        return _default_quote_policy()
    return tpm.Policy.parse(document.document("quote"))


def _parse_setting(document: Document, name: str, default: bool | None) -> bool | None:
    if not document.has(name):
        return default
    value = document.value(name)
    if value == "any":
        return None
    if not isinstance(value, bool):
        raise MalformedError(f'{name} is not true, false or "any"')
    return value


def _parse_measurements(document: Document) -> frozenset[bytes]:
    name = "paravisor_measurements"
    return frozenset(parse_hex(item, name, 48) for item in _optional_list(document, name))


def _parse_unique_ids(document: Document) -> frozenset[str]:
    values = _optional_list(document, "unique_ids")
    unique_ids = frozenset(value for value in values if isinstance(value, str))
    if len(unique_ids) != len(values):
        raise MalformedError("unique_ids has an entry that is no text or stands twice")
    return unique_ids


def _optional_list(document: Document, name: str) -> list[JSON]:
    return document.list(name, max_count=_MAX_ITEMS) if document.has(name) else []
