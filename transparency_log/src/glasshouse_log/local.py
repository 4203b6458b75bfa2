"""A log and its witnesses as child processes on loopback, for development, demonstrations and tests.

>>> with run_local_log(directory) as log:                  # doctest: +SKIP
...     with log.client() as client:
...         proof = client.add(envelope)

The witnesses share one operator, so their cosignatures show how a quorum works and protect nobody.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from glasshouse_attestations.keys import PublicKey

from .client import LogClient
from .errors import LogUnavailableError
from .keyfile import write_new_key_file
from .note import KeyType, NoteSigner, VerifierKey
from .policy import Group, Log, TrustPolicy, Witness

__all__ = ["Child", "LocalLog", "run_local_log"]

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


class Child:
    """One `glasshouse-log` process, on a port of its own that it keeps when restarted."""

    def __init__(self, name: str, arguments: Sequence[str], directory: Path) -> None:
        """Start the process; `wait` until it accepts connections."""
        self._arguments = arguments
        self._stderr = directory / f"{name}.stderr"
        self._process: subprocess.Popen[bytes] | None = None
        self.listen = "127.0.0.1:0"
        self._spawn()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.listen}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process again, on the same port, unless it runs."""
        if self._process is None:
            self._spawn()
            self.wait()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "glasshouse_log", *self._arguments]
        with self._stderr.open("ab") as stderr:
            # The child stops when its standard input ends, so it cannot outlive this process.
            self._process = subprocess.Popen(
                [*command, "--listen", self.listen, "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return once the process accepts connections. Raises LogUnavailableError if it ends instead."""
        if self._process is None:
            raise ValueError("the process does not run")
        try:
            self.listen = json.loads(_first_line(self._process))["listen"]
        except (ValueError, TimeoutError) as err:
            self.kill()
            reason = self._stderr.read_text(errors="replace")[-2000:].strip()
            raise LogUnavailableError(f"a local server did not start: {reason}") from err

    def terminate(self) -> None:
        """Ask the process to end, without waiting for it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not."""
        self.terminate()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End the process at once, wherever it is, with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class LocalLog:
    """A running log: `server` and `witnesses` are its processes, `policy` is what a client should trust.

    `policy` and its text form, `policy_text`, carry the URLs, so nothing else is needed to use the log.
    """

    def __init__(self, directory: Path, policy: TrustPolicy, server: Child, witnesses: list[Child]) -> None:
        """Hold what `run_local_log` has started."""
        self.directory = directory
        self.policy = policy
        self.server = server
        self.witnesses = witnesses

    @property
    def url(self) -> str:
        """The log's URL."""
        return self.server.url

    @property
    def policy_text(self) -> bytes:
        """The policy as a tlog-policy text, such as `trust.toml` contains."""
        return self.policy.encode()

    @property
    def key(self) -> VerifierKey:
        """The log's verifier key; its name is the log's origin."""
        return self.policy.logs[0].key

    def client(self) -> LogClient:
        """Return a client that verifies against `policy`."""
        return LogClient(self.url, self.policy)


@contextlib.contextmanager
def run_local_log(
    directory: Path,
    *,
    witnesses: int = 3,
    quorum: int | None = None,
    origin: str = "log.glasshouse.invalid/local",
    admitted: Collection[PublicKey] | None = None,
) -> Iterator[LocalLog]:
    """Run a log with its witnesses for the length of a `with` block; keys and state go to `directory`.

    `quorum` is how many witnesses must cosign, a majority unless given; with no witnesses it is none. A
    directory used before continues its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log_signer = _signer(directory / "log.key", origin, KeyType.ED25519)
    with contextlib.ExitStack() as stack:
        children: list[Child] = []
        signers: list[VerifierKey] = []
        for number in range(1, witnesses + 1):
            name = f"witness-{number}"
            key_file = directory / f"{name}.key"
            signer = _signer(key_file, f"{name}.{origin}", KeyType.COSIGNATURE_V1)
            state = str(directory / name)
            log_key = log_signer.encode()
            arguments = ["witness", "--key", str(key_file), "--state", state, "--log", log_key]
            child = Child(name, arguments, directory)
            stack.callback(child.kill)
            children.append(child)
            signers.append(signer)
        for child in children:
            child.wait()
        trusted = [
            Witness(name=f"witness-{number}", key=signer, url=child.url)
            for number, (signer, child) in enumerate(zip(signers, children, strict=True), 1)
        ]
        policy = _policy(Log(key=log_signer), trusted, quorum)
        (directory / "witnesses.policy").write_bytes(policy.encode())
        arguments = ["serve", "--key", str(directory / "log.key"), "--store", str(directory / "log")]
        arguments += ["--policy", str(directory / "witnesses.policy")]
        for key in admitted or ():
            arguments += ["--admit", key.encode()]
        server = Child("log", arguments, directory)
        stack.callback(_stop_together, [server, *children])
        server.wait()
        policy = _policy(Log(key=log_signer, url=server.url), trusted, quorum)
        log = LocalLog(directory, policy, server, children)
        _wait_until_published(log)
        yield log


def _stop_together(children: Sequence[Child]) -> None:
    """Ask all to end before waiting for each."""
    for child in children:
        child.terminate()
    for child in children:
        child.stop()


def _signer(path: Path, name: str, key_type: KeyType) -> VerifierKey:
    """Return the public half of a key file, which is made if it is not there."""
    if not path.exists():
        write_new_key_file(path, NoteSigner.generate(name, key_type))
    with path.open("rb") as file:
        return VerifierKey.parse(file.readline().decode().rstrip("\n"))


def _policy(log: Log, witnesses: Sequence[Witness], quorum: int | None) -> TrustPolicy:
    if not witnesses:
        return TrustPolicy(logs=(log,), witnesses=(), groups=(), quorum="none")
    threshold = len(witnesses) // 2 + 1 if quorum is None else quorum
    if not 1 <= threshold <= len(witnesses):
        raise ValueError(f"{threshold} of {len(witnesses)} witnesses is no quorum")
    members = tuple(witness.name for witness in witnesses)
    group = Group(name="quorum", threshold=threshold, members=members)
    return TrustPolicy(logs=(log,), witnesses=tuple(witnesses), groups=(group,), quorum=group.name)


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    if process.stdout is None:
        raise ValueError("the process has no standard output")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_SECONDS):
            raise TimeoutError
    return process.stdout.readline()


def _wait_until_published(log: LocalLog) -> None:
    """Wait for the first checkpoint, for which the witnesses are asked once the log runs."""
    deadline = time.monotonic() + _START_SECONDS
    with log.client() as client:
        while True:
            try:
                client.checkpoint()
            except LogUnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
