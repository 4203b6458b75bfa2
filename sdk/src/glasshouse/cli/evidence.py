"""``glasshouse evidence``: look at evidence, and verify it, from a file."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_attestations.document import parse_time
from glasshouse_attestations.evidence import MAX_EVIDENCE_SIZE, Evidence

from .._policy import load_platform_policy, load_policy
from ..errors import ConfigurationError, MalformedError

if TYPE_CHECKING:
    from .._evidence_verdict import EvidenceVerdict

__all__ = ["add_to", "read_evidence", "read_file", "read_time"]

_NOT_VERIFIED = "nothing here has been verified: anybody can write such a file"
_TREE_SCHEMA = "glasshouse/evidence-tree/v1"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evidence",
        help="look at, or verify, evidence in a file",
        description="Look at evidence in a file, or verify it. No server is asked.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_inspect(actions)
    _add_verify(actions)


def _add_inspect(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "inspect",
        help="show what evidence says, unverified",
        description="Show what evidence says, field by field, with the specification's names and every bit"
        " by name. Takes evidence as a server sends it, or a raw SEV-SNP report, SGX or TDX quote, Nitro"
        " document, TPMS_ATTEST, HCL report or SPDM report. Verifies nothing.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the evidence")
    parser.add_argument("--json", action="store_true", help="print the tree as JSON")
    parser.set_defaults(run=_inspect)


def _add_verify(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "verify",
        help="verify evidence under a policy",
        description="Verify evidence up to its vendor's root, under the rules that a policy has for its"
        " platform. Prints every check, the claims, and what is not proven. Registers and report data are"
        " shown, and compared with nothing: only `glasshouse verify` knows a release and a channel.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the evidence, or the raw quote in it")
    rules = parser.add_mutually_exclusive_group(required=True)
    rules.add_argument("--policy", metavar="FILE", type=Path, help="a trust.toml that names the platform")
    rules.add_argument(
        "--platform-policy",
        metavar="FILE",
        type=Path,
        help="TOML with the fields of the platform's table alone",
    )
    parser.add_argument(
        "--at", metavar="TIME", help="the time to verify for, like 2030-01-31T12:00:00Z (now)"
    )
    parser.add_argument(
        "--endorsement",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="something that belongs to a raw quote, such as vcek=FILE or collateral=FILE; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.set_defaults(run=_verify)


def _inspect(arguments: argparse.Namespace) -> int:
    from .._inspection import inspect, to_json, to_text

    tree = inspect(read_file(arguments.file))
    if arguments.json:
        document = {"schema": _TREE_SCHEMA, "verified": False, "note": _NOT_VERIFIED, "tree": to_json(tree)}
        print(json.dumps(document, indent=2))
    else:
        print("\n".join([_NOT_VERIFIED, "", *to_text(tree)]))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    verdict = _verdict(arguments)
    print(verdict.to_json() if arguments.json else verdict.to_table())
    return verdict.outcome.exit_code


def _verdict(arguments: argparse.Namespace) -> EvidenceVerdict:
    from .._evidence_verdict import judge

    evidence = read_evidence(arguments.file, arguments.endorsement)
    now = read_time(arguments.at)
    if arguments.policy is not None:
        return judge(evidence, load_policy(arguments.policy), now=now)
    return judge(evidence, load_platform_policy(arguments.platform_policy, evidence.platform), now=now)


def read_evidence(path: Path, endorsements: list[str]) -> Evidence:
    """Return the evidence in a file, with endorsements that are each given as ``NAME=FILE``."""
    from .._inspection import parse_evidence

    given: dict[str, bytes] = {}
    for text in endorsements:
        name, separator, file = text.partition("=")
        if not separator or not name or name in given:
            raise ConfigurationError(
                f"an endorsement is given as {text!r}", hint="write --endorsement vcek=FILE, each name once"
            )
        given[name] = read_file(Path(file))
    return parse_evidence(read_file(path), given)


def read_file(path: Path) -> bytes:
    """Return a file's content, which is at most as long as evidence may be."""
    with path.open("rb") as file:
        data = file.read(MAX_EVIDENCE_SIZE + 1)
    if len(data) > MAX_EVIDENCE_SIZE:
        raise MalformedError(f"{path.name} has more than {MAX_EVIDENCE_SIZE} bytes")
    return data


def read_time(text: str | None) -> datetime:
    """Return the time that ``text`` writes, or now."""
    return datetime.now(timezone.utc) if text is None else parse_time(text, "--at")
