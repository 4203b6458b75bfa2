"""Where Debian packages come from: the mirror that this machine's own apt uses, or the one it is told.

No mirror is written down here. A mirror is trusted with nothing: what it serves is held against a lock, or
against the archive's signature.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from threading import Event

from .errors import MissingInputError

__all__ = ["MIRROR_VARIABLE", "find_mirror", "get"]

MIRROR_VARIABLE = "GLASSHOUSE_DEBIAN_MIRROR"
_HINT = f"set {MIRROR_VARIABLE} to a mirror that has it; archives of snapshots keep old versions"
_APT = Path("/etc/apt")
_TIMEOUT = 60.0
_ATTEMPTS = 4
_CHUNK = 1 << 16


def find_mirror() -> str:
    """Return the address of a Debian mirror, without a slash at the end.

    That is ``GLASSHOUSE_DEBIAN_MIRROR`` if it is set, else the first ``…/debian`` that apt is configured
    with. Raises :class:`MissingInputError` if there is neither.
    """
    named = os.environ.get(MIRROR_VARIABLE)
    candidates = [named] if named else [*_apt_sites(), *_source_lists(_APT)]
    for site in candidates:
        if site.startswith(("http://", "https://")) and (named or site.rstrip("/").endswith("/debian")):
            return site.rstrip("/")
    raise MissingInputError(
        "this machine's apt configuration names no debian mirror",
        hint=_HINT,
    )


def get(address: str, *, max_size: int, stop: Event | None = None) -> bytes:
    """Return what ``address`` serves, at most ``max_size`` bytes; try again where that can help.

    Raises :class:`MissingInputError` when it is not there, is too large, the server cannot be reached, or
    another thread has set ``stop``.
    """
    stop = stop or Event()
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            stop.wait(2.0 ** (attempt - 1))
        try:
            return _read(address, max_size, stop)
        except urllib.error.HTTPError as err:
            problem = f"status {err.code}"
            err.close()
            if err.code < 500 and err.code != 429:
                break
        except (OSError, HTTPException) as err:
            problem = str(err) or type(err).__name__
    raise MissingInputError(f"cannot download {address}: {problem}", hint=_HINT)


def _read(address: str, max_size: int, stop: Event) -> bytes:
    # urllib honours the usual proxy variables.
    data = bytearray()
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as response:  # noqa: S310 -- find_mirror admits http and https only
        while chunk := response.read(_CHUNK):
            data += chunk
            if len(data) > max_size:
                raise MissingInputError(f"{address} serves more than {max_size} bytes", hint=_HINT)
            if stop.is_set():
                raise MissingInputError(f"the download of {address} was stopped", hint="run the build again")
        stated = response.headers.get("Content-Length")
    if stated is not None and stated.isdecimal() and int(stated) != len(data):
        raise HTTPException(f"connection closed after {len(data)} of {stated} bytes")
    return bytes(data)


def _apt_sites() -> list[str]:
    """Ask apt itself, which knows all its ways to be configured."""
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        return []
    command = [apt_get, "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return []
    return answer.stdout.split()


def _source_lists(folder: Path) -> Iterator[str]:
    """Read apt's own files, for where apt-get does not answer: both their formats, addresses only."""
    lists = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]
    for path in filter(Path.is_file, lists):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.partition("#")[0].split()
            yield from (word for word in words[1:] if words[0] == "deb" and "://" in word)
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            field, _, value = line.partition(":")
            if field.strip().lower() == "uris":
                yield from value.split()
