"""The two server processes, wired together: what runs inside `glasshouse-log serve` and `witness`."""

from __future__ import annotations

import signal
import socket
from collections.abc import Collection, Sequence
from pathlib import Path

import httpx

from glasshouse_attestations.keys import PublicKey

from .asking import WitnessQuorum
from .client import is_loopback
from .note import NoteSigner, VerifierKey
from .policy import TrustPolicy
from .sequencer import Sequencer
from .server import create_app
from .serving import serve
from .storage import Storage
from .witness import Witness
from .witness_server import create_witness_app

__all__ = ["run_log", "run_witness"]


async def run_log(
    *,
    signer: NoteSigner,
    store: Path,
    policy: TrustPolicy,
    admitted: Collection[PublicKey] | None,
    refresh_interval: float,
    listener: socket.socket,
    stop_at_eof: bool,
) -> signal.Signals:
    """Serve the log in `store` until a signal, which is returned. The policy's witnesses are asked."""
    # A proxy of the environment does not stand between this machine's log and this machine's witnesses.
    trust_env = not all(is_loopback(witness.url or "") for witness in policy.witnesses)
    with Storage(store) as storage:
        async with httpx.AsyncClient(trust_env=trust_env) as client:
            witnesses = WitnessQuorum(policy, client)
            sequencer = Sequencer(storage, signer, witnesses, refresh_interval=refresh_interval)
            app = create_app(storage, sequencer, admitted=admitted)
            return await serve(app, listener, worker=sequencer.run, stop_at_eof=stop_at_eof)


async def run_witness(
    *,
    signer: NoteSigner,
    logs: Sequence[VerifierKey],
    state: Path,
    listener: socket.socket,
    stop_at_eof: bool,
) -> signal.Signals:
    """Serve a witness until a signal, which is returned."""
    witness = Witness(signer, logs, state)
    try:
        return await serve(create_witness_app(witness), listener, stop_at_eof=stop_at_eof)
    finally:
        witness.close()
