"""SLSA Provenance v1 of an image: what went in, what built it and what came out beside it.

Source: slsa.dev, "Provenance" predicate, v1. No time is stated: nothing about the image depends on one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.release import Release
from glasshouse_attestations.statement import Statement

from .locks import LockedDeb, LockedWheel
from .sbom import deb_purl, wheel_purl

__all__ = ["BUILDER_ID", "BUILD_TYPE", "PREDICATE_TYPE", "provenance"]

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://glasshouse.invalid/build-types/enclave-image/v1"
BUILDER_ID = "https://glasshouse.invalid/builders/glasshouse-audit/v1"


def provenance(
    release: Release,
    *,
    recipe: str,
    debs: Iterable[LockedDeb],
    wheels: Iterable[LockedWheel],
    suite: str,
    byproducts: Mapping[str, bytes],
) -> Statement:
    """Return the statement of how the image of ``release`` was built.

    ``recipe`` is the recipe's path in the repository. Dependencies are the commit, the locks that the
    release names, and every package of the locks. ``byproducts`` gives the SHA-256 of each file that was
    made beside the image.
    """
    dependencies: list[JSON] = [_commit(release)]
    dependencies += [_named(path, digest) for path, digest in sorted(release.locks.items())]
    dependencies += [_located(deb_purl(deb, suite), deb.sha256) for deb in debs]
    dependencies += [_located(wheel_purl(wheel), wheel.sha256) for wheel in wheels]
    definition: JSON = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"source": release.source.to_json(), "recipe": recipe},
        "resolvedDependencies": dependencies,
    }
    name, _, version = release.builder.partition(" ")
    run: JSON = {
        "builder": {"id": BUILDER_ID, "version": cast(JSON, {name: version})},
        "byproducts": [_named(name, digest) for name, digest in sorted(byproducts.items())],
    }
    return Statement(
        image_sha256=release.image_sha256,
        predicate_type=PREDICATE_TYPE,
        predicate={"buildDefinition": definition, "runDetails": run},
    )


def _commit(release: Release) -> JSON:
    source = release.source
    return {
        "uri": f"git+{source.repository}@{source.commit.hex()}",
        "digest": {"gitCommit": source.commit.hex()},
    }


def _named(name: str, sha256: bytes) -> JSON:
    return {"name": name, "digest": {"sha256": sha256.hex()}}


def _located(uri: str, sha256: bytes) -> JSON:
    return {"uri": uri, "digest": {"sha256": sha256.hex()}}
