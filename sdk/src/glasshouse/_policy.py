"""``trust.toml``: whom a client trusts, and for what. The format is described in ``docs/sdk.md``.

A development and a production policy are two types. Only the first has a place for a simulated launcher's
keys, so that no production policy can accept simulated evidence, whatever its file says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, TypeVar, cast

from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import PublicKey
from glasshouse_log import TrustPolicy

from ._platforms import HARDWARE_PLATFORMS, HardwarePolicies, HardwarePolicy, parse_hardware_policy
from .errors import ConfigurationError, PolicyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Auditors",
    "DevelopmentPolicy",
    "Limits",
    "LogTrust",
    "Maintainers",
    "Organisation",
    "Policy",
    "ProductionPolicy",
    "Trust",
    "load_platform_policy",
    "load_policy",
    "parse_policy",
]

LIMITS = (
    "max_models",
    "max_model_bytes",
    "max_total_model_bytes",
    "max_request_bytes",
    "max_concurrent_requests",
    "inference_timeout_ms",
    "upload_timeout_ms",
)
NO_QUORUM = "none"
_MAX_SIZE = 512 << 10
_MAX_KEYS = 64
_MAX_ORGANISATIONS = 64
_DURATION = re.compile(r"(0|[1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainers:
    """Who may release: at least ``threshold`` of ``keys`` must have signed."""

    threshold: int
    keys: tuple[PublicKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """One auditor. It counts once, however many keys it has."""

    name: str
    keys: tuple[PublicKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditors:
    """Who may audit: at least ``required`` of ``organisations`` must have reproduced the image."""

    required: int
    organisations: tuple[Organisation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTrust:
    """Which logs and witnesses count. ``max_checkpoint_age`` is ``None`` if there is no quorum, only then."""

    witnesses: TrustPolicy
    max_checkpoint_age: timedelta | None

    @property
    def smallest_quorum(self) -> int:
        """How few witnesses together make up the quorum; 0 if none is asked for."""
        needed = {NO_QUORUM: 0, **{witness.name: 1 for witness in self.witnesses.witnesses}}
        for group in self.witnesses.groups:
            needed[group.name] = sum(sorted(needed[member] for member in group.members)[: group.threshold])
        return needed[self.witnesses.quorum]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe about what an image is: steps 2 to 8 of the verification need nothing else."""

    source: str
    maintainers: Maintainers
    auditors: Auditors
    log: LogTrust


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds for fields of the server's configuration, by name."""

    maxima: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentPolicy:
    """Accepts what ``trust`` vouches for, on ``platforms`` or simulated by a holder of ``launcher_keys``."""

    trust: Trust
    platforms: HardwarePolicies
    launcher_keys: tuple[PublicKey, ...]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionPolicy:
    """Accepts what ``trust`` vouches for, on hardware ``platforms`` only."""

    trust: Trust
    platforms: HardwarePolicies
    limits: Limits

    def __post_init__(self) -> None:
        unknown = self.platforms.keys() - HARDWARE_PLATFORMS
        if unknown:
            raise ValueError(f"not a hardware platform: {min(unknown)}")


Policy: TypeAlias = DevelopmentPolicy | ProductionPolicy


def load_policy(path: str | PathLike[str]) -> Policy:
    """Return the policy in a file; raises :class:`ConfigurationError` if there is none, and `PolicyError`."""
    return parse_policy(_read(path))


def load_platform_policy(path: str | PathLike[str], platform: str) -> HardwarePolicy:
    """Return the rules for one platform: TOML with what would stand in ``[platforms.<platform>]`` alone."""
    return _parse_toml(_read(path), lambda table: parse_hardware_policy(platform, table))


def parse_policy(data: bytes) -> Policy:
    """Return the policy that TOML of at most 512 KiB writes.

    Every field is required unless ``docs/sdk.md`` says otherwise, unknown ones are refused.
    Raises :class:`PolicyError`.
    """
    return _parse_toml(data, _parse)


def _read(path: str | PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_SIZE + 1)
    except OSError as err:
        raise ConfigurationError(
            f"the policy {str(path)!r} cannot be read: {err.strerror}",
            hint="give the path of your trust.toml with policy=…, --policy or GLASSHOUSE_POLICY",
        ) from err


_Parsed = TypeVar("_Parsed")


