"""What an operator's SEV-SNP machines must be like to be trusted; every default is the strict choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from types import MappingProxyType
from typing import TypeVar

from ..canonical_json import JSON
from ..document import Document, parse_hex
from ..errors import MalformedError
from .product import Processor, Product
from .report import Firmware, GuestFlag, PlatformFlag
from .tcb import Tcb

__all__ = ["ENTRYSIGN_MICROCODE", "Policy"]

_MAX_LIST = 4096
_FIRMWARE = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_ABI = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_NO_GUEST_FLAGS = GuestFlag(0)
_NO_PLATFORM_FLAGS = PlatformFlag(0)
_Flag = TypeVar("_Flag", bound=IntFlag)

# The first microcode whose loader cannot be made to accept a patch that AMD did not sign (CVE-2024-56161,
# AMD-SB-3019 and AMD-SB-7033), by processor; a TCB carries the last byte of the patch level.
ENTRYSIGN_MICROCODE: Mapping[Processor, int] = MappingProxyType(
    {
        Processor.parse("190100"): 0x7B,
        Processor.parse("190101"): 0xDB,
        Processor.parse("190102"): 0x44,
        Processor.parse("191101"): 0x54,
        Processor.parse("191102"): 0x4F,
        Processor.parse("19a001"): 0x17,
        Processor.parse("19a002"): 0x19,
        Processor.parse("1a0201"): 0x47,
        Processor.parse("1a1100"): 0x47,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What :func:`verify` holds a report against. Debugging and migration agents are refused by every policy.

    ``products``: those accepted. Milan is not among the defaults: the seed of its VCEKs can be extracted in
    software (arXiv 2605.12990), so whoever had the chip can sign anything, with any TCB. If it is added,
    reports signed by a VCEK of Milan are still refused unless ``allowed_chip_ids`` names the chip.

    ``allowed_chip_ids``: if not empty, the only chips accepted. ``denied_chip_ids``: never accepted, since
    no revocation list can name a chip. Either refuses a report whose chip identity is masked.
    ``vlek_providers``: the providers (the CSP_ID, such as ``CN=cc-us-east-2.amazonaws.com``) whose fleet-wide
    keys may sign; none by default.

    ``minimum_tcb``: per product, the floor of all four TCBs. ``minimum_microcode``: per processor, the floor
    of their microcode; a processor that is not in it is refused, unless it is empty, which turns the check
    off. ``minimum_firmware``: the floor of the current and the committed firmware. ``require_committed``:
    the current firmware must be committed, so that it cannot be rolled back.

    ``minimum_abi``: the least ABI that the guest's owner must have asked for. The flags of the guest's
    policy and of the platform that must, or must not, be set; unknown flags of the platform are refused but
    for ``allowed_unknown_platform_bits``. ``minimum_mitigations``: bits that both vectors of mitigations
    must have.

    ``vmpl``: the one privilege level accepted. ``host_data``, ``family_id``, ``image_id``: exact values.
    ``id_key_digests`` and ``author_key_digests``: the keys of the guest's owner that are accepted.

    ``require_revocation_list``: refuse evidence without one. ``root_sha256`` replaces the pinned roots for
    test keys; no policy in a file can set it.
    """

    products: frozenset[Product] = frozenset({Product.GENOA, Product.TURIN})
    allowed_chip_ids: frozenset[bytes] = frozenset()
    denied_chip_ids: frozenset[bytes] = frozenset()
    vlek_providers: frozenset[str] = frozenset()
    minimum_tcb: Mapping[Product, Tcb] = field(default_factory=dict)
    minimum_microcode: Mapping[Processor, int] = field(default_factory=lambda: ENTRYSIGN_MICROCODE)
    minimum_firmware: Firmware | None = None
    require_committed: bool = False
    minimum_abi: tuple[int, int] | None = None
    required_guest_flags: GuestFlag = _NO_GUEST_FLAGS
    forbidden_guest_flags: GuestFlag = _NO_GUEST_FLAGS
    required_platform_flags: PlatformFlag = PlatformFlag.ALIAS_CHECK_COMPLETE
    forbidden_platform_flags: PlatformFlag = _NO_PLATFORM_FLAGS
    allowed_unknown_platform_bits: int = 0
    minimum_mitigations: int | None = None
    minimum_guest_svn: int | None = None
    vmpl: int = 0
    host_data: bytes | None = None
    family_id: bytes | None = None
    image_id: bytes | None = None
    id_key_digests: frozenset[bytes] = frozenset()
    author_key_digests: frozenset[bytes] = frozenset()
    require_revocation_list: bool = True
    root_sha256: bytes | None = None

    @classmethod
    def parse(cls, document: Document) -> Policy:
        """Return the policy of a ``[platforms.snp]`` table: :meth:`to_json`, of which all may be left out."""
        given = {name: _FIELDS[name][0](document, name) for name in _FIELDS if document.has(name)}
        document.end()
        return cls(**given)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, JSON]:
        """Write the policy as :meth:`parse` reads it; a field that is unset is left out."""
        if self.root_sha256 is not None:
            raise ValueError("a policy with a test root is not for a file")
        values = {name: getattr(self, name) for name in _FIELDS}
        return {name: _FIELDS[name][1](value) for name, value in values.items() if value is not None}


