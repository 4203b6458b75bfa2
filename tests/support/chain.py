"""The whole chain in memory: maintainers, auditors, log and witnesses, a launcher, a server's evidence.

Everything is signed with the functions that the real parts use; only time, disks and sockets are left out.
A test takes an honest chain, changes one thing, and looks at which step of the verification notices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from glasshouse import Attestation, Channel, Policy, parse_policy
from glasshouse_attestations import simulated
from glasshouse_attestations.audit import Audit, Environment, Verdict
from glasshouse_attestations.bundle import Bundle, ConsistencyProof, LoggedStatement
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release, Source
from glasshouse_attestations.report_data import report_data
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.simulated import Isolation
from glasshouse_attestations.statement import Statement
from glasshouse_log import Checkpoint, Proof
from glasshouse_log.checkpoint import sign_checkpoint
from glasshouse_log.cosignature import cosign
from glasshouse_log.merkle import (
    Node,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
)
from glasshouse_log.note import KeyType, NoteSigner

__all__ = ["CHANNEL", "COMMIT", "NOW", "SOURCE", "Chain", "MemoryLog", "cosigned_note", "sign"]

NOW = datetime(2031, 5, 17, 12, 0, 0, tzinfo=timezone.utc)
SOURCE = "https://example.com/glasshouse"
COMMIT = bytes.fromhex("c0ffee" + "00" * 17)
CHANNEL = Channel(nonce=bytes(range(32)), tls_spki_sha256=hashlib.sha256(b"a TLS key").digest())


@dataclass
class MemoryLog:
    """A log that keeps its entries in a list and signs whatever tree it is asked to."""

    signer: NoteSigner = field(
        default_factory=lambda: NoteSigner.generate("log.example/one", KeyType.ED25519)
    )
    entries: list[bytes] = field(default_factory=list)

    def append(self, entry: bytes) -> int:
        """Add the entry unless it is there, and return its index."""
        if entry not in self.entries:
            self.entries.append(entry)
        return self.entries.index(entry)

    def read_nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        return [self._hash(node) for node in nodes]

    def _hash(self, node: Node) -> bytes:
        if node.level == 0:
            return leaf_hash(self.entries[node.number])
        left = Node(node.level - 1, 2 * node.number)
        return node_hash(self._hash(left), self._hash(left._replace(number=left.number + 1)))

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        return Checkpoint(origin=self.signer.name, size=size, root=tree_root(size, self))

    def inclusion(self, entry: bytes) -> tuple[int, tuple[bytes, ...]]:
        index = self.entries.index(entry)
        return index, prove_inclusion(index, len(self.entries), self)

    def consistency(self) -> tuple[ConsistencyProof, ...]:
        """Proofs from every earlier size to the present one."""
        size = len(self.entries)
        return tuple(
            ConsistencyProof(size=old, hashes=prove_consistency(old, size, self)) for old in range(1, size)
        )


def cosigned_note(
    checkpoint: Checkpoint, log: NoteSigner, witnesses: Iterable[tuple[NoteSigner, datetime]]
) -> bytes:
    """A checkpoint with the log's signature and a cosignature by each witness, at its time."""
    note = sign_checkpoint(checkpoint, log)
    lines = tuple(cosign(note.text, witness, time=int(time.timestamp())) for witness, time in witnesses)
    return replace(note, signatures=note.signatures + lines).encode()


def _witnesses() -> tuple[NoteSigner, ...]:
    return tuple(
        NoteSigner.generate(f"witness.example/w{number}", KeyType.COSIGNATURE_V1) for number in (1, 2, 3)
    )


def _auditors() -> dict[str, tuple[SigningKey, ...]]:
    return {
        "auditor-1": (SigningKey.generate(), SigningKey.generate()),
        "auditor-2": (SigningKey.generate(),),
        "auditor-3": (SigningKey.generate(),),
    }


