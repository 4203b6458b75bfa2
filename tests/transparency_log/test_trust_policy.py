"""The tlog-policy text, and which cosignatures make up its quorum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.errors import MalformedTrustPolicyError
from glasshouse_log.note import KeyType, VerifierKey
from glasshouse_log.policy import TrustPolicy


def vkey(number: int, key_type: KeyType = KeyType.COSIGNATURE_V1) -> str:
    return VerifierKey(name=f"key.example/{number}", type=key_type, public_key=bytes([number]) * 32).encode()


LOG = vkey(100, KeyType.ED25519)
W1, W2, W3 = (f"witness w{number} {vkey(number)}" for number in (1, 2, 3))
GROUPS = f"""\
log {LOG}

witness X1 {vkey(1)}
witness X2 {vkey(2)}
witness X3 {vkey(3)}
group X-witnesses 2 X1 X2 X3

witness Y1 {vkey(4)}
witness Y2 {vkey(5)}
witness Y3 {vkey(6)}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def parse(*lines: str) -> TrustPolicy:
    return TrustPolicy.parse("".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("cosigned", "met"),
    [
        ("", False),
        ("X1 X2", False),
        ("X1 X2 X3", False),
        ("X1 Y1 Y2 Y3", False),
        ("Y1", False),
        ("X1 X2 Y1", True),
        ("X2 X3 Y3", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
    ],
)
def test_the_groups_of_the_specification(cosigned: str, met: bool) -> None:
    policy = TrustPolicy.parse(GROUPS.encode())
    assert (policy.quorum_time(dict.fromkeys(cosigned.split(), 7)) is not None) is met


def test_a_groups_time_is_the_kth_newest_of_its_members() -> None:
    policy = TrustPolicy.parse(GROUPS.encode())
    assert policy.quorum_time({"X1": 10, "X2": 20, "X3": 30, "Y1": 40, "Y2": 5}) == 20
    assert policy.quorum_time({"X1": 10, "X2": 20, "X3": 30, "Y2": 5}) == 5


def test_a_single_witness_is_a_quorum() -> None:
    policy = parse(W1, W2, "quorum w2")
    assert policy.quorum_time({"w1": 1}) is None
    assert policy.quorum_time({"w2": 1}) == 1


def test_spacing_comments_urls_and_order_are_free() -> None:
    text = (
        f"# a policy\n \t\n\twitness  w1\t{vkey(1)}  http://w1 \n  # more\nquorum w1\nlog {LOG} http://log\n"
    )
    policy = TrustPolicy.parse(text.encode())
    assert (policy.witnesses[0].url, policy.logs[0].url) == ("http://w1", "http://log")


def test_names_are_opaque_octets() -> None:
    lines = [b"witness K " + vkey(1).encode(), "witness \u212a ".encode() + vkey(2).encode()]
    policy = TrustPolicy.parse(b"\n".join([*lines, b"witness \xff " + vkey(3).encode(), b"quorum \xff\n"]))
    assert len({witness.name for witness in policy.witnesses}) == 3
    assert TrustPolicy.parse(policy.encode()) == policy


def test_thirty_two_of_each_are_supported() -> None:
    logs = [f"log {vkey(100 + number, KeyType.ED25519)}" for number in range(32)]
    witnesses = [f"witness w{number} {vkey(1 + number)}" for number in range(32)]
    groups = [f"group g{number} all w{number}" for number in range(32)]
    policy = parse(*logs, *witnesses, *groups, "quorum g31")
    assert policy.quorum_time({"w31": 3}) == 3


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (W1,),
        (W1, "quorum w1", "quorum w1"),
        (W1, "quorum none", "quorum w1"),
        (W1, "quorum w2"),
        ("quorum w1", W1),
        (W1, "quorum"),
        (W1, "quorum w1 w1"),
        ("quorum none", "unknown line"),
        ("quorum none", "Log " + LOG),
        ("quorum none", "log"),
        ("quorum none", f"log {LOG} url more"),
        ("quorum none", f"log {vkey(1)}"),
        ("quorum none", f"log {LOG}", f"log {LOG}"),
        ("quorum none", "log not-a-key"),
        ("quorum none", "witness w1"),
        ("quorum none", f"witness w1 {LOG}"),
        ("quorum none", W1, W1),
        ("quorum none", W1, f"witness w2 {vkey(1)}"),
        ("quorum none", W1, f"witness w1 {vkey(2)}"),
        ("quorum none", f"witness none {vkey(1)}"),
        ("quorum none", W1, "group none all w1"),
        ("quorum none", W1, "group w1 all w1"),
        ("quorum none", W1, "group g all"),
        ("quorum none", W1, "group g w1"),
        ("quorum none", W1, "group g 0 w1"),
        ("quorum none", W1, "group g 2 w1"),
        ("quorum none", W1, "group g 01 w1"),
        ("quorum none", W1, "group g +1 w1"),
        ("quorum none", W1, "group g most w1"),
        ("quorum none", W1, "group g all none"),
        ("quorum none", W1, "group g all w2"),
        ("quorum none", W1, "group g all g"),
        ("quorum none", W1, "group g 2 w1 w1"),
        ("quorum none", W1, W2, "group g all w1", "group h all w1 w2"),
        (f"log {vkey(9, KeyType.ED25519)}", f"witness w {vkey(9)}", "quorum w"),
        ("quorum none", "# \x00"),
        ("quorum none", "# \r"),
        ("quorum none", "# \x7f"),
        ("quorum none", "#" * 300_000),
    ],
)
def test_what_is_no_policy_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(MalformedTrustPolicyError):
        parse(*lines)


def test_a_cut_off_policy_is_refused() -> None:
    with pytest.raises(MalformedTrustPolicyError, match="newline"):
        TrustPolicy.parse(b"quorum none")


def test_an_error_names_its_line() -> None:
    with pytest.raises(MalformedTrustPolicyError, match=r"^line 2: "):
        parse(W1, "nonsense", "quorum w1")


def test_one_key_under_another_name_is_still_one_witness() -> None:
    again = VerifierKey(name="another.example", type=KeyType.COSIGNATURE_V1, public_key=bytes([1]) * 32)
    with pytest.raises(MalformedTrustPolicyError, match="listed twice"):
        parse(W1, f"witness w2 {again.encode()}", "quorum w1")


@given(st.dictionaries(st.sampled_from(["X1", "X2", "X3", "Y1", "Y2", "Y3"]), st.integers(1, 50)))
def test_at_the_quorums_time_there_was_a_quorum_and_later_there_was_none(cosigned: dict[str, int]) -> None:
    policy = TrustPolicy.parse(GROUPS.encode())
    time = policy.quorum_time(cosigned)
    if time is None:
        return
    assert policy.quorum_time({name: t for name, t in cosigned.items() if t >= time}) == time
    assert policy.quorum_time({name: t for name, t in cosigned.items() if t > time}) is None


def test_policies_come_back_as_they_were() -> None:
    for text in (GROUPS, f"log {LOG} http://log\n{W1} http://w1\nquorum w1\n", "quorum none\n"):
        policy = TrustPolicy.parse(text.encode())
        assert TrustPolicy.parse(policy.encode()) == policy
