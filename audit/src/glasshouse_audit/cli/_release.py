"""``glasshouse-audit release``: build twice, compare, sign, log, verify; print how to publish."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_audit.build import write_atomically
from glasshouse_audit.errors import SourceError
from glasshouse_audit.publication import RELEASES_FOLDER
from glasshouse_audit.release import Order, Released, publish_commands, release

from ._arguments import Commands, add_json, add_tree, tree_of
from ._trust_arguments import (
    add_keys,
    add_log,
    add_trust,
    add_validity,
    check_maintainers,
    log_of,
    now,
    policy_of,
    signing_keys,
)

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "release",
        help="build a commit twice, sign and log the release, and verify it",
        description="Build the checked-out commit in two clones, compare, sign and log the release, verify "
        "it as a client would, and write its folder. Publishes nothing: it prints the commands that do.",
    )
    parser.add_argument("version", metavar="X.Y.Z", help="the version, which every distribution must have")
    add_keys(parser, several=True)
    add_log(parser)
    add_trust(parser)
    add_tree(parser)
    parser.add_argument(
        "--repository", default=None, metavar="R", help="the source to name (default: what the policy says)"
    )
    add_validity(parser, default="365d")
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="FOLDER",
        help=f"the folder to write (default: {RELEASES_FOLDER}/X.Y.Z in the tree)",
    )
    parser.add_argument(
        "--image",
        type=Path,
        default=None,
        metavar="FILE",
        help="where to write the image (default: dist/X.Y.Z/enclave.efi in the tree)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Release, write the folder and the image, and print the report and the publish commands."""
    tree = tree_of(parsed)
    folder = parsed.output or tree / RELEASES_FOLDER / parsed.version
    image = parsed.image or tree / "dist" / parsed.version / "enclave.efi"
    if folder.exists():
        raise SourceError(f"{folder} exists", hint="a published version stays as it is: release another one")
    policy, moment = policy_of(parsed), now()
    order = Order(
        version=parsed.version,
        tree=tree,
        repository=parsed.repository or policy.trust.source,
        not_before=moment,
        not_after=moment + parsed.validity,
    )
    keys = signing_keys(parsed)
    check_maintainers(keys, policy)
    with log_of(parsed, policy) as log:
        released = release(
            order,
            keys=keys,
            policy=policy,
            log=log,
            now=moment,
            tell=_tell,
            with_progress=sys.stderr.isatty(),
        )
    image.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(image, released.image)
    released.publication.write(folder)
    required = policy.trust.auditors.required
    _tell(f"not checked: audits. The policy requires {required}; nobody could audit it before it was logged")
    commands = publish_commands(order, released.release.source.commit, folder=folder, image=image)
    _print(released, folder, commands, as_json=parsed.json)
    return 0


def _print(released: Released, folder: Path, commands: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        document: JSON = {
            "schema": "glasshouse/release-result/v1",
            "image": {"sha256": released.release.image_sha256.hex()},
            "folder": str(folder),
            "publish": [*commands],
            "verification": released.report.to_json(),
        }
        print(canonical_json.encode(document).decode("utf-8"))
        return
    print(released.report.to_table())
    print(f"{folder}: version {released.release.version}, image sha256 {released.release.image_sha256.hex()}")
    print("to publish it, read and run:")
    for command in commands:
        print(f"    {command}")


def _tell(message: str) -> None:
    print(f"glasshouse-audit: {message}", file=sys.stderr, flush=True)