@dataclass
class Chain:
    """An honest chain around one image. Methods make its parts; keyword arguments change one thing each."""

    sha256: bytes = hashlib.sha256(b"the image").digest()
    sha384: bytes = hashlib.sha384(b"the image").digest()
    now: datetime = NOW
    maintainers: tuple[SigningKey, ...] = field(default_factory=lambda: (SigningKey.generate(),))
    auditors: dict[str, tuple[SigningKey, ...]] = field(default_factory=_auditors)
    log: MemoryLog = field(default_factory=MemoryLog)
    witnesses: tuple[NoteSigner, ...] = field(default_factory=_witnesses)
    launcher: SigningKey = field(default_factory=SigningKey.generate)
    receipt_key: SigningKey = field(default_factory=SigningKey.generate)
    configuration: bytes = field(default_factory=lambda: RuntimeConfiguration().encode())

    def __post_init__(self) -> None:
        self.fixed = self.statements()

    @property
    def receipt_public_key(self) -> bytes:
        return self.receipt_key.private.public_key().public_bytes_raw()

    @property
    def reference_values(self) -> ReferenceValues:
        registers = {"image.sha256": self.sha256, "image.sha384": self.sha384}
        return ReferenceValues(platforms={"simulated": (registers,)})

    def policy_text(
        self,
        *,
        kind: str = "development",
        required: int = 2,
        threshold: int = 1,
        quorum: str = "two",
        age: str | None = "24h",
        source: str = SOURCE,
        platforms: str | None = None,
        extra: str = "",
    ) -> str:
        """A trust.toml that trusts this chain."""
        lines = [f"log {self.log.signer.verifier_key.encode()}"]
        names = [f"w{number}" for number in range(1, len(self.witnesses) + 1)]
        lines += [
            f"witness {name} {witness.verifier_key.encode()}"
            for name, witness in zip(names, self.witnesses, strict=True)
        ]
        lines += [f"group two 2 {' '.join(names)}", f"quorum {quorum}"]
        organisations = "".join(
            f'[[auditors.organisations]]\nname = "{name}"\nkeys = {_keys(keys)}\n'
            for name, keys in self.auditors.items()
        )
        if platforms is None:
            platforms = f"[platforms.simulated]\nlauncher_keys = {_keys((self.launcher,))}\n"
        return (
            f'version = 1\nkind = "{kind}"\nsource = "{source}"\n'
            f"[maintainers]\nthreshold = {threshold}\nkeys = {_keys(self.maintainers)}\n"
            f"[auditors]\nrequired = {required}\n{organisations}"
            + '[log]\npolicy = """\n'
            + "\n".join(lines)
            + '"""\n'
            + (f'max_checkpoint_age = "{age}"\n' if age else "")
            + platforms
            + extra
        )

    def policy(self, **changes: Any) -> Policy:
        """The policy that :meth:`policy_text` writes."""
        return parse_policy(self.policy_text(**changes).encode())

    def release(self, **changes: Any) -> Release:
        """The release of the image, valid for a month around the chain's time."""
        made = Release(
            image_sha256=self.sha256,
            version="1.2.3",
            source=Source(repository=SOURCE, commit=COMMIT),
            locks={"reference_server/image/debs.lock": bytes(32)},
            builder="glasshouse-audit 1.2.3",
            reference_values=self.reference_values,
            sbom_sha256=bytes(32),
            not_before=self.now - timedelta(days=1),
            not_after=self.now + timedelta(days=30),
        )
        return replace(made, **changes)

    def audit(self, **changes: Any) -> Audit:
        """An audit that reproduced the image an hour ago."""
        made = Audit(
            image_sha256=self.sha256,
            verdict=Verdict.REPRODUCED,
            source=Source(repository=SOURCE, commit=COMMIT),
            rebuilt_sha256=self.sha256,
            reference_values=self.reference_values,
            environment=Environment(os="Debian 13", architecture="x86_64", python="3.13.1"),
            time=self.now - timedelta(hours=1),
            expires=self.now + timedelta(days=30),
        )
        return replace(made, **changes)

    def revocation(self, image_sha256: bytes | None = None) -> Revocation:
        """A revocation of the image, or of another."""
        return Revocation(
            image_sha256=self.sha256 if image_sha256 is None else image_sha256,
            reason="a key was lost",
            time=self.now - timedelta(minutes=5),
        )

    def signed_release(self, **changes: Any) -> bytes:
        return sign(self.release(**changes).to_statement(), *self.maintainers)

    def signed_audit(self, auditor: str, **changes: Any) -> bytes:
        return sign(self.audit(**changes).to_statement(), self.auditors[auditor][0])

    def statements(self) -> list[bytes]:
        """What an honest bundle holds: the release, and the audits of the first two auditors."""
        return [self.signed_release(), *map(self.signed_audit, list(self.auditors)[:2])]

    def note(self, *, cosigned_by: Iterable[NoteSigner] | None = None, at: datetime | None = None) -> bytes:
        """The log's present checkpoint, cosigned by all witnesses or some, a minute ago unless said."""
        time = self.now - timedelta(minutes=1) if at is None else at
        witnesses = self.witnesses if cosigned_by is None else tuple(cosigned_by)
        return cosigned_note(self.log.checkpoint(), self.log.signer, [(each, time) for each in witnesses])

    def bundle(
        self,
        statements: Sequence[bytes] | None = None,
        *,
        note: bytes | None = None,
        consistency: bool = True,
    ) -> Bundle:
        """Log the statements that are not yet logged, and prove all of them."""
        statements = self.statements() if statements is None else statements
        for entry in statements:
            self.log.append(entry)
        note = self.note() if note is None else note
        return Bundle(
            entries=tuple(LoggedStatement(envelope=s, proof=self.proof(s, note)) for s in statements),
            consistency=self.log.consistency() if consistency else (),
        )

    def proof(self, entry: bytes, note: bytes) -> bytes:
        index, hashes = self.log.inclusion(entry)
        return Proof(index=index, hashes=hashes, checkpoint=note).encode()

    def evidence(
        self,
        *,
        channel: Channel = CHANNEL,
        image: bytes | None = None,
        launcher: SigningKey | None = None,
        receipt_public_key: bytes | None = None,
        configuration: bytes | None = None,
    ) -> bytes:
        """A simulated quote that binds the channel, the receipt key and the configuration."""
        shown = self.configuration if configuration is None else configuration
        return simulated.sign_quote(
            self.launcher if launcher is None else launcher,
            image_sha256=self.sha256 if image is None else hashlib.sha256(image).digest(),
            image_sha384=self.sha384 if image is None else hashlib.sha384(image).digest(),
            isolation=Isolation.NAMESPACES,
            report_data=report_data(
                nonce=channel.nonce,
                tls_spki_sha256=channel.tls_spki_sha256,
                receipt_public_key=receipt_public_key or self.receipt_public_key,
                configuration_sha256=hashlib.sha256(shown).digest(),
            ),
            time=self.now,
        ).encode()

    def attestation(self, **changes: bytes) -> Attestation:
        """What an honest server shows."""
        honest = Attestation(
            evidence=self.evidence() if "evidence" not in changes else b"",
            bundle=self.bundle().encode() if "bundle" not in changes else b"",
            receipt_public_key=self.receipt_public_key,
            configuration=self.configuration,
        )
        return replace(honest, **changes)


def sign(statement: Statement, *keys: SigningKey) -> bytes:
    """The encoded envelope around a statement."""
    return statement.sign(*keys).encode()


def _keys(keys: Iterable[SigningKey]) -> str:
    return "[" + ", ".join(f'"{key.public_key.encode()}"' for key in keys) + "]"
