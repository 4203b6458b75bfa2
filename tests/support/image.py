"""The real image of this tree, built once for all the tests that need it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.repository import ROOT

if TYPE_CHECKING:
    from glasshouse_attestations.measurements import Measurements

_BUILT_FROM = (
    "reference_server/image",
    "reference_server/enclave/src",
    "attestations/src/glasshouse_attestations",
    "audit/src/glasshouse_audit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveImage:
    """``enclave.efi`` of this tree, and what the build measured of it."""

    path: Path
    measurements: Measurements


@pytest.fixture(scope="session")
def enclave_image(pytestconfig: pytest.Config) -> EnclaveImage:
    """Build the image, or take the one that an earlier run built from the very same files.

    Skips, and says what is missing, where an input can neither be found nor downloaded.
    """
    # Imported late: the tests of a distribution that stands alone load this module, too.
    from glasshouse_attestations.measurements import Measurements
    from glasshouse_audit.build import MEASUREMENTS_NAME, build
    from glasshouse_audit.errors import MissingInputError

    assert pytestconfig.cache is not None
    path = pytestconfig.cache.mkdir("enclave-image") / _digest_of_sources() / "enclave.efi"
    if path.is_file():
        measurements = Measurements.parse(path.with_name(MEASUREMENTS_NAME).read_bytes())
        if hashlib.sha256(path.read_bytes()).digest() == measurements.sha256:
            return EnclaveImage(path=path, measurements=measurements)
    try:
        return EnclaveImage(path=path, measurements=build(ROOT, path))
    except MissingInputError as err:
        pytest.skip(f"an input of the image is missing: {err}")


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for folder in _BUILT_FROM:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".typed", ".toml", ".lock"):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:32]
