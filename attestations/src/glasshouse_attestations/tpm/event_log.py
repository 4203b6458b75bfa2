"""Event logs of measured boot, replayed against registers (TCG PC Client Platform Firmware Profile, 10).

A log comes from whoever sends the evidence. Only the digests in it are bound, by replay, to the quote. What
an event *says* is worth something only where hashing it gives its digest, and no digest covers its *type*: a
type whose digest is by definition the hash of the event's data is held to that, the others are the sender's
word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import EventLogError, MalformedError
from .structures import HashAlgorithm

__all__ = ["Event", "parse", "replay", "verified_events"]

_MAX_LOG = 256 << 10
_MAX_EVENTS = 4096
_MAX_ALGORITHMS = 8
_REGISTER_COUNT = 24
_NO_ACTION = 0x00000003  # EV_NO_ACTION: information that extends nothing (10.4.1)
_SPEC_ID = b"Spec ID Event03\0"  # TCG_EfiSpecIDEvent (10.4.5.1)
_STARTUP_LOCALITY = b"StartupLocality\0"  # TCG_EfiStartupLocalityEvent (10.4.5.3)
_LOCALITIES = (0, 3, 4)
_SHA1_SIZE = 20
_DYNAMIC_REGISTERS = range(17, 23)  # they start with ones in every bit (PC Client Platform TPM Profile, 4.6)

# Types whose digest is by definition the hash of the event's own data (10.4.1 and 10.4.2).
_HASHED_TYPES = frozenset(
    {
        0x00000004,  # EV_SEPARATOR
        0x00000005,  # EV_ACTION
        0x00000008,  # EV_S_CRTM_VERSION
        0x80000001,  # EV_EFI_VARIABLE_DRIVER_CONFIG
        0x80000006,  # EV_EFI_GPT_EVENT
        0x80000007,  # EV_EFI_ACTION
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """TCG_PCR_EVENT2 in one bank (10.2.2).

    ``data`` and ``event_type`` are what the log says; ``content`` is ``data`` if its hash is the digest, and
    ``None`` if not: then nothing binds the data.
    """

    register: int
    event_type: int
    digest: bytes
    data: bytes
    content: bytes | None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0

    def take(self, size: int) -> bytes:
        end = self._offset + size
        if end > len(self._data):
            raise MalformedError("the event log is truncated")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def at_end(self) -> bool:
        return self._offset == len(self._data)


def parse(log: bytes, *, bank: HashAlgorithm) -> tuple[Event, ...]:
    """Return the events of a crypto-agile log as they stand in ``bank``, in order, to the log's last byte.

    The header event is not among them. A log of the older form, which has SHA-1 digests only, is refused, and
    so is one that says of an event what its digest disproves.
    """
    if len(log) > _MAX_LOG:
        raise MalformedError(f"the event log has more than {_MAX_LOG} bytes")
    reader = _Reader(log)
    sizes = _read_header(reader)
    if sizes.get(bank.value) != bank.size:
        raise EventLogError(f"the event log has no digests of the {bank.label} bank")
    events: list[Event] = []
    while not reader.at_end():
        if len(events) == _MAX_EVENTS:
            raise MalformedError(f"the event log has more than {_MAX_EVENTS} events")
        events.append(_read_event(reader, sizes, bank))
    return tuple(events)


def _read_header(reader: _Reader) -> Mapping[int, int]:
    """Read TCG_PCR_EVENT with TCG_EfiSpecIDEvent, and return the digest sizes by TPM_ALG_ID (10.4.5.1)."""
    register, event_type = reader.integer(4), reader.integer(4)
    digest, event = reader.take(_SHA1_SIZE), _Reader(reader.take(reader.integer(4)))
    if (register, event_type, any(digest)) != (0, _NO_ACTION, False) or event.take(16) != _SPEC_ID:
        raise MalformedError("the event log does not begin with a Spec ID event: it is not crypto-agile")
    event.take(8)  # platform class, version, errata and width of a UINTN: nothing below depends on them
    count = event.integer(4)
    if not 0 < count <= _MAX_ALGORITHMS:
        raise MalformedError(f"the event log has 1 to {_MAX_ALGORITHMS} digest algorithms")
    sizes = {event.integer(2): event.integer(2) for _ in range(count)}
    event.take(event.integer(1))  # vendorInfo
    if len(sizes) != count or not event.at_end():
        raise MalformedError("the event log's Spec ID event is not as long as it says")
    return sizes


def _read_event(reader: _Reader, sizes: Mapping[int, int], bank: HashAlgorithm) -> Event:
    register, event_type, count = reader.integer(4), reader.integer(4), reader.integer(4)
    if register >= _REGISTER_COUNT:
        raise MalformedError("the event log has an event of no register from 0 to 23")
    if count != len(sizes):
        raise MalformedError("an event does not have one digest of each of the log's algorithms")
    digests = dict(_read_digest(reader, sizes) for _ in range(count))
    data = reader.take(reader.integer(4))
    if digests.keys() != sizes.keys():
        raise MalformedError("an event has two digests of one algorithm")
    digest = digests[bank.value]
    content = data if bank.digest(data) == digest else None
    if content is None and event_type in _HASHED_TYPES:
        raise EventLogError(
            f"an event of type {event_type:#010x} in register {register} says what its digest does not"
        )
    return Event(register=register, event_type=event_type, digest=digest, data=data, content=content)


def _read_digest(reader: _Reader, sizes: Mapping[int, int]) -> tuple[int, bytes]:
    algorithm = reader.integer(2)
    if algorithm not in sizes:
        raise MalformedError("an event has a digest of an algorithm that the log's header does not name")
    return algorithm, reader.take(sizes[algorithm])


def replay(events: tuple[Event, ...], *, bank: HashAlgorithm) -> Mapping[int, bytes]:
    """Return the values that the events leave in all 24 registers (Part 1, 17.2).

    Register 0 begins with the locality from which the TPM was started, if the log names it; 17 to 22 begin
    with ones and the others with zeros.
    """
    values = {index: _initial(index, bank) for index in range(_REGISTER_COUNT)}
    values[0] = bytes(bank.size - 1) + bytes([_startup_locality(events)])
    for event in events:
        if event.event_type != _NO_ACTION:
            values[event.register] = bank.digest(values[event.register] + event.digest)
    return values


def _initial(register: int, bank: HashAlgorithm) -> bytes:
    return (b"\xff" if register in _DYNAMIC_REGISTERS else b"\0") * bank.size


def _startup_locality(events: tuple[Event, ...]) -> int:
    found = [
        event
        for event in events
        if event.event_type == _NO_ACTION and event.data.startswith(_STARTUP_LOCALITY)
    ]
    if not found:
        return 0
    locality = found[0].data[len(_STARTUP_LOCALITY) :]
    if len(found) > 1 or found[0].register != 0 or len(locality) != 1 or locality[0] not in _LOCALITIES:
        raise EventLogError("the event log does not name one startup locality of 0, 3 or 4")
    return locality[0]


def verified_events(
    log: bytes,
    values: Mapping[int, bytes],
    *,
    bank: HashAlgorithm,
    unlogged: frozenset[int] = frozenset(),
) -> tuple[Event, ...]:
    """Return the events behind the quoted ``values``: replaying them gives exactly these.

    Events of registers that were not quoted are left out, since nothing binds them, and so are those of the
    ``unlogged`` and those that extend nothing. Raises :class:`EventLogError` if a register does not come out,
    also where it holds something of which the log says nothing.
    """
    events = parse(log, bank=bank)
    replayed = replay(events, bank=bank)
    bound = values.keys() - unlogged
    for register in sorted(bound):
        if replayed[register] != values[register]:
            raise EventLogError(f"the event log does not replay to register {register}")
    return tuple(event for event in events if event.register in bound and event.event_type != _NO_ACTION)
