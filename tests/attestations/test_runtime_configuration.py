"""The runtime configuration, API keys and model ids: what an operator chose, and who may change what."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.configuration import (
    ApiKey,
    PreloadedModel,
    RuntimeConfiguration,
    generate_api_key,
)
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.model_id import ModelId
from support.attestation_samples import API_KEY, CONFIGURATION

HASH = "00" * 32
NUMBERS = (
    "max_models",
    "max_model_bytes",
    "max_total_model_bytes",
    "max_request_bytes",
    "max_concurrent_requests",
    "inference_timeout_ms",
    "upload_timeout_ms",
)
PART_MISTAKES: list[str] = [
    "",
    ".",
    "..",
    ".a",
    "-a",
    "_a",
    "A",
    "a b",
    "a/b",
    "a\\b",
    "a\n",
    "a\0",
    "é",
    "\u0430",
    "\u0661",
    "a" * 64,
    "a%2e",
    "~",
]


def fields() -> dict[str, JSON]:
    value = canonical_json.parse(CONFIGURATION.encode(), max_size=1 << 17)
    assert isinstance(value, dict)
    return dict(value)


def parse(name: str, value: JSON) -> RuntimeConfiguration:
    return RuntimeConfiguration.parse(canonical_json.encode(fields() | {name: value}))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, True, False, None, "1", [], {}, [1]])
def test_a_limit_that_is_no_positive_integer_is_malformed(name: str, value: JSON) -> None:
    with pytest.raises(MalformedError, match=name):
        parse(name, value)


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("max_models", 100_000),
        ("max_model_bytes", 2**53 - 1),
        ("max_total_model_bytes", 2**53 - 1),
        ("max_request_bytes", 2**31 - 1),
        ("max_concurrent_requests", 4096),
        ("inference_timeout_ms", 86_400_000),
        ("upload_timeout_ms", 86_400_000),
    ],
)
def test_a_limit_has_a_largest_value(name: str, largest: int) -> None:
    assert getattr(parse(name, largest), name) == largest
    if largest < 2**53 - 1:
        with pytest.raises(MalformedError, match=name):
            parse(name, largest + 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "glasshouse/configuration/v2"),
        ("api_keys", None),
        ("api_keys", {}),
        ("api_keys", ["gh_x"]),
        ("api_keys", [{"namespace": "alice"}]),
        ("api_keys", [{"sha256": HASH}]),
        ("api_keys", [{"namespace": "alice", "sha256": "00"}]),
        ("api_keys", [{"namespace": "alice", "sha256": HASH, "key": "gh_x"}]),
        ("api_keys", [{"namespace": "alice", "sha256": HASH}, {"namespace": "bob", "sha256": HASH}]),
        ("api_keys", [{"namespace": "a", "sha256": f"{number:064x}"} for number in range(257)]),
        *(("api_keys", [{"namespace": part, "sha256": HASH}]) for part in PART_MISTAKES),
        ("models", None),
        ("models", [{"model_id": "public/a"}]),
        ("models", [{"sha256": HASH}]),
        ("models", [{"model_id": "public/a", "sha256": HASH, "path": "/etc/passwd"}]),
        ("models", [{"model_id": "public/a", "sha256": HASH}, {"model_id": "public/a", "sha256": "11" * 32}]),
        ("models", [{"model_id": f"public/m{number}", "sha256": HASH} for number in range(257)]),
        *(("models", [{"model_id": f"public/{part}", "sha256": HASH}]) for part in PART_MISTAKES),
        ("models", [{"model_id": "digits", "sha256": HASH}]),
        ("max_request_bytes", 1023),
        ("unknown", 1),
    ],
)
def test_a_malformed_configuration_is_refused(name: str, value: JSON) -> None:
    with pytest.raises(MalformedError):
        parse(name, value)


def test_a_configuration_at_its_limits_is_allowed() -> None:
    longest = "a" * 63
    largest = dataclasses.replace(
        CONFIGURATION,
        api_keys=tuple(ApiKey(namespace=longest, sha256=number.to_bytes(32, "big")) for number in range(256)),
        models=tuple(
            PreloadedModel(
                model_id=ModelId(namespace=longest, name="b" * 60 + f"{number:03}"), sha256=bytes(32)
            )
            for number in range(256)
        ),
    )
    assert RuntimeConfiguration.parse(largest.encode()) == largest


def test_a_configuration_over_its_size_is_refused() -> None:
    with pytest.raises(MalformedError, match="at most 131072"):
        RuntimeConfiguration.parse(b"{" * ((128 << 10) + 1))


def test_an_api_key_admits_to_its_namespace_and_no_other_text_does() -> None:
    other = generate_api_key()
    configuration = dataclasses.replace(
        CONFIGURATION, api_keys=(ApiKey.of(API_KEY, namespace="alice"), ApiKey.of(other, namespace="bob"))
    )
    assert configuration.namespace_of(API_KEY) == "alice"
    assert configuration.namespace_of(other) == "bob"
    for text in (
        "",
        "gh_",
        API_KEY[:-1],
        API_KEY + "A",
        API_KEY.lower(),
        " " + API_KEY,
        "\ud800",
        "é" * 10_000,
    ):
        assert configuration.namespace_of(text) is None
    for entry in configuration.api_keys:
        assert configuration.namespace_of(entry.sha256.hex()) is None
    assert dataclasses.replace(configuration, api_keys=()).namespace_of(API_KEY) is None


def test_what_is_kept_of_an_api_key_is_its_hash() -> None:
    assert ApiKey.of(API_KEY, namespace="alice").sha256 == hashlib.sha256(API_KEY.encode()).digest()
    assert API_KEY.encode() not in CONFIGURATION.encode()


def test_generated_api_keys_are_of_the_form_and_different() -> None:
    keys = {generate_api_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        ApiKey.of(key, namespace="alice")


@pytest.mark.parametrize(
    "text", ["", "gh_", "gh_" + "A" * 42, "gh_" + "A" * 44, "GH_" + "A" * 43, "gh_" + "A" * 42 + "="]
)
def test_a_text_that_is_no_api_key_is_malformed_and_not_repeated(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        ApiKey.of(text, namespace="alice")
    assert len(text) < 5 or text not in str(caught.value)


@pytest.mark.parametrize("text", ["a/b", "alice/resnet18", "0/0", "a" * 63 + "/" + "b" * 63, "a.b/c_d-e.f"])
def test_a_model_id_comes_back_from_its_text(text: str) -> None:
    assert str(ModelId.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "/", "a", "a/", "/a", "a/b/c", "a//b", *(f"a/{part}" for part in PART_MISTAKES)]
)
def test_a_text_that_is_no_model_id_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        ModelId.parse(text)


@pytest.mark.parametrize("part", PART_MISTAKES)
def test_a_namespace_is_checked_however_it_is_made(part: str) -> None:
    with pytest.raises(MalformedError):
        ModelId(namespace=part, name="a")
    with pytest.raises(MalformedError):
        ApiKey(namespace=part, sha256=bytes(32))
