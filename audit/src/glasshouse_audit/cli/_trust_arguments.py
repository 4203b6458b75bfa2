"""Arguments of the commands that sign, log and verify: a policy, a log, keys, periods and a release."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from glasshouse import Policy, load_policy
from glasshouse_attestations.keys import SigningKey
from glasshouse_audit import keygen
from glasshouse_audit.errors import KeyFileError, SourceError
from glasshouse_audit.publication import RELEASES_FOLDER
from glasshouse_log.client import LogClient

__all__ = [
    "add_keys",
    "add_log",
    "add_release",
    "add_trust",
    "add_validity",
    "check_maintainers",
    "is_auditor",
    "log_of",
    "now",
    "policy_of",
    "release_folder",
    "signing_keys",
]

_TRUST, _LOG, _KEY = "GLASSHOUSE_TRUST", "GLASSHOUSE_LOG", "GLASSHOUSE_KEY"
_PERIOD = re.compile(r"([1-9][0-9]{0,3})d", re.ASCII)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        "--trust",
        type=Path,
        default=os.environ.get(_TRUST),
        metavar="FILE",
        help=f"the policy, trust.toml (default: {_TRUST})",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Add ``--log``."""
    parser.add_argument(
        "--log",
        default=os.environ.get(_LOG),
        metavar="URL",
        help=f"where the log takes entries (default: {_LOG}, then what the policy says)",
    )


def add_keys(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Add ``--key``, of which there can be several, and ``--password-file``."""
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        metavar="FILE",
        help=f"the private key that signs{', repeatable' if several else ''} (default: {_KEY})",
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"the key's password (default: {keygen.PASSWORD_VARIABLE}, then the terminal)",
    )


def add_release(parser: argparse.ArgumentParser) -> None:
    """Add the release that a command is about."""
    parser.add_argument("release", metavar="RELEASE", help="a version, or the folder of a release")


def add_validity(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add ``--validity``."""
    parser.add_argument(
        "--validity",
        type=_period,
        default=default,
        metavar="DAYS",
        help=f"how long the statement holds, such as {default} (the default)",
    )


def policy_of(parsed: argparse.Namespace) -> Policy:
    """Return the policy that the arguments or the environment name."""
    if parsed.trust is None:
        raise SourceError("no policy is given", hint=f"give --trust trust.toml, or set {_TRUST}")
    return load_policy(parsed.trust)


def log_of(parsed: argparse.Namespace, policy: Policy) -> LogClient:
    """Return a client of the log that the arguments, the environment or the policy name."""
    witnesses = policy.trust.log.witnesses
    known = [log.url for log in witnesses.logs if log.url is not None]
    url = parsed.log or (known[0] if known else None)
    if url is None:
        raise SourceError("no log is given", hint=f"give --log URL, or set {_LOG}")
    return LogClient(url, witnesses)


def signing_keys(parsed: argparse.Namespace) -> tuple[SigningKey, ...]:
    """Return the keys that the arguments or the environment name: at least one."""
    named = os.environ.get(_KEY)
    paths = parsed.key or ([Path(named)] if named else [])
    if not paths:
        raise KeyFileError("no key is given", hint=f"give --key FILE, or set {_KEY}")
    return tuple(keygen.load(path, password_file=parsed.password_file) for path in paths)


def check_maintainers(keys: Sequence[SigningKey], policy: Policy) -> None:
    """Return if ``keys`` can release under ``policy``; what nobody accepts need not be built, or logged."""
    maintainers = policy.trust.maintainers
    signers = {key.public_key for key in keys}
    if not signers <= set(maintainers.keys):
        raise KeyFileError(
            "a key is not one of the policy's maintainers",
            hint="the public key that keygen printed belongs under [maintainers] of the policy",
        )
    if len(signers) < maintainers.threshold:
        raise KeyFileError(
            f"the policy wants {maintainers.threshold} maintainers, and {len(signers)} would sign",
            hint="give --key once for each of them",
        )


def is_auditor(key: SigningKey, policy: Policy) -> bool:
    """Whether the audits of ``key`` count for those who have ``policy``."""
    return any(key.public_key in organisation.keys for organisation in policy.trust.auditors.organisations)


def release_folder(name: str, tree: Path) -> Path:
    """Return the folder of the release ``name``: a path, or a version published in ``tree``."""
    published = tree / RELEASES_FOLDER / name
    return published if published.is_dir() else Path(name)


def now() -> datetime:
    """Return the time in UTC, to the second, as statements carry it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def _period(text: str) -> timedelta:
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("a period is a number of days, such as 90d")
    return timedelta(days=int(match[1]))
