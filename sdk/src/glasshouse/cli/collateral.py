"""``glasshouse collateral``: fetch what a verifier needs to judge an Intel platform."""

from __future__ import annotations

import argparse
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import ConfigurationError, ServerUnavailableError
from .evidence import read_evidence, read_time

if TYPE_CHECKING:
    from .._pccs import Answer

__all__ = ["add_to"]


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "collateral",
        help="fetch what Intel says of a platform",
        description="Fetch what Intel says of a platform, to send along with its evidence.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    fetch = actions.add_parser(
        "fetch",
        help="fetch TCB info, QE identity and revocation lists for a quote",
        description="Fetch TCB info, QE identity and revocation lists for an SGX or TDX quote from a service"
        " that speaks Intel's PCS API version 4, verify them up to Intel's root, and write them as one file:"
        " the endorsement `collateral` of that quote.",
    )
    fetch.add_argument("evidence", metavar="EVIDENCE", type=Path, help="evidence, or the raw quote in it")
    fetch.add_argument(
        "--pccs", metavar="URL", required=True, help="the service, like https://pccs.example:8081"
    )
    fetch.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="where to write the collateral"
    )
    fetch.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=30.0, help="for each request (default: 30)"
    )
    fetch.add_argument(
        "--at", metavar="TIME", help="when the collateral must be current, like 2030-01-31T12:00:00Z (now)"
    )
    fetch.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from .._pccs import fetch_collateral

    evidence = read_evidence(arguments.evidence, [])
    fetch = _fetcher(arguments.pccs, arguments.timeout)
    found = fetch_collateral(evidence, fetch, now=read_time(arguments.at))
    _write(arguments.output, found.encode())
    print(arguments.output)
    return 0


def _write(path: Path, data: bytes) -> None:
    """Write the file whole or not at all: a run that fails leaves what was there before."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fetcher(url: str, timeout: float) -> Callable[[str], Answer]:
    """Return what gets one path below ``url``: over TLS with the system's trust, or from this machine."""
    from .._pccs import MAX_ANSWER_SIZE, Answer

    base = _checked_url(url)
    # What is on this machine is not asked for through a proxy, which may be on another.
    proxies: dict[str, str] | None = {} if base.startswith("http:") else None
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler(proxies))

    def fetch(path: str) -> Answer:
        request = urllib.request.Request(base + path)  # noqa: S310 # _checked_url allows https and loopback
        try:
            with opener.open(request, timeout=timeout) as answer:
                body: bytes = answer.read(MAX_ANSWER_SIZE + 1)
                status, headers = answer.status, {name.lower(): text for name, text in answer.headers.items()}
        except (OSError, http.client.HTTPException) as err:
            reason = err.reason if isinstance(err, urllib.error.URLError) else err
            raise ServerUnavailableError(f"the service does not answer {path}: {reason}") from err
        if status != http.HTTPStatus.OK or len(body) > MAX_ANSWER_SIZE:
            raise ServerUnavailableError(
                f"the service answers {path} with status {status}, {len(body)} bytes"
            )
        return Answer(body=body, headers=headers)

    return fetch


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirection an error: the caller chose this service and no other."""

    def redirect_request(self, *_arguments: object, **_options: object) -> None:
        return None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    is_plain = not parts.query and not parts.fragment and parts.username is None
    if parts.hostname is None or not is_plain or parts.scheme not in ("https", "http"):
        raise ConfigurationError(
            f"{url!r} is not the URL of a service", hint="write --pccs https://HOST:PORT"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError("http is for a service on this machine only", hint="write --pccs https://…")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
