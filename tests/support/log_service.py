"""A real log with real witnesses for tests: child processes on loopback, in a directory of the test's.

Use it as `with run_local_log(tmp_path) as log:`, or import the fixture `local_log` into a test module.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glasshouse_attestations import dsse
from glasshouse_attestations.keys import SigningKey
from glasshouse_log.local import LocalLog, run_local_log

__all__ = ["LocalLog", "envelope", "local_log", "run_local_log"]


@pytest.fixture(scope="module")
def local_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLog]:
    """A log with three witnesses, of which two must cosign, shared by a module's tests."""
    directory: Path = tmp_path_factory.mktemp("log")
    with run_local_log(directory) as log:
        yield log


def envelope(payload: bytes, signer: SigningKey | None = None) -> bytes:
    """Return a canonical DSSE envelope around a payload, signed by a fresh key unless one is given."""
    return dsse.sign(payload, "text/plain", signer or SigningKey.generate()).encode()