def _boolean(document: Document, name: str) -> bool:
    value = document.value(name)
    if not isinstance(value, bool):
        raise MalformedError(f"{name} is not true or false")
    return value


def _identity(value: JSON) -> JSON:
    return value


def _integer(document: Document, name: str) -> int:
    return document.integer(name)


def _texts(document: Document, name: str) -> frozenset[str]:
    values = document.list(name, max_count=_MAX_LIST)
    texts = frozenset(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise MalformedError(f"{name} has an entry that is no text or stands twice")
    return texts


def _products(document: Document, name: str) -> frozenset[Product]:
    return frozenset(_product(text) for text in _texts(document, name))


def _product(text: str) -> Product:
    try:
        return Product(text)
    except ValueError:
        raise MalformedError("a product is not Milan, Genoa or Turin") from None


def _flags_reader(kind: type[_Flag]) -> Callable[[Document, str], _Flag]:
    def read(document: Document, name: str) -> _Flag:
        flags = kind(0)
        for text in _texts(document, name):
            if text not in kind.__members__:
                raise MalformedError(f"{name} has an unknown flag {text[:40]!r}")
            flags |= kind[text]
        return flags

    return read


def _flag_names(flags: IntFlag) -> JSON:
    return [flag.name for flag in type(flags) if flag in flags]


def _digests_reader(size: int) -> Callable[[Document, str], frozenset[bytes]]:
    def read(document: Document, name: str) -> frozenset[bytes]:
        return frozenset(parse_hex(text, name, size) for text in _texts(document, name))

    return read


def _digest_reader(size: int) -> Callable[[Document, str], bytes]:
    return lambda document, name: document.digest(name, size)


def _hexes(values: frozenset[bytes]) -> JSON:
    return sorted(value.hex() for value in values)  # type: ignore[return-value]


def _tcb_floors(document: Document, name: str) -> Mapping[Product, Tcb]:
    floors = document.document(name)
    found = {_product(text): _tcb(floors.document(text)) for text in floors.names()}
    return MappingProxyType(found)


def _tcb(document: Document) -> Tcb:
    names = document.names()
    known = {component for component, _ in Tcb().components()}
    values = {name: document.integer(name, maximum=0xFF) for name in names if name in known}
    document.end()
    return Tcb(**values)


def _tcb_floors_json(floors: Mapping[Product, Tcb]) -> JSON:
    return {product.value: dict(floor.components()) for product, floor in floors.items()}


def _microcode_floors(document: Document, name: str) -> Mapping[Processor, int]:
    floors = document.document(name)
    found = {Processor.parse(text): floors.integer(text, maximum=0xFF) for text in floors.names()}
    return MappingProxyType(found)


def _microcode_floors_json(floors: Mapping[Processor, int]) -> JSON:
    return {processor.encode(): floor for processor, floor in floors.items()}


def _firmware(document: Document, name: str) -> Firmware:
    match = _FIRMWARE.fullmatch(document.text(name, max_length=16))
    if match is None:
        raise MalformedError(f"{name} is not a version and build like 1.55.40")
    return Firmware(major=int(match[1]), minor=int(match[2]), build=int(match[3]))


def _abi(document: Document, name: str) -> tuple[int, int]:
    match = _ABI.fullmatch(document.text(name, max_length=16))
    if match is None:
        raise MalformedError(f"{name} is not a version like 1.51")
    return int(match[1]), int(match[2])


_Reader = Callable[[Document, str], object]
_Writer = Callable[..., JSON]

# How each field is read from, and written to, JSON.
_FIELDS: Mapping[str, tuple[_Reader, _Writer]] = {
    "products": (_products, lambda value: sorted(product.value for product in value)),
    "allowed_chip_ids": (_digests_reader(64), _hexes),
    "denied_chip_ids": (_digests_reader(64), _hexes),
    "vlek_providers": (_texts, sorted),
    "minimum_tcb": (_tcb_floors, _tcb_floors_json),
    "minimum_microcode": (_microcode_floors, _microcode_floors_json),
    "minimum_firmware": (_firmware, str),
    "require_committed": (_boolean, _identity),
    "minimum_abi": (_abi, lambda value: f"{value[0]}.{value[1]}"),
    "required_guest_flags": (_flags_reader(GuestFlag), _flag_names),
    "forbidden_guest_flags": (_flags_reader(GuestFlag), _flag_names),
    "required_platform_flags": (_flags_reader(PlatformFlag), _flag_names),
    "forbidden_platform_flags": (_flags_reader(PlatformFlag), _flag_names),
    "allowed_unknown_platform_bits": (_integer, _identity),
    "minimum_mitigations": (_integer, _identity),
    "minimum_guest_svn": (_integer, _identity),
    "vmpl": (lambda document, name: document.integer(name, maximum=3), _identity),
    "host_data": (_digest_reader(32), bytes.hex),
    "family_id": (_digest_reader(16), bytes.hex),
    "image_id": (_digest_reader(16), bytes.hex),
    "id_key_digests": (_digests_reader(48), _hexes),
    "author_key_digests": (_digests_reader(48), _hexes),
    "require_revocation_list": (_boolean, _identity),
}
