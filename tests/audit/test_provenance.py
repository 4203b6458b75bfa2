"""SLSA provenance: the commit, the locks and every input, in the framework's own shape."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from google.protobuf import json_format

from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release, Source
from glasshouse_attestations.statement import Statement
from glasshouse_audit.locks import LockedDeb, LockedWheel
from glasshouse_audit.provenance import BUILD_TYPE, BUILDER_ID, PREDICATE_TYPE, provenance

RELEASE = Release(
    image_sha256=b"\1" * 32,
    version="1.2.3",
    source=Source(repository="https://example.com/glasshouse", commit=b"\2" * 20),
    locks={"image/wheels.lock": b"\3" * 32, "image/debs.lock": b"\4" * 32},
    builder="glasshouse-audit 1.2.3",
    reference_values=ReferenceValues(platforms={"simulated": ({"image.sha256": b"\1" * 32},)}),
    sbom_sha256=b"\5" * 32,
    not_before=datetime(2030, 1, 1, tzinfo=timezone.utc),
    not_after=datetime(2031, 1, 1, tzinfo=timezone.utc),
)
DEB = LockedDeb(
    name="libc6",
    version="2.41-12",
    pool_path="pool/main/g/glibc/libc6_2.41-12_amd64.deb",
    size=1,
    sha256=b"\6" * 32,
)
WHEEL = LockedWheel(name="numpy", version="2.4.6", sha256=b"\7" * 32)


def statement() -> Statement:
    return provenance(
        RELEASE,
        recipe="image/recipe.toml",
        debs=[DEB],
        wheels=[WHEEL],
        suite="trixie",
        byproducts={"measurements.json": b"\x08" * 32, "sbom.cdx.json": b"\5" * 32},
    )


def predicate() -> dict[str, Any]:
    document = json.loads(statement().encode())
    assert document["predicateType"] == PREDICATE_TYPE == "https://slsa.dev/provenance/v1"
    found: dict[str, Any] = document["predicate"]
    return found


def test_the_statement_is_about_the_image_and_survives_parsing() -> None:
    assert statement().image_sha256 == RELEASE.image_sha256
    assert Statement.parse(statement().encode()) == statement()


def test_the_required_fields_of_slsa_are_there() -> None:
    definition, run = predicate()["buildDefinition"], predicate()["runDetails"]
    assert definition["buildType"].startswith("https://glasshouse.invalid/")
    assert definition["externalParameters"] == {
        "source": {"repository": "https://example.com/glasshouse", "commit": "02" * 20},
        "recipe": "image/recipe.toml",
    }
    assert run["builder"]["id"].startswith("https://glasshouse.invalid/")
    assert run["builder"]["version"] == {"glasshouse-audit": "1.2.3"}


def test_every_input_is_a_dependency_with_its_digest() -> None:
    dependencies = predicate()["buildDefinition"]["resolvedDependencies"]
    assert dependencies == [
        {"uri": f"git+https://example.com/glasshouse@{'02' * 20}", "digest": {"gitCommit": "02" * 20}},
        {"name": "image/debs.lock", "digest": {"sha256": "04" * 32}},
        {"name": "image/wheels.lock", "digest": {"sha256": "03" * 32}},
        {"uri": "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=trixie", "digest": {"sha256": "06" * 32}},
        {"uri": "pkg:pypi/numpy@2.4.6", "digest": {"sha256": "07" * 32}},
    ]


def test_what_was_made_beside_the_image_is_a_byproduct() -> None:
    names = [each["name"] for each in predicate()["runDetails"]["byproducts"]]
    assert names == ["measurements.json", "sbom.cdx.json"]


def test_in_toto_reads_it_as_slsa_provenance() -> None:
    messages = pytest.importorskip(
        "in_toto_attestation.predicates.provenance.v1.provenance_pb2",
        reason="in-toto-attestation is not installed",
    )
    # Unknown fields are an error of the parser's.
    read = json_format.ParseDict(predicate(), messages.Provenance())
    assert read.build_definition.build_type == BUILD_TYPE
    assert read.run_details.builder.id == BUILDER_ID
    assert len(read.build_definition.resolved_dependencies) == 5
    assert [each.name for each in read.run_details.byproducts] == ["measurements.json", "sbom.cdx.json"]
