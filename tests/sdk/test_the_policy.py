"""trust.toml: strict, and production is a type of its own."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse import DevelopmentPolicy, ProductionPolicy, errors, load_policy, parse_policy
from glasshouse_attestations.keys import SigningKey
from support.chain import SOURCE, Chain
from support.repository import ROOT

CHAIN = Chain()
TEXT = CHAIN.policy_text()
TPM = f'[platforms.tpm]\nroot_sha256 = ["{"ab" * 32}"]\n'


def test_a_development_policy_has_launchers() -> None:
    policy = parse_policy(TEXT.encode())
    assert isinstance(policy, DevelopmentPolicy)
    assert policy.launcher_keys == (CHAIN.launcher.public_key,)
    assert policy.trust.source == SOURCE
    assert policy.trust.log.max_checkpoint_age == timedelta(days=1)
    assert [each.name for each in policy.trust.auditors.organisations] == list(CHAIN.auditors)


def test_a_production_policy_is_another_type_and_refuses_a_simulated_platform() -> None:
    assert isinstance(CHAIN.policy(kind="production", platforms=TPM), ProductionPolicy)
    with pytest.raises(errors.PolicyError, match="unknown field 'simulated'"):
        CHAIN.policy(kind="production")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "production", "platforms": TPM, "required": 0}, "at least one auditor"),
        ({"kind": "production", "platforms": TPM, "quorum": "none", "age": None}, "quorum of witnesses"),
        ({"kind": "Development"}, "kind"),
        ({"required": 4}, "required"),
        ({"required": -1}, "required"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 2}, "threshold"),
        ({"quorum": "none"}, "max_checkpoint_age cannot be held"),
        ({"quorum": "three"}, "not defined"),
        ({"age": None}, "max_checkpoint_age is missing"),
        ({"age": "0s"}, "zero"),
        ({"age": "1 day"}, "duration"),
        ({"age": "-1h"}, "duration"),
        ({"age": "1.5h"}, "duration"),
        ({"age": "024h"}, "duration"),
        ({"source": ""}, "source"),
        ({"platforms": "[platforms]\n"}, "no platform"),
        ({"platforms": "[platforms.sev]\n"}, "unknown field"),
        ({"platforms": "[platforms.snp]\nminimum_tbc = 3\n"}, "unknown field"),
        ({"platforms": "[platforms.simulated]\nlauncher_keys = []\n"}, "launcher_keys"),
        ({"extra": "[other]\n"}, "unknown field 'other'"),
        ({"extra": "[configuration]\nmax_tokens = 1\n"}, "unknown field"),
        ({"extra": "[configuration]\nmax_models = -1\n"}, "max_models"),
        ({"extra": "[configuration]\nmax_models = true\n"}, "max_models"),
    ],
)
def test_what_a_policy_may_not_say_is_refused_with_the_field(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(errors.PolicyError, match=told):
        CHAIN.policy(**changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", 'version = "1"'),
        ("version = 1", "version = true"),
        ("version = 1\n", ""),
        ("version = 1", "version = 1\nversion = 1"),
        ("[maintainers]", "[maintainers]\nextra = 1"),
        ("[auditors]", "[auditors]\nextra = 1"),
        ("[log]", "[log]\nminimum_age = '1h'"),
        ("quorum two", ""),
        ("log log.example/one", "log log.example/two"),
        ('keys = ["', 'keys = ["AAAA'),
        ('keys = ["', 'keys = [1, "'),
        ("[log]", "[logs]"),
        ("2", "2.0"),
    ],
)
def test_a_policy_with_one_thing_wrong_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(errors.PolicyError):
        parse_policy(TEXT.replace(old, new, 1).encode())


def test_one_key_cannot_be_two_parties() -> None:
    shared = SigningKey.generate()
    for chain in (
        Chain(auditors={"a": (shared,), "b": (shared,)}),
        Chain(auditors={"a": (shared, shared), "b": (SigningKey.generate(),)}),
        Chain(maintainers=(shared,), auditors={"a": (shared,), "b": (SigningKey.generate(),)}),
    ):
        with pytest.raises(errors.PolicyError, match="one key twice"):
            chain.policy()


def test_every_line_of_a_policy_is_needed() -> None:
    lines = TEXT.splitlines(keepends=True)
    # Without these the policy says something else, but is still one; tests above cover what they mean.
    optional = ("witness ", "[[auditors.organisations]]", "name = ", "keys = ")
    for index, line in enumerate(lines):
        if line.strip() and not line.startswith(optional):
            with pytest.raises(errors.PolicyError):
                parse_policy("".join(lines[:index] + lines[index + 1 :]).encode())


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_a_policy_error(data: bytes) -> None:
    with pytest.raises(errors.PolicyError):
        parse_policy(data)


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
def test_a_changed_character_gives_an_equal_type_or_a_policy_error(place: int, character: str) -> None:
    changed = TEXT[:place] + character + TEXT[place + 1 :]
    with suppress(errors.PolicyError):
        assert isinstance(parse_policy(changed.encode()), DevelopmentPolicy)


@given(st.integers(1, 999_999), st.sampled_from("smhd"))
def test_durations(number: int, unit: str) -> None:
    policy = CHAIN.policy(age=f"{number}{unit}")
    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert policy.trust.log.max_checkpoint_age == timedelta(seconds=seconds)


def test_an_oversize_policy_is_refused() -> None:
    with pytest.raises(errors.PolicyError, match="bytes"):
        parse_policy(TEXT.encode() + b"#" * (512 << 10))


def test_a_policy_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        load_policy(tmp_path / "trust.toml")
    assert caught.value.hint is not None


def test_how_few_witnesses_make_a_quorum() -> None:
    lines = "group inner all w1 w2\ngroup outer any inner w3\nquorum outer\n"
    text = TEXT.replace("group two 2 w1 w2 w3\nquorum two", lines)
    assert parse_policy(text.encode()).trust.log.smallest_quorum == 1
    assert parse_policy(text.replace("outer any", "outer all").encode()).trust.log.smallest_quorum == 3
    assert CHAIN.policy().trust.log.smallest_quorum == 2
    assert CHAIN.policy(quorum="none", age=None).trust.log.smallest_quorum == 0


def test_the_documents_example_is_a_strict_production_policy() -> None:
    policy = load_policy(ROOT / "docs" / "examples" / "production.toml")
    assert isinstance(policy, ProductionPolicy)
    assert set(policy.platforms) == {"snp", "tdx"}
    assert (policy.trust.maintainers.threshold, policy.trust.auditors.required) == (2, 2)
    assert policy.trust.log.smallest_quorum == 2
