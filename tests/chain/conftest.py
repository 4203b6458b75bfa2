"""A published world for the tests of the whole chain: the real image, a real log, real statements.

The image is built once. That a commit gives the same image again is for the tests of release and audit,
which rebuild; here two auditors of three sign what the build measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import glasshouse
from demo.people import People, introduce, trust_toml
from demo.server import Server, serving
from demo.stage import Stage
from demo.story import Source, World
from glasshouse_attestations.audit import Audit, Verdict
from glasshouse_attestations.release import Release
from glasshouse_audit import keygen
from glasshouse_audit.audit import Finding, environment, log_finding
from glasshouse_audit.release import Built, Order, describe, inspect, sign_and_log
from glasshouse_log.local import LocalLog, run_local_log
from support.image import EnclaveImage, enclave_image
from support.repository import DISTRIBUTIONS, ROOT, git

__all__ = ["enclave_image"]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("chain"), io.StringIO())


@pytest.fixture(scope="session")
def people(stage: Stage) -> People:
    return introduce(stage.folder / "keys")


@pytest.fixture(scope="session")
def log(stage: Stage, people: People) -> Iterator[LocalLog]:
    with run_local_log(stage.folder / "log", witnesses=3, admitted=people.signers) as running:
        yield running


@pytest.fixture(scope="session")
def world(stage: Stage, people: People, log: LocalLog, enclave_image: EnclaveImage) -> World:
    """A release of the image with the audits of all three auditors, in a folder."""
    commit = bytes.fromhex(git("rev-parse", "HEAD").strip())
    version = str(DISTRIBUTIONS[0].project["version"])
    source = Source(repository=ROOT, commit=commit, clone=ROOT, version=version)
    trust = stage.folder / "trust.toml"
    trust.write_text(trust_toml(people, source=source.address, log_policy=log.policy_text), encoding="utf-8")
    folder = stage.folder / "release"
    release = _publish(source, people, log, enclave_image.path, folder)
    with log.client() as client:
        for auditor in people.auditors:
            finding = Finding(audit=_reproduced(release), is_confirmed=True)
            log_finding(folder, finding, keygen.load(auditor.key_file), client)
    return World(source=source, people=people, log=log, trust=trust, release=folder, image=enclave_image.path)


@pytest.fixture(scope="session")
def server(stage: Stage, world: World) -> Iterator[Server]:
    """The released image, booted by the real launcher, with the release's bundle."""
    bundle = world.release / "bundle.json"
    with serving(world.image, bundle, world.people, log=stage.folder / "server.log") as running:
        yield running


@pytest.fixture
def policy(world: World) -> glasshouse.Policy:
    return glasshouse.load_policy(world.trust)


def _publish(source: Source, people: People, log: LocalLog, image: Path, folder: Path) -> Release:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    order = Order(
        version=source.version,
        tree=ROOT,
        repository=source.address,
        not_before=now,
        not_after=now + timedelta(days=30),
    )
    built: Built = inspect(ROOT, source.commit, image.read_bytes())
    release, sbom = describe(order, built)
    with log.client() as client:
        keys = [keygen.load(people.maintainer.key_file)]
        sign_and_log(release, sbom, built, keys=keys, log=client).write(folder)
    return release


def _reproduced(release: Release) -> Audit:
    return Audit(
        image_sha256=release.image_sha256,
        verdict=Verdict.REPRODUCED,
        source=release.source,
        rebuilt_sha256=release.image_sha256,
        reference_values=release.reference_values,
        environment=environment(),
        time=release.not_before,
        expires=release.not_after,
    )
