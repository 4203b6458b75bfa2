"""A real enclave server whose bundle comes from a chain in memory, and a policy that trusts that chain."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from glasshouse import Connection
from support.chain import Chain
from support.enclave_process import Launcher
from support.enclave_server import ALICE, Started, start_server

__all__ = ["Served", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running enclave, the chain that vouches for it, and a policy that trusts this chain."""

    chain: Chain
    started: Started
    policy_file: Path
    state: Path

    @property
    def address(self) -> str:
        return self.started.enclave.address

    def connect(self, **changes: Any) -> Connection:
        options: dict[str, Any] = {"policy": self.policy_file, "api_key": ALICE, "state": self.state}
        return Connection(self.address, **{**options, **changes})

    def staple(self, bundle: bytes) -> None:
        """Give the server another bundle, which it reads at the next request."""
        (self.started.directory / "bundle.json").write_bytes(bundle)


def serve(stack: ExitStack, folder: Path, **options: Any) -> Served:
    chain = Chain(
        sha256=Launcher.image_sha256,
        sha384=Launcher.image_sha384,
        now=datetime.now(timezone.utc).replace(microsecond=0),
    )
    started = start_server(stack, bundle=chain.bundle().encode(), **options)
    chain.launcher = started.launcher.key
    policy_file = folder / "trust.toml"
    policy_file.write_text(chain.policy_text(), encoding="utf-8")
    return Served(chain=chain, started=started, policy_file=policy_file, state=folder / "state")
