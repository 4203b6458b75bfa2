"""The specifications say what the code does: their examples parse, and their tables name every field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasshouse_attestations import audit, canonical_json, release, revocation
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.bundle import Bundle
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.release import Release
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import Statement
from support import attestation_samples as samples
from support.repository import ROOT

PREDICATES = ROOT / "attestations" / "predicates"
FORMATS = ROOT / "docs" / "formats.md"

# In these the names of the members are data, and the text beside the table specifies them.
MAPS = {"locks", "referenceValues", "endorsements", "predicate"}


def text_of(path: Path, section: str | None = None) -> str:
    """A whole document, or the part of it under one heading of the second level."""
    text = path.read_text(encoding="utf-8")
    return text if section is None else text.split(f"\n## {section}\n")[1].split("\n## ")[0]


def examples(text: str) -> list[bytes]:
    """The JSON examples, in canonical form."""
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    return [canonical_json.encode(json.loads(block)) for block in blocks]


def table_of_fields(text: str) -> list[str]:
    """The names in the first column of the tables that are headed "field"."""
    tables = re.findall(r"\| field \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text)
    return [name for table in tables for name in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]


def fields_of(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields in a JSON value, as the tables write them."""
    if isinstance(value, dict) and path.rpartition(".")[2] not in MAPS:
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            yield inner
            yield from fields_of(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from fields_of(item, f"{path}[]")


STATEMENTS = [
    ("release-v1.md", release.PREDICATE_TYPE, Release.parse, [samples.RELEASE]),
    ("audit-v1.md", audit.PREDICATE_TYPE, Audit.parse, [samples.AUDIT, samples.FAILED_AUDIT]),
    ("revocation-v1.md", revocation.PREDICATE_TYPE, Revocation.parse, [samples.REVOCATION]),
]


@pytest.mark.parametrize(("name", "kind", "parse", "claims"), STATEMENTS, ids=lambda value: str(value)[:16])
def test_a_predicate_is_specified(name: str, kind: str, parse: Any, claims: list[Any]) -> None:
    text = text_of(PREDICATES / name)
    assert f"\n`{kind}`\n" in text
    assert [parse(Statement.parse(example)) for example in examples(text)] == claims
    assert sorted(table_of_fields(text)) == sorted(set(fields_of(claims[0].to_statement().predicate)))


def test_every_predicate_has_its_specification() -> None:
    assert sorted(path.name for path in PREDICATES.iterdir()) == sorted(name for name, *_ in STATEMENTS)


def test_measurements_are_specified() -> None:
    section = text_of(FORMATS, "Reference values")
    assert [Measurements.parse(example + b"\n") for example in examples(section)] == [samples.MEASUREMENTS]
    assert_fields(section, samples.MEASUREMENTS.encode()[:-1])


def test_evidence_is_specified() -> None:
    section = text_of(FORMATS, "Evidence")
    assert [Evidence.parse(example) for example in examples(section)] == [samples.EVIDENCE]
    assert_fields(section, samples.EVIDENCE.encode())


def test_a_simulated_quote_is_specified() -> None:
    section = text_of(FORMATS, "Simulated quote")
    payload = Envelope.parse(samples.EVIDENCE.quote).payload
    assert examples(section) == [payload]
    assert_fields(section, payload)


def test_the_runtime_configuration_is_specified() -> None:
    section = text_of(FORMATS, "Runtime configuration")
    assert [RuntimeConfiguration.parse(example) for example in examples(section)] == [samples.CONFIGURATION]
    assert_fields(section, samples.CONFIGURATION.encode())


def test_a_bundle_is_specified() -> None:
    section = text_of(FORMATS, "Bundle")
    assert [Bundle.parse(example) for example in examples(section)] == [samples.BUNDLE]
    assert_fields(section, samples.BUNDLE.encode())


def test_a_receipt_is_specified() -> None:
    section = text_of(FORMATS, "Receipt")
    payload = Envelope.parse(samples.RECEIPT.sign(samples.RECEIPT_KEY)).payload
    assert examples(section) == [payload]
    assert_fields(section, payload)


def test_an_envelope_and_a_statement_are_specified() -> None:
    statement = samples.RELEASE.to_statement()
    assert_fields(text_of(FORMATS, "Envelope"), statement.sign(samples.MAINTAINER).encode())
    assert_fields(text_of(FORMATS, "Statement"), statement.encode())


def assert_fields(section: str, document: bytes) -> None:
    assert sorted(table_of_fields(section)) == sorted(set(fields_of(json.loads(document))))


def test_the_report_data_is_specified_byte_by_byte() -> None:
    section = text_of(FORMATS, "Report data")
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", section, re.MULTILINE)
    end = 0
    for offset, size in rows:
        assert int(offset) == end
        end += int(size)
    assert f"\n| {end} | | the end |" in section
    domain = b"glasshouse report data v1\0"
    length = (32).to_bytes(8, "big")
    assert end == len(domain) + 4 * (len(length) + 32)
    vector = json.loads(Path(ROOT, "tests/vectors/attestations/report-data.json").read_text(encoding="ascii"))
    written = re.findall(r"^[0-9a-f]{64}$", section, re.MULTILINE)
    assert "".join(written) == vector["report_data"]


def test_the_example_of_the_readme_runs() -> None:
    readme = text_of(ROOT / "attestations" / "README.md")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102
