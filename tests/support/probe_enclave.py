"""A server that tells what it can see and do where it was started: it runs inside images made for tests.

It listens as the real one does. Each connection sends one line of JSON, a name and arguments of one of the
functions below, and reads one line with the result.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
from pathlib import Path

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("--platform", required=True)
OPTIONS.add_argument("--listen", required=True)
OPTIONS.add_argument("--run-dir", required=True, type=Path)


def look() -> dict[str, object]:
    """Return what this process is, as it sees it."""
    status = Path("/proc/self/status")
    return {
        "environment": dict(os.environ),
        "descriptors": {name: _link(f"/proc/self/fd/{name}") for name in _names("/proc/self/fd")},
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "executable": sys.executable,
        "root": _names("/"),
        "run": _names(str(sys_options.run_dir)),
        "status": status.read_text() if status.exists() else "",
        "mounts": Path("/proc/self/mounts").read_text() if status.exists() else "",
        "arguments": sys.argv[1:],
    }


def ask(data: str, half_close: bool = False) -> str:
    """Return in hexadecimal what the attester answers to the bytes ``data``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(8)
        connection.connect(str(sys_options.run_dir / "attester.sock"))
        connection.sendall(bytes.fromhex(data))
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received.hex()


def read(path: str) -> str:
    """Return the text of a file, or the name of the error."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError as err:
        return type(err).__name__


def write(path: str) -> str:
    """Return the name of the error that writing to ``path`` ends in, or nothing."""
    try:
        Path(path).write_text("x")
    except OSError as err:
        return type(err).__name__
    return ""


def die(code: int) -> None:
    """End at once."""
    os._exit(code)


def say(text: str) -> None:
    """Write a line to standard error."""
    print(text, file=sys.stderr, flush=True)


FUNCTIONS = {function.__name__: function for function in (look, ask, read, write, die, say)}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        name, arguments = json.loads(self.rfile.readline())
        result = FUNCTIONS[name](**arguments)
        self.wfile.write(json.dumps(result).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _names(path: str) -> list[str]:
    return sorted(entry.name for entry in Path(path).iterdir()) if Path(path).is_dir() else []


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def main() -> None:
    """Serve until SIGTERM."""
    host, _, port = sys_options.listen.rpartition(":")
    server = _Server((host, int(port)), _Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    address = f"{host}:{server.server_address[1]}"
    print(json.dumps({"event": "ready", "listen": address}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys_options = OPTIONS.parse_args()
    main()
