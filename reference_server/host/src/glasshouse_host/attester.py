"""The attester: answers report data with quotes over the measurement taken before the enclave started.

On a connection to the socket the enclave writes 64 bytes of report data and reads a 4-byte big-endian length
and encoded evidence. The report data is all that it decides of a quote.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.report_data import REPORT_DATA_SIZE

__all__ = ["Quote", "listening", "serving"]

Quote = Callable[[bytes], Evidence]

_BACKLOG = 16
_MAX_CONNECTIONS = 8
_TIMEOUT = 5.0


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at ``path``; connections wait until the socket is given to :func:`serving`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The address of a socket has at most 107 bytes, and a temporary directory can be deeper.
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        # The directory is private already; the enclave may run as a user of its own.
        path.chmod(0o666)
        listener.listen(_BACKLOG)
        yield listener


@contextlib.contextmanager
def serving(listener: socket.socket, quote: Quote) -> Iterator[None]:
    """Answer connections to ``listener`` with ``quote`` of what they send, until the end.

    At most 8 connections are served at a time, each waiting at most 5 seconds for the next byte; a request of
    any other length than 64 bytes is closed without an answer.
    """
    thread = threading.Thread(target=_accept, args=(listener, quote), name="attester", daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, quote: Quote) -> None:
    slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if not slots.acquire(blocking=False):
            connection.close()
            continue
        threading.Thread(target=_answer, args=(connection, quote, slots), daemon=True).start()


def _answer(connection: socket.socket, quote: Quote, slots: threading.BoundedSemaphore) -> None:
    try:
        with connection:
            connection.settimeout(_TIMEOUT)
            report_data = _receive(connection)
            if len(report_data) == REPORT_DATA_SIZE:
                evidence = quote(report_data).encode()
                connection.sendall(len(evidence).to_bytes(4, "big") + evidence)
    except OSError:
        # The enclave hung up or stalled: it gets no quote, and nobody else is disturbed.
        return
    finally:
        slots.release()


def _receive(connection: socket.socket) -> bytes:
    """Return what was sent until there is enough of it, one byte too much, or nothing more comes."""
    received = b""
    while len(received) < REPORT_DATA_SIZE:
        chunk = connection.recv(REPORT_DATA_SIZE + 1 - len(received))
        if not chunk:
            break
        received += chunk
    return received
