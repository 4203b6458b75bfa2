"""The story, act by act: from a commit to a prediction by a server that has been verified first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import glasshouse
from glasshouse_audit import keygen
from glasshouse_audit.audit import refresh_bundle
from glasshouse_audit.clone import changes, clone, distribution_versions, head
from glasshouse_audit.publication import Publication
from glasshouse_audit.rebuild import Surroundings, rebuild
from glasshouse_audit.release import Order, Released, release
from glasshouse_audit.verification import verify_publication
from glasshouse_log.local import LocalLog

from .auditors import Assignment, Opinion, audit_all
from .digits import Prediction, Task, learn, predict_here
from .people import People, trust_toml
from .server import Server
from .stage import DemoError, Stage

__all__ = ["Answer", "Source", "World", "ask", "audit", "build_image", "check_out", "publish"]

_MODEL = "digits"
_LEAST_ACCURACY = 0.9
_LARGEST_DIFFERENCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The repository and the commit that is released, in a clone of the maintainer's."""

    repository: Path
    commit: bytes
    clone: Path
    version: str

    @property
    def address(self) -> str:
        """What the release names as its source."""
        return self.repository.as_uri()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What exists when everything is published: the release's folder, its image, the policy, the log."""

    source: Source
    people: People
    log: LocalLog
    trust: Path
    release: Path
    image: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the verified server said about digits that it had never seen."""

    count: int
    accuracy: float
    difference: float
    verdict: glasshouse.Verdict

    @property
    def is_right(self) -> bool:
        """Whether the digits are right, and the same as onnxruntime says in this process."""
        return self.accuracy >= _LEAST_ACCURACY and self.difference <= _LARGEST_DIFFERENCE


def check_out(repository: Path, stage: Stage) -> Source:
    """Clone the commit that is checked out; what no commit has takes no part."""
    commit = head(repository)
    changed = changes(repository)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        stage.tell(f"note: what no commit has takes no part: {changed[0]}{more}")
    own = clone(repository, commit, stage.folder / "maintainer")
    version = next(iter(distribution_versions(own).values()))
    stage.tell(f"commit {commit.hex()}, version {version}")
    return Source(repository=repository, commit=commit, clone=own, version=version)


def build_image(source: Source, stage: Stage) -> None:
    """Build the image once, with the commit's own builder, which brings every input into the cache."""
    stage.tell("building enclave.efi: inputs by hash, unpacked, packed")
    built = rebuild(source.clone, surroundings=Surroundings(), with_progress=stage.is_on_terminal)
    measurements = built.measurements
    stage.tell(f"enclave.efi: {measurements.size / 1e6:.1f} MB, sha256 {measurements.sha256.hex()}")
    for platform, alternatives in sorted(measurements.reference_values.platforms.items()):
        stage.tell(f"reference values for {platform}: {', '.join(sorted(alternatives[0]))}")


def publish(source: Source, people: People, log: LocalLog, stage: Stage) -> World:
    """Release the commit: build it twice more in two clones, compare, sign, log, and write the folder."""
    trust = stage.folder / "trust.toml"
    trust.write_text(trust_toml(people, source=source.address, log_policy=log.policy_text), encoding="utf-8")
    policy, now = glasshouse.load_policy(trust), datetime.now(timezone.utc).replace(microsecond=0)
    order = Order(
        version=source.version,
        tree=source.clone,
        repository=source.address,
        not_before=now,
        not_after=now + timedelta(days=365),
    )
    keys = [keygen.load(people.maintainer.key_file)]
    with log.client() as client:
        released = release(
            order,
            keys=keys,
            policy=policy,
            log=client,
            now=now,
            tell=stage.tell,
            with_progress=stage.is_on_terminal,
        )
    return _write(
        World(
            source=source,
            people=people,
            log=log,
            trust=trust,
            release=stage.folder / "release",
            image=stage.folder / "enclave.efi",
        ),
        released,
        stage,
    )


def _write(world: World, released: Released, stage: Stage) -> World:
    released.publication.write(world.release)
    world.image.write_bytes(released.image)
    stage.tell(f"both builds gave sha256 {released.release.image_sha256.hex()}")
    stage.tell("signed by the maintainer, logged, and cosigned by witnesses; no audits yet")
    return world


def audit(world: World, stage: Stage) -> list[Opinion]:
    """Let the auditors rebuild the commit, and put what they signed into the release."""
    assignment = Assignment(
        source=world.source.repository,
        commit=world.source.commit,
        release=world.release,
        trust=world.trust,
    )
    with stage.working("three auditors clone, rebuild and compare, two at a time"):
        opinions = audit_all(assignment, world.people.auditors, stage)
    for opinion in opinions:
        stage.tell(f"{opinion.name}: {opinion.verdict} in {opinion.seconds:.0f} s ({opinion.surroundings})")
        # As a maintainer merges what auditors send.
        shutil.copytree(opinion.folder / "audits", world.release / "audits", dirs_exist_ok=True)
    with world.log.client() as client:
        refresh_bundle(world.release, client)
    _check_release(world, opinions, stage)
    return opinions


def _check_release(world: World, opinions: Sequence[Opinion], stage: Stage) -> None:
    publication, policy = Publication.read(world.release), glasshouse.load_policy(world.trust)
    image, now = world.image.read_bytes(), datetime.now(timezone.utc)
    report = verify_publication(publication, policy, image=image, now=now)
    if report.exit_code or any(opinion.verdict != "reproduced" for opinion in opinions):
        raise DemoError(f"the release does not stand:\n{report.to_table()}")
    stage.tell(f"the release's folder passes all its {len(report.checks)} checks")


def ask(world: World, server: Server, stage: Stage) -> Answer:
    """Learn digits, upload the model through a verified connection, and predict those held out."""
    with stage.working("learning handwritten digits with scikit-learn"):
        task = learn()
    expected = predict_here(task)
    state = stage.folder / "client"
    with glasshouse.Connection(
        server.address, policy=world.trust, api_key=world.people.api_key, state=state
    ) as client:
        stage.tell("verified, in twelve steps and offline, before anything was sent:")
        stage.tell(client.verdict.to_table())
        model_id = f"{world.people.namespace}/{_MODEL}"
        model = client.upload_model(task.model, model_id)
        stage.tell(
            f"uploaded {model.model_id}: {model.size} bytes, the enclave got sha256 {model.sha256.hex()}"
        )
        found = _predict(client, model_id, task)
        verdict = client.verdict
    answer = Answer(
        count=len(task.digits),
        accuracy=found.accuracy(task),
        difference=found.difference(expected),
        verdict=verdict,
    )
    stage.tell(f"predicted {answer.count} digits that it had never seen: {answer.accuracy:.1%} are right")
    stage.tell(f"onnxruntime in this process says the same: largest difference {answer.difference:.1e}")
    return answer


def _predict(client: glasshouse.Connection, model_id: str, task: Task) -> Prediction:
    output = client.predict(model_id, task.images).output
    return Prediction(digits=output[0].as_numpy(), probabilities=output[1].as_numpy())
