"""Run every benchmark, print a table, and write ``dist/bench.json``; ends with 1 if a bound is exceeded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON

from . import client, evidence, image, log, verification
from .measured import Result

_SCHEMA = "glasshouse/bench/v1"


def main() -> int:
    """Measure, print each value as it is known, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=("verification", "log", "image"), help="leave the others out")
    parser.add_argument(
        "--long", action="store_true", help="add the memory kept by a hundred thousand verifications"
    )
    parser.add_argument("--machine", action="store_true", help="add the boot of a machine of QEMU")
    parser.add_argument("--output", type=Path, default=Path("dist/bench.json"), metavar="FILE")
    parsed = parser.parse_args()
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    found: list[JSON] = []
    is_within = True
    for result in _all(parsed, parsed.output.with_name("bench.efi")):
        print(result, flush=True)
        found.append(result.to_json())
        is_within = is_within and result.is_within
    document: JSON = {"schema": _SCHEMA, "results": found}
    parsed.output.write_bytes(canonical_json.encode(document) + b"\n")
    return 0 if is_within else 1


def _all(parsed: argparse.Namespace, path: Path) -> Iterator[Result]:
    if parsed.only in (None, "verification"):
        yield from verification.benchmarks()
        yield from evidence.benchmarks()
        if parsed.long:
            yield from evidence.endurance()
    if parsed.only in (None, "log"):
        yield from log.benchmarks()
    if parsed.only in (None, "image"):
        try:
            yield from image.benchmarks(Path.cwd(), path)
            yield from client.benchmarks(path)
            if parsed.machine:
                yield client.machine(path)
        finally:
            path.unlink(missing_ok=True)
            path.with_name("measurements.json").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
