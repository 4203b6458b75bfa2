"""One launch, from the image file to the server's end, on the platform ``simulated``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import PublicKey, SigningKey
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.simulated import PLATFORM, Isolation, sign_quote

from . import attester, jail, syscalls
from .enclave_process import EnclaveProcess
from .measured_image import MeasuredImage, Measurement
from .private_directory import private_directory, remove_stale
from .run_directory import RunDirectory

__all__ = ["AUTOMATIC", "Launch", "Ready", "launch"]

AUTOMATIC = (Isolation.NAMESPACES, Isolation.CHROOT, Isolation.LOADER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What an operator asks for. ``isolations`` are tried in their order."""

    image: Path
    key: SigningKey
    configuration: RuntimeConfiguration = field(default_factory=RuntimeConfiguration)
    models: Mapping[ModelId, Path] = field(default_factory=dict)
    bundle: Path | None = None
    listen: str = "127.0.0.1:50051"
    isolations: tuple[Isolation, ...] = AUTOMATIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What runs, once it serves."""

    listen: str
    isolation: Isolation
    launcher_key: PublicKey
    measurement: Measurement
    configuration_sha256: bytes
    run_directory: Path
    platform: str = PLATFORM


def launch(request: Launch, *, announce: Callable[[Ready], None], log: Callable[[str], None]) -> NoReturn:
    """Run the image until its server ends or an exception (such as an interrupt) comes; leave nothing behind.

    The image is measured before anything of it runs, and no quote can name another measurement. ``announce``
    is called when the server serves. Must be called in the main thread.
    Raises :class:`EnclaveError` when the server ends by itself.
    """
    syscalls.forbid_tracing()
    for path in remove_stale():
        log(f"removed {path}, which a killed launcher had left")
    with private_directory() as directory:
        prepared = _prepare(request, directory / "root", log)
        with (
            attester.listening(prepared.run_directory.socket) as listener,
            prepared.run_directory.stapling(request.bundle, log),
            EnclaveProcess.started(
                prepared.root, listen=request.listen, isolations=request.isolations, log=log
            ) as enclave,
            attester.serving(listener, _quote(request.key, prepared.measurement, enclave.isolation)),
        ):
            log(f"started with isolation {enclave.isolation.value}")
            announce(_ready(request, prepared, enclave))
            enclave.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    root: Path
    measurement: Measurement
    run_directory: RunDirectory
    configuration_sha256: bytes


def _prepare(request: Launch, root: Path, log: Callable[[str], None]) -> _Prepared:
    """Measure and unpack the image, and lay out what the enclave is given; nothing of the image runs yet."""
    log(f"measuring {request.image}")
    image = MeasuredImage.read(request.image)
    log(f"unpacking {len(image.members)} files of the image sha256:{image.measurement.sha256.hex()}")
    image.unpack(root)
    run_directory = RunDirectory.create(root / jail.RUN_DIRECTORY)
    configuration = run_directory.add_models(request.models, request.configuration)
    return _Prepared(
        root=root,
        measurement=image.measurement,
        run_directory=run_directory,
        configuration_sha256=run_directory.write_configuration(configuration),
    )


def _ready(request: Launch, prepared: _Prepared, enclave: EnclaveProcess) -> Ready:
    return Ready(
        listen=enclave.wait_until_ready(),
        isolation=enclave.isolation,
        launcher_key=request.key.public_key,
        measurement=prepared.measurement,
        configuration_sha256=prepared.configuration_sha256,
        run_directory=prepared.run_directory.path,
    )


def _quote(key: SigningKey, measurement: Measurement, isolation: Isolation) -> attester.Quote:
    def quote(report_data: bytes) -> Evidence:
        return sign_quote(
            key,
            image_sha256=measurement.sha256,
            image_sha384=measurement.sha384,
            isolation=isolation,
            report_data=report_data,
            time=datetime.now(timezone.utc),
        )

    return quote
