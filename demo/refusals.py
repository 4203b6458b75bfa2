"""Six attacks, each on a real server, and the error that stops it before anything is sent."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import glasshouse
from glasshouse.errors import (
    AuditError,
    GlasshouseError,
    InclusionError,
    MeasurementMismatchError,
    PlatformNotAllowedError,
    QuorumError,
    ReportDataMismatchError,
)
from glasshouse_attestations import dsse
from glasshouse_attestations.bundle import Bundle, LoggedStatement
from glasshouse_attestations.image import read_sections
from glasshouse_attestations.release import Release
from glasshouse_attestations.statement import Statement
from glasshouse_audit import keygen
from glasshouse_audit.publication import Publication
from glasshouse_log.local import run_local_log

from .people import trust_toml
from .relay import relaying
from .server import Server, serving
from .stage import Stage
from .story import World

__all__ = ["CASES", "Case", "Refusal", "attempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attack: what it is, the error that must stop it, and how the attacker's server comes to be."""

    letter: str
    title: str
    expected: type[GlasshouseError]
    attack: Callable[[World, Server, Path], contextlib.AbstractContextManager[Trial]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Where the client is led, and under which policy it looks."""

    address: str
    policy: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the client said to an attack; ``error`` is empty if it said nothing, which would be a disaster."""

    letter: str
    title: str
    expected: str
    error: str
    message: str

    @property
    def is_right(self) -> bool:
        """Whether the client refused, and for the right reason."""
        return self.error == self.expected


def attempt(case: Case, world: World, server: Server, stage: Stage) -> Refusal:
    """Mount an attack and let a client, who has never been here before, connect."""
    folder = stage.folder / f"attack-{case.letter}"
    folder.mkdir()
    error, message = "", "the client connected"
    with case.attack(world, server, folder) as trial:
        try:
            glasshouse.Connection(trial.address, policy=trial.policy, state=folder / "client").close()
        except GlasshouseError as err:
            error, message = type(err).__name__, str(err)
    return Refusal(
        letter=case.letter,
        title=case.title,
        expected=case.expected.__name__,
        error=error,
        message=message,
    )


@contextlib.contextmanager
def changed_image(world: World, _server: Server, folder: Path) -> Iterator[Trial]:
    """Boot an image in which one byte is another: a letter in the name of the operating system."""
    image = bytearray(world.image.read_bytes())
    release_file = read_sections(bytes(image))[".osrel"]
    position = image.index(release_file) + release_file.rindex(b"enclave")
    image[position] ^= 0x20
    path = folder / "enclave.efi"
    path.write_bytes(image)
    with serving(path, world.release / "bundle.json", world.people, log=folder / "server.log") as server:
        yield Trial(address=server.address, policy=world.trust)


@contextlib.contextmanager
def one_audit(world: World, _server: Server, folder: Path) -> Iterator[Trial]:
    """Staple the release with one audit where the policy requires two."""
    publication = Publication.read(world.release)
    stapled = [statement.envelope for statement in publication.stapled[:2]]
    with world.log.client() as client:
        bundle = client.build_bundle(stapled)
    with _stapling(bundle, world, folder) as trial:
        yield trial


@contextlib.contextmanager
def never_logged(world: World, _server: Server, folder: Path) -> Iterator[Trial]:
    """Staple a release that the maintainer did sign, for a longer time, but showed to nobody."""
    publication = Publication.read(world.release)
    signed = dsse.Envelope.parse(publication.release.envelope)
    logged = Release.parse(Statement.parse(signed.payload))
    secret = replace(logged, not_after=logged.not_after + timedelta(days=365))
    envelope = secret.to_statement().sign(keygen.load(world.people.maintainer.key_file)).encode()
    bundle = Bundle.parse(publication.bundle)
    entries = tuple(
        # The proof is one of the log's own: that of the release that was logged.
        LoggedStatement(envelope=envelope, proof=entry.proof)
        if entry.envelope == publication.release.envelope
        else entry
        for entry in bundle.entries
    )
    with _stapling(replace(bundle, entries=entries), world, folder) as trial:
        yield trial


@contextlib.contextmanager
def relayed(world: World, server: Server, folder: Path) -> Iterator[Trial]:
    """Stand between the client and the genuine enclave, whose evidence is passed on as it is."""
    with relaying(server.address, folder) as address:
        yield Trial(address=address, policy=world.trust)


@contextlib.contextmanager
def one_witness(world: World, _server: Server, folder: Path) -> Iterator[Trial]:
    """Let the log go on with one witness, as its operator can, where the policy asks for two of three."""
    shutil.copytree(world.log.directory, folder / "log")
    publication = Publication.read(world.release)
    admitted = world.people.signers
    with (
        run_local_log(folder / "log", witnesses=1, quorum=1, admitted=admitted) as log,
        log.client() as client,
    ):
        note = dsse.sign(b"{}", "application/json", keygen.load(world.people.maintainer.key_file))
        client.add(note.encode())
        bundle = client.build_bundle([statement.envelope for statement in publication.stapled])
    with _stapling(bundle, world, folder) as trial:
        yield trial


@contextlib.contextmanager
def simulated_in_production(world: World, server: Server, folder: Path) -> Iterator[Trial]:
    """Show the genuine server to a client whose policy is for production."""
    policy = folder / "trust.toml"
    text = trust_toml(
        world.people,
        source=world.source.address,
        log_policy=world.log.policy_text,
        kind="production",
    )
    policy.write_text(text, encoding="utf-8")
    yield Trial(address=server.address, policy=policy)


@contextlib.contextmanager
def _stapling(bundle: Bundle, world: World, folder: Path) -> Iterator[Trial]:
    """Boot the genuine image with another bundle."""
    path = folder / "bundle.json"
    path.write_bytes(bundle.encode())
    with serving(world.image, path, world.people, log=folder / "server.log") as server:
        yield Trial(address=server.address, policy=world.trust)


CASES = (
    Case(
        letter="a",
        title="an image with one changed byte",
        expected=MeasurementMismatchError,
        attack=changed_image,
    ),
    Case(letter="b", title="one audit where two are required", expected=AuditError, attack=one_audit),
    Case(
        letter="c",
        title="a signed release that was never logged",
        expected=InclusionError,
        attack=never_logged,
    ),
    Case(
        letter="d",
        title="a relay before the genuine enclave",
        expected=ReportDataMismatchError,
        attack=relayed,
    ),
    Case(letter="e", title="a log with one witness", expected=QuorumError, attack=one_witness),
    Case(
        letter="f",
        title="simulated evidence under a production policy",
        expected=PlatformNotAllowedError,
        attack=simulated_in_production,
    ),
)
