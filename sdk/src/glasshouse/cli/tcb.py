"""``glasshouse tcb``: what of a machine's evidence expires or falls behind, before clients refuse it."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timedelta
from pathlib import Path

from glasshouse_attestations.document import format_time

from .._deadlines import Deadline, State, deadlines_of_file
from ..errors import MalformedError
from .evidence import read_file, read_time

__all__ = ["add_to"]

_SCHEMA = "glasshouse/tcb-status/v1"
_MAX_DAYS = 3650


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tcb",
        help="see what of evidence expires or falls behind",
        description="See what of a machine's evidence expires or falls behind.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser(
        "status",
        help="list every deadline, and warn of those that are near",
        description="List until when certificates, revocation lists and collateral are current, and how the"
        " vendor judges the firmware. Exits with 1 if anything expires within the days given, has expired, or"
        " is behind. Verifies nothing: dates are what the files say.",
    )
    status.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="evidence, a raw quote, collateral, certificates or a revocation list",
    )
    status.add_argument(
        "--days", metavar="N", type=_days, default=7, help="how far to look ahead (default: 7)"
    )
    status.add_argument("--at", metavar="TIME", help="the time to look from, like 2030-01-31T12:00:00Z (now)")
    status.add_argument("--json", action="store_true", help="print the list as JSON")
    status.set_defaults(run=_status)


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"not a number of days from 0 to {_MAX_DAYS}")
    return days


def _status(arguments: argparse.Namespace) -> int:
    now, within = read_time(arguments.at), timedelta(days=arguments.days)
    found = [(path, each) for path in arguments.files for each in _deadlines(path)]
    rows = [(path, each, each.state(now, within=within)) for path, each in found]
    is_good = all(state is State.CURRENT for _, _, state in rows)
    print(_to_json(rows, now, arguments.days) if arguments.json else "\n".join(_to_lines(rows)))
    return 0 if is_good else 1


def _deadlines(path: Path) -> tuple[Deadline, ...]:
    try:
        found = deadlines_of_file(read_file(path))
    except MalformedError as err:
        raise MalformedError(f"{path}: {err}") from err
    if not found:
        raise MalformedError(f"{path} has nothing with a deadline: give evidence with its endorsements")
    return found


_Row = tuple[Path, Deadline, State]


def _to_lines(rows: list[_Row]) -> list[str]:
    width = max(len(each.item) for _, each, _ in rows)
    lines = []
    for path in dict.fromkeys(path for path, _, _ in rows):
        lines.append(str(path))
        for _, each, state in (row for row in rows if row[0] == path):
            until = format_time(each.until) if each.until else each.problem or each.note
            lines.append(f"  {state.value:<10}  {each.item:<{width}}  {until}".rstrip())
    return lines


def _to_json(rows: list[_Row], now: datetime, days: int) -> str:
    listed = [
        {
            "file": str(path),
            "item": each.item,
            "state": state.value,
            "until": format_time(each.until) if each.until else None,
            "detail": each.problem or each.note or None,
        }
        for path, each, state in rows
    ]
    return json.dumps({"schema": _SCHEMA, "time": format_time(now), "days": days, "items": listed}, indent=2)
