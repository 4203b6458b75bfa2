"""The two disks of a machine: what the operator chose, and what is stapled and changes while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glasshouse_attestations.volume import (
    BUNDLE,
    CONFIGURATION,
    ENDORSEMENTS,
    HEADER_SIZE,
    MAX_STAPLE_SIZE,
    MAX_VOLUME_SIZE,
    MODELS,
    encode_volume,
)

from .errors import InputFileError

__all__ = ["StapleVolume", "write_configuration_volume"]


def write_configuration_volume(path: Path, run_directory: Path) -> None:
    """Write the volume with the configuration and the models that are in ``run_directory``."""
    models = sorted((run_directory / MODELS).iterdir())
    contents = {f"{MODELS}/{model.name}": model.read_bytes() for model in models}
    volume = encode_volume({CONFIGURATION: (run_directory / CONFIGURATION).read_bytes(), **contents})
    if len(volume) > MAX_VOLUME_SIZE:
        raise InputFileError(f"configuration and models have more than {MAX_VOLUME_SIZE} bytes")
    path.write_bytes(volume)


class StapleVolume:
    """The disk with the bundle and the endorsements, rewritten in place whenever the bundle changes.

    A machine that reads while it is written finds that the digest in the header is another one, and comes
    back later.
    """

    def __init__(self, path: Path, endorsements: Mapping[str, bytes]) -> None:
        self._path = path
        self._endorsements = {f"{ENDORSEMENTS}/{name}": data for name, data in endorsements.items()}
        # As large as it may become: a disk does not grow while a machine runs.
        with path.open("wb") as disk:
            disk.truncate(MAX_STAPLE_SIZE)
        self.write(None)

    def write(self, bundle: bytes | None) -> None:
        """Put ``bundle`` on the disk in place of what was there, or none."""
        content = encode_volume({**self._endorsements, **({} if bundle is None else {BUNDLE: bundle})})
        if len(content) > MAX_STAPLE_SIZE:
            raise InputFileError(f"bundle and endorsements have more than {MAX_STAPLE_SIZE} bytes")
        with self._path.open("r+b", buffering=0) as disk:
            disk.seek(HEADER_SIZE)
            disk.write(content[HEADER_SIZE:])
            disk.seek(0)
            disk.write(content[:HEADER_SIZE])
