"""Reference values: registers are compared name by name, in full, and for the platform that shows them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import MalformedError, MeasurementMismatchError
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.reference_values import ReferenceValues
from support.attestation_samples import MEASUREMENTS, REFERENCE_VALUES

TPM = dict(REFERENCE_VALUES.platforms["tpm"][0])
SIMULATED = dict(REFERENCE_VALUES.platforms["simulated"][0])


def test_the_predicted_registers_are_accepted_in_any_order() -> None:
    REFERENCE_VALUES.check("tpm", TPM)
    REFERENCE_VALUES.check("tpm", dict(reversed(TPM.items())))


def test_every_changed_byte_of_every_register_is_refused() -> None:
    for platform, registers in (("tpm", TPM), ("simulated", SIMULATED)):
        for name, value in registers.items():
            for position in range(len(value)):
                changed = bytearray(value)
                changed[position] ^= 1
                with pytest.raises(MeasurementMismatchError, match=f"register {name} is"):
                    REFERENCE_VALUES.check(platform, registers | {name: bytes(changed)})


@pytest.mark.parametrize("name", sorted(TPM))
def test_a_missing_register_is_refused(name: str) -> None:
    without = {other: value for other, value in TPM.items() if other != name}
    with pytest.raises(MeasurementMismatchError, match="expected the registers"):
        REFERENCE_VALUES.check("tpm", without)


@pytest.mark.parametrize(
    "registers",
    [
        {},
        {"pcr4.sha256": TPM["pcr4.sha256"]},
        TPM | {"pcr9.sha256": bytes(32)},
        TPM | {"pcr4.sha384": bytes(48)},
        TPM | {"pcr4.sha256": b""},
        TPM | {"pcr4.sha256": TPM["pcr4.sha256"][:31]},
        TPM | {"pcr4.sha256": TPM["pcr4.sha256"] + b"\0"},
        TPM | {"pcr11.sha256": bytes(32)},
        dict.fromkeys(TPM, bytes(32)),
        {**TPM, "pcr8.sha256": TPM["pcr4.sha256"], "pcr4.sha256": TPM["pcr8.sha256"]},
        {name.upper(): value for name, value in TPM.items()},
        SIMULATED,
    ],
)
def test_other_registers_are_refused(registers: Mapping[str, bytes]) -> None:
    with pytest.raises(MeasurementMismatchError):
        REFERENCE_VALUES.check("tpm", registers)


@pytest.mark.parametrize("platform", ["simulated", "snp", "tdx", "TPM", "", "tpm "])
def test_the_registers_of_one_platform_prove_nothing_for_another(platform: str) -> None:
    with pytest.raises(MeasurementMismatchError):
        REFERENCE_VALUES.check(platform, TPM)


def test_nothing_is_accepted_where_nothing_is_predicted() -> None:
    for nothing in (ReferenceValues(platforms={}), ReferenceValues(platforms={"tpm": ()})):
        with pytest.raises(MeasurementMismatchError, match="no reference values"):
            nothing.check("tpm", TPM)
    with pytest.raises(MeasurementMismatchError, match="no registers"):
        ReferenceValues(platforms={"tpm": ({},)}).check("tpm", {})


def test_each_alternative_is_accepted_and_no_mixture_of_two() -> None:
    one = {"a.sha256": b"\1" * 32, "b.sha256": b"\1" * 32}
    two = {"a.sha256": b"\2" * 32, "b.sha256": b"\2" * 32}
    values = ReferenceValues(platforms={"snp": (one, two)})
    values.check("snp", one)
    values.check("snp", two)
    with pytest.raises(MeasurementMismatchError, match="the first of 2 alternatives"):
        values.check("snp", {"a.sha256": one["a.sha256"], "b.sha256": two["b.sha256"]})


@pytest.mark.parametrize("suffix", [b"", b"\n\n", b"\r\n", b" \n", b"\0", b"\n "])
def test_measurements_end_with_exactly_one_newline(suffix: bytes) -> None:
    with pytest.raises(MalformedError):
        Measurements.parse(MEASUREMENTS.encode()[:-1] + suffix)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "glasshouse/measurements/v2"),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 48}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 48, "size": 0}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 48, "size": True}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 32, "size": 1}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 48, "size": 1, "name": "x"}),
        ("referenceValues", {}),
        ("extra", 1),
    ],
)
def test_malformed_measurements_are_refused(name: str, value: JSON) -> None:
    fields = canonical_json.parse(MEASUREMENTS.encode()[:-1], max_size=1 << 20)
    assert isinstance(fields, dict)
    document = canonical_json.encode(fields | {name: value}) + b"\n"
    with pytest.raises(MalformedError):
        Measurements.parse(document)
