"""What the launcher hands to the enclave in /run/glasshouse: configuration, bundle, models, a socket."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from glasshouse_attestations.configuration import PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.model_id import ModelId

from . import files, staple
from .errors import InputFileError

__all__ = ["RunDirectory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDirectory:
    """The directory at ``path``. Everything in it can be read by any user who can reach it."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make the directory, which must not exist yet."""
        path.mkdir()
        path.chmod(0o755)
        (path / "models").mkdir()
        (path / "models").chmod(0o755)
        return cls(path=path)

    @property
    def socket(self) -> Path:
        """Where the attester listens."""
        return self.path / "attester.sock"

    def add_models(
        self, sources: Mapping[ModelId, Path], configuration: RuntimeConfiguration
    ) -> RuntimeConfiguration:
        """Copy the files of ``sources``, and return ``configuration`` with their digests in it.

        Raises :class:`InputFileError` for a file over the configuration's limit, one that differs from what
        the configuration says of its model already, and a model of the configuration without a file.
        """
        known = {model.model_id: model.sha256 for model in configuration.models}
        for model_id, source in sources.items():
            digest = self._add_model(source, configuration.max_model_bytes)
            if known.setdefault(model_id, digest) != digest:
                raise InputFileError(f"{source} is not the file that the configuration names for {model_id}")
        missing = ", ".join(str(model_id) for model_id in known if model_id not in sources)
        if missing:
            raise InputFileError(f"the configuration names models without a file: {missing}")
        models = tuple(PreloadedModel(model_id=name, sha256=digest) for name, digest in known.items())
        return replace(configuration, models=models)

    def _add_model(self, source: Path, max_size: int) -> bytes:
        content = files.read(source, max_size=max_size)
        digest = hashlib.sha256(content)
        files.write_atomically(self.path / "models" / f"{digest.hexdigest()}.onnx", content)
        return digest.digest()

    def write_configuration(self, configuration: RuntimeConfiguration) -> bytes:
        """Write ``configuration``, and return the SHA-256 of its bytes, which every quote binds."""
        content = configuration.encode()
        RuntimeConfiguration.parse(content)
        files.write_atomically(self.path / "config.json", content)
        return hashlib.sha256(content).digest()

    def stapling(
        self, source: Path | None, log: Callable[[str], None]
    ) -> contextlib.AbstractContextManager[None]:
        """Staple the bundle in ``source`` and again when that changes; see :func:`staple.following`."""
        return staple.following(source, self._write_bundle, log)

    def _write_bundle(self, content: bytes) -> None:
        files.write_atomically(self.path / "bundle.json", content)
