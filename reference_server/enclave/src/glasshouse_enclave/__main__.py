"""The enclave server's entry point.

Exit codes: 0 after SIGTERM or SIGINT, 2 if it could not start, 1 if it failed while serving.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

# The environment is the operator's and stands in no quote, while the libraries take settings from it, such
# as a trace of everything they decrypt. This has to happen before they are loaded.
os.environ.clear()
os.environ.update({"GRPC_VERBOSITY": "NONE", "ORT_DISABLE_TELEMETRY": "1"})

from glasshouse_attestations.errors import MalformedError, UnavailableError

from . import log
from .attester import PLATFORMS, attester_for
from .run_directory import RunDirectory
from .server import serve

_ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5}", re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop, and return the exit code."""
    options = _parser().parse_args(arguments)
    log.silence_libraries()
    # A dump of the process's memory would hold its keys and what callers sent.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        asyncio.run(_serve(options))
    except (MalformedError, UnavailableError) as err:
        # These come from what the operator supplied, before any caller was there.
        log.event("not-started", error=type(err).__name__, message=str(err))
        return 2
    except Exception as err:  # noqa: BLE001 - the message may quote a caller
        log.failure(err)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    host = options.listen.rpartition(":")[0]
    run_directory = RunDirectory(options.run_dir)
    await serve(
        attester=attester_for(options.platform, run_directory=run_directory),
        run_directory=run_directory,
        listen=options.listen,
        on_ready=lambda port: print(json.dumps({"event": "ready", "listen": f"{host}:{port}"}), flush=True),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glasshouse-enclave", description="Serve ONNX models inside an enclave.", allow_abbrev=False
    )
    parser.add_argument("--platform", required=True, choices=PLATFORMS, help="what vouches for the enclave")
    parser.add_argument(
        "--listen", required=True, type=_address, metavar="HOST:PORT", help="port 0 takes any free one"
    )
    parser.add_argument("--run-dir", required=True, type=Path, help="where the operator supplies files")
    return parser


def _address(text: str) -> str:
    """Return ``HOST:PORT``, and nothing else that gRPC would listen on."""
    if not _ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError("not of the form HOST:PORT")
    return text


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that onnxruntime does not give back must not keep the process from ending.
    os._exit(status)