def _parse_toml(data: bytes, parse: Callable[[Document], _Parsed]) -> _Parsed:
    if len(data) > _MAX_SIZE:
        raise PolicyError(f"a policy has at most {_MAX_SIZE} bytes")
    try:
        return parse(Document(cast(JSON, tomllib.loads(data.decode("utf-8"))), "policy"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise PolicyError(f"the policy is not TOML: {err}") from err
    except PolicyError:
        raise
    except MalformedError as err:
        raise PolicyError(str(err)) from err


def _parse(document: Document) -> Policy:
    document.constant("version", 1)
    kind = document.text("kind")
    if kind not in ("development", "production"):
        raise PolicyError("policy.kind is not development or production")
    trust = _parse_trust(document)
    platforms = document.document("platforms")
    launcher_keys = _parse_simulated(platforms) if kind == "development" else ()
    policy: Policy
    allowed = _parse_platforms(platforms)
    limits = _parse_limits(document)
    document.end()
    if kind == "development":
        policy = DevelopmentPolicy(trust=trust, platforms=allowed, launcher_keys=launcher_keys, limits=limits)
    else:
        _check_production(trust)
        policy = ProductionPolicy(trust=trust, platforms=allowed, limits=limits)
    if not allowed and not launcher_keys:
        raise PolicyError("policy.platforms names no platform, so that it would refuse every server")
    return policy


def _check_production(trust: Trust) -> None:
    if trust.auditors.required == 0:
        raise PolicyError("a production policy requires at least one auditor")
    if trust.log.max_checkpoint_age is None:
        raise PolicyError("a production policy requires a quorum of witnesses")


def _parse_trust(document: Document) -> Trust:
    trust = Trust(
        source=document.text("source"),
        maintainers=_parse_maintainers(document.document("maintainers")),
        auditors=_parse_auditors(document.document("auditors")),
        log=_parse_log(document.document("log")),
    )
    everyone = list(trust.maintainers.keys)
    for organisation in trust.auditors.organisations:
        everyone += organisation.keys
    if len(set(everyone)) != len(everyone):
        # Whoever holds it would be counted as two parties.
        raise PolicyError("the policy lists one key twice among its maintainers and auditors")
    return trust


def _parse_maintainers(document: Document) -> Maintainers:
    keys = _parse_keys(document, "keys")
    threshold = document.integer("threshold", minimum=1, maximum=len(keys))
    document.end()
    return Maintainers(threshold=threshold, keys=keys)


def _parse_auditors(document: Document) -> Auditors:
    organisations = tuple(
        _parse_organisation(item)
        for item in document.documents("organisations", max_count=_MAX_ORGANISATIONS)
    )
    required = document.integer("required", maximum=len(organisations))
    document.end()
    if len({organisation.name for organisation in organisations}) != len(organisations):
        raise PolicyError("policy.auditors.organisations has one name twice")
    return Auditors(required=required, organisations=organisations)


def _parse_organisation(document: Document) -> Organisation:
    organisation = Organisation(name=document.text("name", max_length=64), keys=_parse_keys(document, "keys"))
    document.end()
    return organisation


def _parse_keys(document: Document, name: str) -> tuple[PublicKey, ...]:
    texts = document.list(name, max_count=_MAX_KEYS)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise PolicyError(f"the policy's {name} are not a list of one key or more, each a text")
    return tuple(PublicKey.parse(cast(str, text)) for text in texts)


def _parse_log(document: Document) -> LogTrust:
    text = document.value("policy")
    if not isinstance(text, str):
        raise PolicyError("policy.log.policy is not a text")
    witnesses = TrustPolicy.parse(text.rstrip("\n").encode("utf-8") + b"\n")
    origins = [log.key.name for log in witnesses.logs]
    if not origins or len(set(origins)) != len(origins):
        raise PolicyError("policy.log.policy does not name one log or more, each with one key")
    if witnesses.quorum == NO_QUORUM and document.has("max_checkpoint_age"):
        raise PolicyError("policy.log.max_checkpoint_age cannot be held without a quorum of witnesses")
    age = None if witnesses.quorum == NO_QUORUM else _parse_duration(document, "max_checkpoint_age")
    document.end()
    return LogTrust(witnesses=witnesses, max_checkpoint_age=age)


def _parse_duration(document: Document, name: str) -> timedelta:
    match = _DURATION.fullmatch(document.text(name, max_length=16))
    if match is None:
        raise PolicyError(f"policy.log.{name} is not a duration like 24h: a number and s, m, h or d")
    duration = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if not duration:
        raise PolicyError(f"policy.log.{name} is zero, so that it would refuse every checkpoint")
    return duration


def _parse_simulated(platforms: Document) -> tuple[PublicKey, ...]:
    if not platforms.has("simulated"):
        return ()
    simulated = platforms.document("simulated")
    keys = _parse_keys(simulated, "launcher_keys")
    simulated.end()
    return keys


def _parse_platforms(platforms: Document) -> HardwarePolicies:
    """Take the hardware platforms, each with what its technology's policy asks for."""
    names = sorted(HARDWARE_PLATFORMS.intersection(platforms.names()))
    policies = {name: parse_hardware_policy(name, platforms.document(name)) for name in names}
    platforms.end()
    return MappingProxyType(policies)


def _parse_limits(document: Document) -> Limits:
    if not document.has("configuration"):
        return Limits()
    bounds = document.document("configuration")
    maxima = tuple((name, bounds.integer(name)) for name in LIMITS if bounds.has(name))
    bounds.end()
    return Limits(maxima=maxima)
