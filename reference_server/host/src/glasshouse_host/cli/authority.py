"""``glasshouse-host ca``: the authority that certifies the attestation keys of this operator's vTPMs."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_host.certificate_authority import CertificateAuthority

if TYPE_CHECKING:
    from . import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command ``ca``."""
    parser = commands.add_parser(
        "ca",
        help="make the authority that certifies the keys of virtual TPMs",
        description="Write a fresh certificate authority, whose key is readable by you alone, and print the "
        "SHA-256 of its root, which a policy names under platforms.tpm.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="must not have an authority yet")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    authority = CertificateAuthority.generate(now=datetime.now(timezone.utc))
    authority.write(options.folder)
    root = authority.root_sha256.hex()
    print(
        json.dumps({"schema": "glasshouse/vtpm-authority/v1", "rootSha256": root}) if options.json else root
    )
