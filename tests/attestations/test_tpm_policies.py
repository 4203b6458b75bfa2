"""Policies of the tpm platform are read strictly, and cannot be written so that they ask nothing."""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations import tpm
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError
from support import tpm_quotes

ROOT = tpm.GOOGLE_ROOT_SHA256


def parse(**fields: JSON) -> tpm.Policy:
    table: dict[str, JSON] = {"root_sha256": [ROOT.hex()], **fields}
    return tpm.Policy.parse(Document(table, "platforms.tpm"))


def test_a_table_with_a_root_gives_the_strict_policy() -> None:
    policy = parse()
    assert policy == tpm.Policy(root_sha256=frozenset({ROOT}))
    assert policy.selection == frozenset({4, 8, 11, 12, 13})
    assert policy.zero == frozenset({8, 12, 13})
    assert policy.bank is tpm.HashAlgorithm.SHA256


FULL = tpm.Policy(
    root_sha256=frozenset({ROOT, tpm.AZURE_ROOT_SHA256}),
    bank=tpm.HashAlgorithm.SHA384,
    selection=frozenset({0, 4, 7, 12}),
    zero=frozenset({12}),
    google_projects=frozenset({"ours", "theirs"}),
    require_ak_public=True,
    require_event_log=True,
    unlogged_registers=frozenset({7}),
    require_safe_clock=True,
    maximum_clock_ms=3_600_000,
    maximum_reset_count=2,
    maximum_restart_count=0,
)


@pytest.mark.parametrize("policy", [FULL, tpm_quotes.policy()], ids=["full", "default"])
def test_a_policy_comes_back_as_it_was_written(policy: tpm.Policy) -> None:
    assert tpm.Policy.parse(Document(policy.to_json(), "platforms.tpm")) == policy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root_sha256": []}, "at least one root"),
        ({"root_sha256": ["00"]}, "32 bytes"),
        ({"bank": "sha1"}, "sha256, sha384 or sha512"),
        ({"selection": []}, "at least one"),
        ({"selection": [24]}, "0 to 23"),
        ({"selection": ["4"]}, "register numbers"),
        ({"selection": [True]}, "register numbers"),
        ({"selection": [4], "zero": [8]}, "one of the selection"),
        ({"google_projects": [1]}, "project names"),
        ({"require_safe_clock": 1}, "true or false"),
        ({"maximum_reset_count": -1}, "integer"),
        ({"debug": True}, "unknown field 'debug'"),
    ],
)
def test_a_malformed_policy_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse(**fields)


def test_a_policy_without_roots_is_refused() -> None:
    with pytest.raises(MalformedError, match="root_sha256 is missing"):
        tpm.Policy.parse(Document({}, "platforms.tpm"))
