"""`glasshouse-log serve` and `glasshouse-log witness`: the two servers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import PublicKey
from glasshouse_log.errors import MalformedKeyError, MalformedTrustPolicyError
from glasshouse_log.keyfile import parse_key_file
from glasshouse_log.note import KeyType, NoteSigner, VerifierKey
from glasshouse_log.policy import NO_QUORUM, TrustPolicy

from .keygen import read_password

if TYPE_CHECKING:
    from argparse import _SubParsersAction

__all__ = ["add_commands"]

_HOLDERS = {KeyType.ED25519: "log", KeyType.COSIGNATURE_V1: "witness"}


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    serve = commands.add_parser(
        "serve",
        help="serve a log",
        description="Serve a log. An entry is acknowledged once the witness quorum has cosigned it.",
    )
    _add_common(serve)
    serve.add_argument("--store", type=Path, required=True, metavar="DIR", help="the log's directory")
    quorum = serve.add_mutually_exclusive_group(required=True)
    quorum.add_argument("--policy", type=Path, help="tlog-policy with the witnesses, their URLs, the quorum")
    quorum.add_argument(
        "--witness",
        nargs=2,
        action="append",
        metavar=("VKEY", "URL"),
        help="a witness to ask; repeatable; see --quorum",
    )
    quorum.add_argument("--no-witnesses", action="store_true", help="publish unwitnessed checkpoints")
    serve.add_argument(
        "--quorum", default="all", metavar="K", help="with --witness: all (default), any, or how many"
    )
    serve.add_argument(
        "--admit",
        action="append",
        metavar="KEY",
        help="take only envelopes signed by this public key (base64 SPKI); repeatable",
    )
    serve.add_argument(
        "--refresh", type=float, default=3600.0, metavar="SECONDS", help="cosign an idle log anew this often"
    )
    serve.set_defaults(run=_serve)
    witness = commands.add_parser(
        "witness",
        help="serve a witness",
        description="Cosign the checkpoints of logs, each only if it continues the one before.",
    )
    _add_common(witness)
    witness.add_argument("--state", type=Path, required=True, metavar="DIR", help="the witness's directory")
    witness.add_argument(
        "--log", action="append", required=True, metavar="VKEY", help="a log to watch; repeatable"
    )
    witness.set_defaults(run=_witness)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="key file from keygen")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="the key file's password")
    parser.add_argument(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="default %(default)s; 0: any free port",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input ends, as with a parent"
    )


def _serve(options: argparse.Namespace) -> int:
    signer = _read_signer(options, KeyType.ED25519)
    admitted = None if options.admit is None else [_parse_admitted(text) for text in options.admit]
    policy = _read_quorum(options)
    processes, serving = _import_servers()
    if policy.quorum == NO_QUORUM:
        print("glasshouse-log: no witness is asked: clients must say quorum none", file=sys.stderr)
    with serving.bind(serving.parse_address(options.listen)) as listener:
        received = asyncio.run(
            processes.run_log(
                signer=signer,
                store=options.store,
                policy=policy,
                admitted=admitted,
                refresh_interval=options.refresh,
                listener=listener,
                stop_at_eof=options.until_stdin_closes,
            )
        )
    return 130 if received is signal.SIGINT else 0


def _witness(options: argparse.Namespace) -> int:
    signer = _read_signer(options, KeyType.COSIGNATURE_V1)
    logs = [VerifierKey.parse(text) for text in options.log]
    processes, serving = _import_servers()
    with serving.bind(serving.parse_address(options.listen)) as listener:
        received = asyncio.run(
            processes.run_witness(
                signer=signer,
                logs=logs,
                state=options.state,
                listener=listener,
                stop_at_eof=options.until_stdin_closes,
            )
        )
    return 130 if received is signal.SIGINT else 0


def _import_servers() -> tuple[ModuleType, ModuleType]:
    """Return the modules that need the extra, only once they are needed."""
    try:
        from glasshouse_log import processes, serving
    except ModuleNotFoundError as err:
        raise ValueError(f"{err.name} is missing: pip install 'glasshouse-log[server]'") from err
    logging.basicConfig(level=logging.WARNING, format="glasshouse-log: %(message)s")
    return processes, serving


def _read_signer(options: argparse.Namespace, expected: KeyType) -> NoteSigner:
    signer = parse_key_file(options.key.read_bytes(), read_password(options.password_file))
    if signer.type is not expected:
        raise MalformedKeyError(f"{options.key} is the key of a {_HOLDERS[signer.type]}: {signer.name}")
    return signer


def _parse_admitted(text: str) -> PublicKey:
    try:
        return PublicKey.parse(text)
    except MalformedError as err:
        raise MalformedKeyError(f"--admit: {err}") from err


def _read_quorum(options: argparse.Namespace) -> TrustPolicy:
    """Return a policy whose witnesses and quorum the log has to satisfy."""
    if options.policy is not None:
        policy = TrustPolicy.parse(options.policy.read_bytes())
    elif options.no_witnesses:
        policy = TrustPolicy.parse(b"quorum none\n")
    else:
        names = [f"witness-{number}" for number in range(1, len(options.witness) + 1)]
        lines = [
            f"witness {name} {vkey} {url}" for name, (vkey, url) in zip(names, options.witness, strict=True)
        ]
        lines += [f"group quorum {options.quorum} {' '.join(names)}", "quorum quorum", ""]
        policy = TrustPolicy.parse("\n".join(lines).encode())
    missing = [witness.name for witness in policy.witnesses if witness.url is None]
    if missing:
        raise MalformedTrustPolicyError(f"the policy gives no URL for witness {', '.join(missing)}")
    return policy
