"""`glasshouse-log add`, `prove`, `verify`, `bundle` and `monitor`: what users of a log do."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_attestations import dsse
from glasshouse_attestations.errors import MalformedError
from glasshouse_log.durable import write_durably
from glasshouse_log.errors import SplitViewError
from glasshouse_log.merkle import leaf_hash
from glasshouse_log.policy import TrustPolicy
from glasshouse_log.verification import VerifiedCheckpoint, VerifiedEntry, verify_entry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from glasshouse_log.client import LogClient

__all__ = ["add_commands"]


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    add = commands.add_parser(
        "add", help="add an envelope, get its proof", description="Add a DSSE envelope to a log."
    )
    add.add_argument("entry", type=Path, help="the envelope's file")
    _add_log(add)
    _add_output(add, "the proof")
    add.set_defaults(run=_add)

    prove = commands.add_parser(
        "prove", help="get the proof of an entry", description="Get an entry's proof from a log that has it."
    )
    prove.add_argument("entry", type=Path, help="the entry's file")
    _add_log(prove)
    _add_output(prove, "the proof")
    prove.set_defaults(run=_prove)

    verify = commands.add_parser(
        "verify",
        help="check a proof, offline",
        description="Check offline that a log has an entry, and that the policy's witnesses saw it.",
    )
    verify.add_argument("entry", type=Path, help="the entry's file")
    verify.add_argument("proof", type=Path, help="its .tlog-proof file")
    _add_policy(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)

    bundle = commands.add_parser(
        "bundle", help="make a transparency bundle", description="Make a bundle of envelopes that a log has."
    )
    bundle.add_argument("entries", type=Path, nargs="+", metavar="entry", help="the envelopes' files")
    _add_log(bundle)
    _add_output(bundle, "the bundle")
    bundle.set_defaults(run=_bundle)

    monitor = commands.add_parser(
        "monitor",
        help="read what is new, check that nothing changed",
        description="Check that a log continues what it was at the last call, and print its new entries.",
    )
    _add_log(monitor)
    monitor.add_argument("--state", type=Path, required=True, help="where the last checkpoint is remembered")
    monitor.add_argument("--json", action="store_true", help="print one JSON object for each new entry")
    monitor.set_defaults(run=_monitor)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, required=True, help="whom you trust: a tlog-policy file")


def _add_log(parser: argparse.ArgumentParser) -> None:
    _add_policy(parser)
    parser.add_argument("--log", metavar="URL", help="the log, unless the policy gives one URL")


def _add_output(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"write {what} here, not to stdout")


def _add(options: argparse.Namespace) -> int:
    with _open_log(options) as client:
        _write(options.output, client.add(options.entry.read_bytes()))
    return 0


def _prove(options: argparse.Namespace) -> int:
    with _open_log(options) as client:
        _write(options.output, client.prove(options.entry.read_bytes()))
    return 0


def _bundle(options: argparse.Namespace) -> int:
    with _open_log(options) as client:
        _write(options.output, client.build_bundle([path.read_bytes() for path in options.entries]).encode())
    return 0


def _verify(options: argparse.Namespace) -> int:
    policy = TrustPolicy.parse(options.policy.read_bytes())
    entry = verify_entry(options.entry.read_bytes(), options.proof.read_bytes(), policy, now=_now())
    print(json.dumps(_as_json(entry), sort_keys=True) if options.json else _as_text(entry))
    return 0


def _monitor(options: argparse.Namespace) -> int:
    from glasshouse_log.monitor import read_news

    remembered = options.state.read_bytes() if options.state.exists() else None
    with _open_log(options) as client:
        try:
            news = read_news(client, remembered)
        except SplitViewError as err:
            evidence = options.state.with_name(f"{options.state.name}.evidence")
            write_durably(evidence, err.remembered + b"\n" + err.offered)
            print(f"glasshouse-log: both checkpoints are kept in {evidence}", file=sys.stderr)
            raise
        for index, entry in news.entries():
            print(_describe(index, entry, as_json=options.json))
        write_durably(options.state, news.checkpoint.raw)
    print(f"glasshouse-log: {_summary(news.checkpoint)}", file=sys.stderr)
    return 0


def _open_log(options: argparse.Namespace) -> LogClient:
    try:
        from glasshouse_log.client import LogClient
    except ModuleNotFoundError as err:
        raise ValueError(f"{err.name} is missing: pip install 'glasshouse-log[client]'") from err
    policy = TrustPolicy.parse(options.policy.read_bytes())
    urls = [options.log] if options.log else [log.url for log in policy.logs if log.url]
    if len(urls) != 1:
        raise ValueError("say which log: --log URL, or a policy with exactly one log that has a URL")
    return LogClient(urls[0], policy)


def _write(output: Path | None, data: bytes) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_durably(output, data)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _as_json(entry: VerifiedEntry) -> dict[str, object]:
    checkpoint = entry.checkpoint
    return {
        "schema": "glasshouse/log-verification/v1",
        "verified": True,
        "origin": checkpoint.origin,
        "index": entry.index,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "quorum": checkpoint.quorum,
        "witnessed": checkpoint.is_witnessed,
        "cosigned": [{"witness": name, "time": time.isoformat()} for name, time in checkpoint.cosigned],
    }


def _as_text(entry: VerifiedEntry) -> str:
    return f"entry {entry.index} is in {_summary(entry.checkpoint)}"


def _summary(checkpoint: VerifiedCheckpoint) -> str:
    if checkpoint.witnessed_at is None:
        witnessed = "no witness (quorum none)"
    else:
        names = ", ".join(name for name, _ in checkpoint.cosigned)
        witnessed = f"witnessed at {checkpoint.witnessed_at.isoformat()} by {names}"
    return f"{checkpoint.origin}, {checkpoint.size} entries, {witnessed}"


def _describe(index: int, entry: bytes, *, as_json: bool) -> str:
    """Return a line about an entry; of its content, only what the envelope's parser found printable."""
    try:
        payload_type = dsse.Envelope.parse(entry).payload_type
    except MalformedError:
        payload_type = "not an envelope"
    leaf = leaf_hash(entry).hex()
    if not as_json:
        return f"{index} {leaf} {payload_type}"
    fields = {"schema": "glasshouse/log-entry/v1", "index": index, "leafHash": leaf}
    return json.dumps({**fields, "payloadType": payload_type}, sort_keys=True)
