"""Bundles: statements with their proofs, in one document that is quick to read however large it is."""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations import canonical_json
from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE, Bundle, ConsistencyProof, LoggedStatement
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import MalformedError
from support.attestation_samples import BUNDLE, MAINTAINER, RELEASE

ENTRY: dict[str, JSON] = {"envelope": "e", "proof": "p"}
HASH = "A" * 43 + "="


def fields() -> dict[str, JSON]:
    value = canonical_json.parse(BUNDLE.encode(), max_size=MAX_BUNDLE_SIZE)
    assert isinstance(value, dict)
    return dict(value)


def consistency(*sizes: JSON) -> list[JSON]:
    return [{"size": size, "hashes": []} for size in sizes]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "glasshouse/bundle/v2"),
        ("schema", None),
        ("entries", []),
        ("entries", {}),
        ("entries", [None]),
        ("entries", [[]]),
        ("entries", [{}]),
        ("entries", [{"envelope": "e"}]),
        ("entries", [{"envelope": "", "proof": "p"}]),
        ("entries", [{"envelope": "e", "proof": ""}]),
        ("entries", [{"envelope": 1, "proof": "p"}]),
        ("entries", [{"envelope": {}, "proof": "p"}]),
        ("entries", [{"envelope": "e", "proof": ["p"]}]),
        ("entries", [{"envelope": "e" * 65_536, "proof": "p"}]),
        ("entries", [{"envelope": "é" * 32_768, "proof": "p"}]),
        ("entries", [{"envelope": "e", "proof": "é" * 32_768}]),
        ("entries", [{"envelope": "e", "proof": "p" * 65_536}]),
        ("entries", [{"envelope": "e", "proof": "p", "index": 1}]),
        ("entries", [ENTRY, ENTRY]),
        ("entries", [ENTRY, {"envelope": "e", "proof": "another"}]),
        ("entries", [{"envelope": str(number), "proof": "p"} for number in range(65)]),
        ("consistency", None),
        ("consistency", {}),
        ("consistency", consistency(0)),
        ("consistency", consistency(-1)),
        ("consistency", consistency(True)),
        ("consistency", consistency("1")),
        ("consistency", consistency(2, 1)),
        ("consistency", consistency(1, 1)),
        ("consistency", consistency(*range(1, 258))),
        ("consistency", [{"size": 1}]),
        ("consistency", [{"size": 1, "hashes": {}}]),
        ("consistency", [{"size": 1, "hashes": [None]}]),
        ("consistency", [{"size": 1, "hashes": [""]}]),
        ("consistency", [{"size": 1, "hashes": ["AAAA"]}]),
        ("consistency", [{"size": 1, "hashes": ["A" * 44]}]),
        ("consistency", [{"size": 1, "hashes": ["A" * 42 + "B="]}]),
        ("consistency", [{"size": 1, "hashes": [HASH] * 129}]),
        ("consistency", [{"size": 1, "hashes": [], "root": HASH}]),
        ("checkpoint", "x"),
    ],
)
def test_a_malformed_bundle_is_refused(name: str, value: JSON) -> None:
    with pytest.raises(MalformedError):
        Bundle.parse(canonical_json.encode(fields() | {name: value}))


def test_a_bundle_at_its_limits_is_allowed() -> None:
    bundle = Bundle(
        entries=tuple(LoggedStatement(envelope=b"%d" % number, proof=b"p") for number in range(64)),
        consistency=tuple(ConsistencyProof(size=size, hashes=(bytes(32),) * 128) for size in range(1, 257)),
    )
    assert Bundle.parse(bundle.encode()) == bundle
    for text in (b"e" * 65_535, "é".encode() * 32_767 + b"e"):
        largest = Bundle(entries=(LoggedStatement(envelope=text, proof=text),))
        assert Bundle.parse(largest.encode()) == largest


def test_the_bytes_of_an_envelope_come_back_as_they_were_logged() -> None:
    envelope = RELEASE.to_statement().sign(MAINTAINER).encode()
    assert Bundle.parse(BUNDLE.encode()).entries[0].envelope == envelope


def test_bytes_that_are_no_text_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        Bundle(entries=(LoggedStatement(envelope=b"\xff", proof=b"p"),)).encode()


def largest_bundle() -> bytes:
    """A bundle as large as one may be: many large envelopes, and every consistency proof."""
    proofs: Any = tuple(ConsistencyProof(size=size, hashes=(bytes(32),) * 30) for size in range(1, 257))
    proof = b"c2sp.org/tlog-proof@v1\n" + b"A" * 1000
    quoted = '{"payload":"' + "A" * 62_000 + '"}'
    entries = [LoggedStatement(envelope=f"{number}{quoted}".encode(), proof=proof) for number in range(64)]
    while True:
        try:
            return Bundle(entries=tuple(entries), consistency=proofs).encode()
        except ValueError:
            entries.pop()


def test_a_bundle_over_its_whole_size_is_refused() -> None:
    entries = tuple(LoggedStatement(envelope=b"%d" % n + b"e" * 65_000, proof=b"p") for n in range(64))
    with pytest.raises(MalformedError, match="at most 4194304"):
        Bundle.parse(b" " * (MAX_BUNDLE_SIZE + 1))
    with pytest.raises(ValueError, match="at most 4194304"):
        Bundle(entries=entries, consistency=(ConsistencyProof(size=1, hashes=(bytes(32),) * 1000),)).encode()


def test_the_largest_bundle_is_read() -> None:
    document = largest_bundle()
    assert len(document) > MAX_BUNDLE_SIZE - 70_000
    assert Bundle.parse(document).encode() == document
