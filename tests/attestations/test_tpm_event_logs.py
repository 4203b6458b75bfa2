"""Event logs replay to the quoted registers, and what they say is believed only where it was hashed."""

from __future__ import annotations

import hashlib
import json

import pytest

from glasshouse_attestations.errors import EventLogError, GlasshouseError, MalformedError
from glasshouse_attestations.tpm import HashAlgorithm, event_log
from support.tpm_quotes import SHA1, extended, log_event, log_header
from support.tpm_quotes import event_log as write_log
from support.vectors import needs_vectors, vector

BANK = HashAlgorithm.SHA256
NO_ACTION, SEPARATOR, IPL, EFI_ACTION = 0x00000003, 0x00000004, 0x0000000D, 0x80000007
ZEROS = bytes(4)
ACTION = b"Calling EFI Application from Boot Option"
LOG = write_log([(4, EFI_ACTION, ACTION), (4, SEPARATOR, ZEROS), (11, IPL, b".linux\0")])
VALUES = {4: extended(ACTION, ZEROS), 8: bytes(32), 11: extended(b".linux\0")}
STARTUP = b"StartupLocality\0"


def verified(log: bytes, values: dict[int, bytes] | None = None) -> tuple[event_log.Event, ...]:
    return event_log.verified_events(log, VALUES if values is None else values, bank=BANK)


def test_the_events_behind_the_registers_are_given() -> None:
    events = verified(LOG)
    assert [(event.register, event.content) for event in events] == [
        (4, ACTION),
        (4, ZEROS),
        (11, b".linux\0"),
    ]


def test_a_log_that_lacks_an_event_is_refused() -> None:
    with pytest.raises(EventLogError, match="register 4"):
        verified(log_header() + log_event(4, EFI_ACTION, ACTION) + log_event(11, IPL, b".linux\0"))


def test_a_log_that_says_nothing_of_a_register_is_refused() -> None:
    with pytest.raises(EventLogError, match="register 11"):
        verified(write_log([(4, EFI_ACTION, ACTION), (4, SEPARATOR, ZEROS)]))


def test_an_extra_event_is_refused() -> None:
    with pytest.raises(EventLogError, match="register 8"):
        verified(LOG + log_event(8, IPL, b"debug"))


def test_events_in_another_order_are_refused() -> None:
    with pytest.raises(EventLogError, match="register 4"):
        verified(write_log([(4, SEPARATOR, ZEROS), (4, EFI_ACTION, ACTION), (11, IPL, b".linux\0")]))


def test_an_event_that_says_something_else_than_was_measured_is_not_believed() -> None:
    relabelled = log_header() + log_event(11, IPL, b"harmless", measured=b".linux\0")
    events = verified(relabelled, {11: VALUES[11]})
    assert [event.content for event in events] == [None]


def test_an_event_whose_type_promises_its_own_hash_is_held_to_it() -> None:
    relabelled = log_header() + log_event(4, EFI_ACTION, b"harmless", measured=ACTION)
    with pytest.raises(EventLogError, match="says what its digest does not"):
        verified(relabelled, {4: extended(ACTION)})


def test_an_event_relabelled_as_no_action_is_refused() -> None:
    relabelled = write_log([(4, EFI_ACTION, ACTION), (4, NO_ACTION, ZEROS), (11, IPL, b".linux\0")])
    with pytest.raises(EventLogError, match="register 4"):
        verified(relabelled)


def test_events_of_registers_that_were_not_quoted_are_left_out() -> None:
    log = LOG + log_event(5, IPL, b"anything")
    assert {event.register for event in verified(log)} == {4, 11}


def test_registers_that_others_extend_can_be_left_out_by_name() -> None:
    values = {**VALUES, 10: hashlib.sha256(b"IMA").digest()}
    with pytest.raises(EventLogError, match="register 10"):
        verified(LOG, values)
    assert event_log.verified_events(LOG, values, bank=BANK, unlogged=frozenset({10})) == verified(LOG)


@pytest.mark.parametrize("locality", [0, 3, 4])
def test_register_0_begins_with_the_startup_locality(locality: int) -> None:
    log = write_log([(0, NO_ACTION, STARTUP + bytes([locality])), (0, SEPARATOR, ZEROS)])
    value = extended(ZEROS, initial=bytes(31) + bytes([locality]))
    assert len(verified(log, {0: value})) == 1
    with pytest.raises(EventLogError, match="register 0"):
        verified(log, {0: extended(ZEROS, initial=bytes(31) + bytes([locality ^ 1]))})


@pytest.mark.parametrize(
    "events",
    [
        [(0, NO_ACTION, STARTUP + b"\x05")],
        [(0, NO_ACTION, STARTUP)],
        [(1, NO_ACTION, STARTUP + b"\x03")],
        [(0, NO_ACTION, STARTUP + b"\x03"), (0, NO_ACTION, STARTUP + b"\x03")],
    ],
    ids=["of none", "missing", "in another register", "twice"],
)
def test_a_malformed_startup_locality_is_refused(events: list[tuple[int, int, bytes]]) -> None:
    with pytest.raises(EventLogError, match="startup locality"):
        verified(write_log(events), {})


