"""Who takes part: a maintainer, three auditors and an operator, with their keys, and a client's policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from glasshouse_attestations.configuration import generate_api_key
from glasshouse_attestations.keys import PublicKey
from glasshouse_audit import keygen

__all__ = ["REQUIRED_AUDITS", "People", "Person", "introduce", "trust_toml"]

REQUIRED_AUDITS = 2
_AUDITORS = ("auditor-1", "auditor-2", "auditor-3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who signs: a name, the file of the private key, and the public key."""

    name: str
    key_file: Path
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Everybody; ``api_key`` is what the operator gave to the client, and it admits to ``namespace``."""

    maintainer: Person
    auditors: tuple[Person, ...]
    launcher: Person
    namespace: str
    api_key: str

    @property
    def api_key_entry(self) -> str:
        """What the server knows of the API key: its namespace and its hash."""
        return f"{self.namespace}={hashlib.sha256(self.api_key.encode('ascii')).hexdigest()}"

    @property
    def signers(self) -> tuple[PublicKey, ...]:
        """Whose statements the log takes in."""
        return (self.maintainer.public_key, *(auditor.public_key for auditor in self.auditors))


def introduce(folder: Path) -> People:
    """Return everybody, with fresh keys in ``folder``."""
    folder.mkdir(parents=True)
    return People(
        maintainer=_person("maintainer", folder),
        auditors=tuple(_person(name, folder) for name in _AUDITORS),
        launcher=_person("launcher", folder),
        namespace="alice",
        api_key=generate_api_key(),
    )


def trust_toml(people: People, *, source: str, log_policy: bytes, kind: str = "development") -> str:
    """Return a client's policy: these maintainers, two of these auditors, this log with its witnesses.

    A development policy accepts the operator's launcher. A production one has no place for it.
    """
    platform = "[platforms.snp]"
    if kind == "development":
        platform = f'[platforms.simulated]\nlauncher_keys = ["{people.launcher.public_key.encode()}"]'
    organisations = "\n".join(
        f'[[auditors.organisations]]\nname = "{auditor.name}"\nkeys = ["{auditor.public_key.encode()}"]'
        for auditor in people.auditors
    )
    return f"""version = 1
kind = "{kind}"
source = "{source}"

[maintainers]
threshold = 1
keys = ["{people.maintainer.public_key.encode()}"]

[auditors]
required = {REQUIRED_AUDITS}

{organisations}

[log]
max_checkpoint_age = "24h"
policy = '''
{log_policy.decode()}'''

{platform}
"""


def _person(name: str, folder: Path) -> Person:
    key_file = folder / f"{name}.pem"
    return Person(name=name, key_file=key_file, public_key=keygen.generate(key_file, password=None))
