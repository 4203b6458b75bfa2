"""Write the vectors of this folder anew, byte for byte: ``python tests/vectors/attestations/regenerate.py``.

The values are those of ``tests/support/attestation_samples.py``; the signatures are Ed25519 by keys whose
seeds are the numbers 1 to 5, so nothing here is secret and nothing is random.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from glasshouse_attestations.report_data import report_data  # noqa: E402
from support import attestation_samples as samples  # noqa: E402

_KEYS = {
    "maintainer": samples.MAINTAINER,
    "auditor": samples.AUDITOR,
    "launcher": samples.LAUNCHER,
    "receipt": samples.RECEIPT_KEY,
    "stranger": samples.STRANGER,
}
_BOUND = {
    "nonce": b"\x01" * 32,
    "tls_spki_sha256": b"\x02" * 32,
    "receipt_public_key": b"\x03" * 32,
    "configuration_sha256": b"\x04" * 32,
}


def vectors() -> dict[str, bytes]:
    """The content of each file by its name."""
    return {
        "audit.envelope.json": samples.AUDIT.to_statement().sign(samples.AUDITOR).encode(),
        "audit-failed.envelope.json": samples.FAILED_AUDIT.to_statement().sign(samples.AUDITOR).encode(),
        "bundle.json": samples.BUNDLE.encode(),
        "configuration.json": samples.CONFIGURATION.encode(),
        "evidence.json": samples.EVIDENCE.encode(),
        "keys.json": _readable({name: key.public_key.encode() for name, key in _KEYS.items()}),
        "measurements.json": samples.MEASUREMENTS.encode(),
        "receipt.envelope.json": samples.RECEIPT.sign(samples.RECEIPT_KEY),
        "release.envelope.json": samples.RELEASE.to_statement().sign(samples.MAINTAINER).encode(),
        "report-data.json": _readable(
            {name: value.hex() for name, value in _BOUND.items()}
            | {"report_data": report_data(**_BOUND).hex()}
        ),
        "revocation.envelope.json": samples.REVOCATION.to_statement().sign(samples.MAINTAINER).encode(),
    }


def _readable(fields: dict[str, str]) -> bytes:
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode("ascii")


def main() -> None:
    """Write every file."""
    for name, content in vectors().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