def test_dynamic_registers_begin_with_ones() -> None:
    assert verified(log_header(), {17: b"\xff" * 32, 22: b"\xff" * 32, 16: bytes(32), 23: bytes(32)}) == ()


def test_a_log_without_the_quoted_bank_is_refused() -> None:
    with pytest.raises(EventLogError, match="sha384"):
        event_log.parse(LOG, bank=HashAlgorithm.SHA384)


MALFORMED = {
    "empty": (b"", "truncated"),
    "no spec id": (b"\0" * 4 + LOG[4:32] + b"Spec ID Event00\0" + LOG[48:], "crypto-agile"),
    "header of a register": (b"\1" + LOG[1:], "crypto-agile"),
    "truncated": (LOG[:-1], "truncated"),
    "trailing byte": (LOG + b"\0", "truncated"),
    "register 24": (LOG + log_event(24, IPL, b""), "register from 0 to 23"),
    "one digest": (LOG + bytes(8) + b"\1\0\0\0", "one digest of each"),
    "an unknown algorithm": (LOG + log_event(4, IPL, b"x").replace(b"\x0b\0", b"\x12\0", 1), "does not name"),
    "an endless event": (LOG + log_event(4, IPL, b"x")[:-5] + b"\xff\xff\xff\xffx", "truncated"),
    "too many": (log_header() + log_event(4, IPL, b"") * 4097, "256|4096|262144"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_log_is_refused(name: str) -> None:
    log, message = MALFORMED[name]
    with pytest.raises(MalformedError, match=message):
        event_log.parse(log, bank=BANK)


def test_an_event_with_two_digests_of_one_algorithm_is_refused() -> None:
    digest = SHA1.to_bytes(2, "little") + bytes(20)
    event = b"\4\0\0\0" + b"\x0d\0\0\0" + b"\2\0\0\0" + digest + digest + bytes(4)
    with pytest.raises(MalformedError, match="two digests"):
        event_log.parse(log_header() + event, bank=BANK)


def test_a_log_too_large_is_refused() -> None:
    with pytest.raises(MalformedError, match="more than"):
        event_log.parse(LOG + bytes(256 << 10), bank=BANK)


@needs_vectors
@pytest.mark.parametrize("boot", ["uki", "direct"])
def test_the_log_of_a_boot_replays_to_its_registers(boot: str) -> None:
    log = vector(f"normalized/measure/swtpm_{boot}_boot.eventlog.bin")
    captured = json.loads(vector(f"normalized/measure/swtpm_{boot}_boot.pcrs.json"))["pcrs_sha256"]
    values = {int(index): bytes.fromhex(value) for index, value in captured.items()}
    assert event_log.verified_events(log, values, bank=BANK, unlogged=frozenset({10}))
    with pytest.raises(EventLogError, match="register 10"):
        verified(log, values)


CLOUD_LOGS = {
    "dstack/tpm_eventlog": 45,
    "gotpmtools/eventlogs_arch-linux-workstation": 24,
    "gotpmtools/eventlogs_confidential-gke-debug-251000_eventlog": 54,
    "gotpmtools/eventlogs_cos-101-amd-sev": 48,
    "gotpmtools/eventlogs_eventlogwithsp800155": 53,
    "gotpmtools/eventlogs_rhel8-uefi": 82,
    "gotpmtools/eventlogs_ubuntu-2104-no-secure-boot": 105,
    "gotpmtools/eventlogs_ubuntu-2404-amd-sevsnp": 116,
}


@needs_vectors
@pytest.mark.parametrize("name", CLOUD_LOGS)
def test_logs_of_clouds_and_workstations_parse_and_replay_to_what_they_say(name: str) -> None:
    events = event_log.parse(vector(f"tpm/{name}.bin"), bank=BANK)
    assert len(events) == CLOUD_LOGS[name]
    values = dict(event_log.replay(events, bank=BANK))
    assert event_log.verified_events(vector(f"tpm/{name}.bin"), values, bank=BANK)


@needs_vectors
def test_a_log_of_the_older_form_is_refused() -> None:
    """It has SHA-1 digests only."""
    with pytest.raises(MalformedError, match="crypto-agile"):
        event_log.parse(vector("tpm/gotpmtools/eventlogs_debian-10.bin"), bank=BANK)


@needs_vectors
def test_no_changed_byte_of_a_captured_log_changes_what_is_believed() -> None:
    """What changes unseen is what nothing binds: types, digests of other banks, data that was not hashed."""
    log = vector("normalized/measure/swtpm_uki_boot.eventlog.bin")
    captured = json.loads(vector("normalized/measure/swtpm_uki_boot.pcrs.json"))["pcrs_sha256"]
    values = {int(index): bytes.fromhex(value) for index, value in captured.items() if index != "10"}
    believed = [(event.register, event.digest, event.content) for event in verified(log, values)]
    for offset in range(len(log)):
        changed = log[:offset] + bytes([log[offset] ^ 1 << offset % 8]) + log[offset + 1 :]
        try:
            events = verified(changed, values)
        except GlasshouseError:
            continue
        for event, (register, digest, content) in zip(events, believed, strict=True):
            assert (event.register, event.digest) == (register, digest), offset
            assert event.content in (content, None), offset
