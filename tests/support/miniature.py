"""A repository in miniature: a real git repository whose own builder makes a small image in no time.

Releases and audits build a commit with the builder of that commit, so that here everything is real but the
image's size. What the builder does is in the file ``enclave.txt``, which also is the image's content:
``fail`` makes it fail, ``depends on TZ`` makes the image depend on the time zone, and one that
``knows simulated only`` predicts nothing for other platforms.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from glasshouse import Policy, parse_policy
from glasshouse_attestations.keys import PublicKey, SigningKey
from glasshouse_audit.publication import Publication
from glasshouse_audit.release import Order, Released, release
from glasshouse_log.local import LocalLog

from .repository import DISTRIBUTIONS, ROOT

SOURCE = "https://example.com/glasshouse"
VERSION = "1.2.3"

# What the miniature lacks, such as measuring, is that of the tool under test.
_PACKAGE = "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"

_BUILDER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from .measure import measure
from .synthetic_pe import make_pe

def main():
    tree, output = (Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--tree", "--output"))
    content = (tree / "enclave.txt").read_bytes()
    if content.startswith(b"fail"):
        print("glasshouse-audit: the builder was told to fail", file=sys.stderr)
        print("hint: tell it otherwise", file=sys.stderr)
        return 2
    if content.startswith(b"depends on TZ"):
        content += os.environ["TZ"].encode()
    sections = dict.fromkeys((".osrel", ".initrd", ".uname", ".sbat"), content)
    kernel = make_pe({".text": b"kernel"})
    image = make_pe({**sections, ".cmdline": b"console=ttyS0", ".linux": kernel})
    output.write_bytes(image)
    measurements = measure(image)
    if content.startswith(b"knows simulated only"):
        values = measurements.reference_values
        known = {"simulated": values.platforms["simulated"]}
        measurements = replace(measurements, reference_values=replace(values, platforms=known))
    output.with_name("measurements.json").write_bytes(measurements.encode())
    return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miniature:
    """The working tree of the repository."""

    tree: Path

    def git(self, *arguments: str) -> str:
        """Run git in the tree and return what it prints."""
        who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com")
        command = ["git", "-C", str(self.tree), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, content: str) -> bytes:
        """Commit ``content`` as what the image is made of, and return the commit."""
        (self.tree / "enclave.txt").write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", content or "empty")
        return bytes.fromhex(self.git("rev-parse", "HEAD"))


def make_repository(tree: Path, content: str = "the enclave\n") -> Miniature:
    """Make the repository in ``tree``, with one commit."""
    for distribution in DISTRIBUTIONS:
        folder = tree / distribution.folder
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{distribution.package}"\nversion = "{VERSION}"\n'
        )
    builder = tree / "audit" / "src" / "glasshouse_audit"
    builder.mkdir(parents=True)
    (builder / "__init__.py").write_text(_PACKAGE)
    (builder / "cli.py").write_text(_BUILDER)
    shutil.copy(Path(__file__).with_name("synthetic_pe.py"), builder)
    shutil.copytree(ROOT / "reference_server" / "image", tree / "reference_server" / "image")
    miniature = Miniature(tree=tree)
    miniature.git("init", "--quiet", "--initial-branch", "main")
    miniature.commit(content)
    return miniature


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who signs: a maintainer, and auditors of as many organisations."""

    maintainer: SigningKey
    auditors: tuple[SigningKey, ...]

    @classmethod
    def meet(cls, auditors: int = 2) -> People:
        """Return people with fresh keys."""
        return cls(
            maintainer=SigningKey.generate(),
            auditors=tuple(SigningKey.generate() for _ in range(auditors)),
        )


def policy_toml(
    people: People,
    log: LocalLog,
    *,
    required: int = 2,
    launcher: PublicKey | None = None,
    kind: str = "development",
    log_policy: str | None = None,
) -> str:
    """Return a ``trust.toml`` that trusts these people, this log and, for development, this launcher."""
    platform = (
        f'[platforms.simulated]\nlauncher_keys = ["{launcher.encode()}"]' if launcher else "[platforms.snp]"
    )
    organisations = "".join(
        f'[[auditors.organisations]]\nname = "auditor-{number}"\nkeys = ["{key.public_key.encode()}"]\n'
        for number, key in enumerate(people.auditors, start=1)
    )
    return f"""
version = 1
kind = "{kind}"
source = "{SOURCE}"
[maintainers]
threshold = 1
keys = ["{people.maintainer.public_key.encode()}"]
[auditors]
required = {required}
{organisations}
[log]
max_checkpoint_age = "24h"
policy = '''
{log_policy or log.policy_text.decode()}'''
{platform}
"""


def policy_of(people: People, log: LocalLog, *, required: int = 2) -> Policy:
    """Return the parsed policy of :func:`policy_toml`."""
    return parse_policy(policy_toml(people, log, required=required).encode())


def now() -> datetime:
    """Return the time, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def release_of(
    miniature: Miniature,
    people: People,
    log: LocalLog,
    *,
    version: str = VERSION,
    trusted: People | None = None,
) -> Released:
    """Release what the repository has checked out, under a policy that trusts ``trusted``, or the people."""
    moment = now()
    order = Order(
        version=version,
        tree=miniature.tree,
        repository=SOURCE,
        not_before=moment,
        not_after=moment.replace(year=moment.year + 1),
    )
    with log.client() as client:
        return release(
            order,
            keys=[people.maintainer],
            policy=policy_of(trusted or people, log),
            log=client,
            now=moment,
            tell=lambda _: None,
        )


def written(released: Released, folder: Path) -> Path:
    """Write a release's folder and its image beside it, and return the folder."""
    released.publication.write(folder)
    folder.with_name("enclave.efi").write_bytes(released.image)
    assert Publication.read(folder) == released.publication
    return folder
