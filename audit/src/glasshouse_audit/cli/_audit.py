"""``glasshouse-audit audit``: rebuild a release, compare, and sign and log the verdict, whatever it is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_audit.audit import Finding, examine, expected_release, log_finding
from glasshouse_audit.errors import KeyFileError
from glasshouse_audit.measure import read_image
from glasshouse_audit.publication import Publication

from ._arguments import Commands, add_json, add_tree, print_comparison, tree_of
from ._trust_arguments import (
    add_keys,
    add_log,
    add_release,
    add_trust,
    add_validity,
    is_auditor,
    log_of,
    now,
    policy_of,
    release_folder,
    signing_keys,
)

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="rebuild a release, and sign and log the verdict",
        description="Clone the released commit, rebuild the image, compare it with the release statement, "
        "and sign and log what came of it. Exits with 0 if it was reproduced, 1 if it differs, 2 if it "
        "could not be checked.",
    )
    add_release(parser)
    add_keys(parser, several=False)
    add_log(parser)
    add_trust(parser)
    add_tree(parser)
    parser.add_argument(
        "--source",
        default=None,
        metavar="REPOSITORY",
        help="path or address of the git repository to clone (default: the one you are in)",
    )
    parser.add_argument(
        "--image",
        type=Path,
        default=None,
        metavar="FILE",
        help="the image as it is distributed, to name what differs; nothing is expected from it",
    )
    add_validity(parser, default="365d")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Audit, log, and print the verdict; the exit code is the verdict's."""
    tree = tree_of(parsed)
    folder = release_folder(parsed.release, tree)
    policy, keys = policy_of(parsed), signing_keys(parsed)
    if len(keys) != 1:
        raise KeyFileError("an audit is signed with one key")
    if not is_auditor(keys[0], policy):
        _tell("this key is no auditor's in the policy: the audit will not count for those who have it")
    image = None if parsed.image is None else read_image(parsed.image)
    release = expected_release(Publication.read(folder), policy, now=now())
    finding = examine(
        release,
        source=parsed.source or tree,
        image=image,
        now=now(),
        validity=parsed.validity,
        tell=_tell,
        with_progress=sys.stderr.isatty(),
    )
    if finding.failure is not None:
        _tell(str(finding.failure))
        _tell_hint(finding.failure.hint)
    _tell(f"signing and logging the verdict: {finding.audit.verdict.value}")
    with log_of(parsed, policy) as log:
        path = log_finding(folder, finding, keys[0], log)
    _print(finding, path, as_json=parsed.json)
    return finding.exit_code


def _print(finding: Finding, path: Path, *, as_json: bool) -> None:
    audit, comparison = finding.audit, finding.comparison
    rebuilt = None if audit.rebuilt_sha256 is None else audit.rebuilt_sha256.hex()
    if as_json:
        document: JSON = {
            "schema": "glasshouse/audit-result/v1",
            "verdict": audit.verdict.value,
            "confirmed": finding.is_confirmed,
            "released": {"sha256": audit.image_sha256.hex()},
            "rebuilt": None if rebuilt is None else {"sha256": rebuilt},
            "comparison": None if comparison is None else comparison.to_json(),
            "statement": str(path),
        }
        print(canonical_json.encode(document).decode("utf-8"))
        return
    print(f"verdict: {audit.verdict.value}")
    print(f"released: sha256 {audit.image_sha256.hex()}")
    print(f"rebuilt: {'nothing' if rebuilt is None else f'sha256 {rebuilt}'}")
    if rebuilt is not None and not finding.is_confirmed and rebuilt == audit.image_sha256.hex():
        print("the release states other reference values than the image measures to")
    if comparison is not None:
        print_comparison(comparison, names=("distributed", "rebuilt"), as_json=False)
    print(f"statement: {path}")


def _tell(message: str) -> None:
    print(f"glasshouse-audit: {message}", file=sys.stderr, flush=True)


def _tell_hint(hint: str | None) -> None:
    if hint:
        print(f"hint: {hint}", file=sys.stderr, flush=True)
