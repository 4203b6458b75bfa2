"""Whom a verifier trusts: logs, witnesses, and the quorum (c2sp.org/tlog-policy).

```
log <vkey> [<url>]
witness <name> <vkey> [<url>]
group <name> all|any|<k> <name>...
quorum <name>|none
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import MalformedKeyError, MalformedTrustPolicyError
from .note import KeyType, VerifierKey

__all__ = ["NO_QUORUM", "Group", "Log", "TrustPolicy", "Witness"]

NO_QUORUM = "none"
_MAX_SIZE = 256 * 1024
_MAX_DEFINITIONS = 256
_WHITESPACE = re.compile(r"[ \t]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log whose checkpoints are accepted; its key's name is its origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness under the name that this policy gives it."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Witnesses and groups of which at least `threshold` must have cosigned."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Logs, witnesses and the quorum that a checkpoint must meet.

    Every name is defined before it is used and is a member of one group at most, and no key is listed
    twice, so one witness counts once. `quorum` is a witness, a group, or explicitly "none".
    """

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> TrustPolicy:
        """Return the policy in a text. Raises MalformedTrustPolicyError, which names the line.

        People write this format, so comments, blank lines and spacing are free; `encode` drops them.
        """
        if len(data) > _MAX_SIZE:
            raise MalformedTrustPolicyError(f"a policy has at most {_MAX_SIZE} bytes")
        if _FORBIDDEN.search(data):
            raise MalformedTrustPolicyError("a policy has a control character")
        if not data.endswith(b"\n"):
            raise MalformedTrustPolicyError("a policy's last line does not end in a newline")
        reading = _Reading()
        # Names are opaque octets; surrogates keep what is not UTF-8 apart and reversible.
        for number, line in enumerate(data[:-1].decode("utf-8", "surrogateescape").split("\n"), 1):
            words = [word for word in _WHITESPACE.split(line) if word]
            if words and not words[0].startswith("#"):
                try:
                    reading.read(words)
                except (MalformedKeyError, MalformedTrustPolicyError) as err:
                    raise MalformedTrustPolicyError(f"line {number}: {err}") from err
        return reading.policy()

    def encode(self) -> bytes:
        """Write the policy so that `parse` returns an equal one."""
        lines = [_join("log", log.key.encode(), log.url) for log in self.logs]
        lines += [_join("witness", w.name, w.key.encode(), w.url) for w in self.witnesses]
        lines += [_join("group", g.name, str(g.threshold), *g.members) for g in self.groups]
        lines.append(_join("quorum", self.quorum))
        return "".join(lines).encode("utf-8", "surrogateescape")

    def quorum_time(self, cosigned: Mapping[str, int]) -> int | None:
        """Return the newest time that still has a quorum of cosignatures at or after it, or None.

        `cosigned` gives each witness's time. For "k of n" this is the k-th newest; in nested groups a
        group's time counts as its member's. With quorum "none" there is no time to rest on.
        """
        times: dict[str, int | None] = {w.name: cosigned.get(w.name) for w in self.witnesses}
        for group in self.groups:
            newest = sorted((t for m in group.members if (t := times[m]) is not None), reverse=True)
            times[group.name] = newest[group.threshold - 1] if len(newest) >= group.threshold else None
        return times.get(self.quorum)


@dataclass(slots=True)
class _Reading:
    """What has been defined up to the current line."""

    logs: list[Log] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)
    quorum: str | None = None

    def read(self, words: Sequence[str]) -> None:
        keyword, *rest = words
        if len(self.keys) + len(self.groups) >= _MAX_DEFINITIONS:
            raise MalformedTrustPolicyError(f"a policy has at most {_MAX_DEFINITIONS} definitions")
        if keyword == "log" and 1 <= len(rest) <= 2:
            key = self._key(rest[0], KeyType.ED25519)
            self.logs.append(Log(key=key, url=rest[1] if len(rest) == 2 else None))
        elif keyword == "witness" and 2 <= len(rest) <= 3:
            key = self._key(rest[1], KeyType.COSIGNATURE_V1)
            name = self._define(rest[0])
            self.witnesses.append(Witness(name=name, key=key, url=rest[2] if len(rest) == 3 else None))
        elif keyword == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], rest[2:])
        elif keyword == "quorum" and len(rest) == 1:
            self._quorum(rest[0])
        else:
            raise MalformedTrustPolicyError("not a log, witness, group or quorum line")

    def policy(self) -> TrustPolicy:
        if self.quorum is None:
            raise MalformedTrustPolicyError(
                "a policy has no quorum line; to need no witness, say: quorum none"
            )
        return TrustPolicy(
            logs=tuple(self.logs),
            witnesses=tuple(self.witnesses),
            groups=tuple(self.groups),
            quorum=self.quorum,
        )

    def _key(self, text: str, expected: KeyType) -> VerifierKey:
        key = VerifierKey.parse(text)
        if key.type is not expected:
            raise MalformedTrustPolicyError(f"the key is of type {key.type.name}, not {expected.name}")
        # Also between logs and witnesses: a log that witnesses itself shows nothing.
        if key.public_key in self.keys:
            raise MalformedTrustPolicyError("this public key is listed twice")
        self.keys.add(key.public_key)
        return key

    def _define(self, name: str) -> str:
        if name == NO_QUORUM or name in self.names:
            raise MalformedTrustPolicyError("this name is already defined")
        self.names.add(name)
        return name

    def _group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        for member in members:
            if member not in self.names:
                raise MalformedTrustPolicyError("a group's member is not defined above")
            if member in self.members:
                raise MalformedTrustPolicyError("a name is a group's member twice")
            self.members.add(member)
        count = {"all": len(members), "any": 1}.get(threshold)
        if count is None and _COUNT.fullmatch(threshold):
            count = int(threshold)
        if count is None or count > len(members):
            raise MalformedTrustPolicyError("a group's threshold is not all, any or 1 to its size")
        self.groups.append(Group(name=self._define(name), threshold=count, members=tuple(members)))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise MalformedTrustPolicyError("a policy has two quorum lines")
        if name != NO_QUORUM and name not in self.names:
            raise MalformedTrustPolicyError("the quorum is not defined above")
        self.quorum = name


def _join(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None) + "\n"
