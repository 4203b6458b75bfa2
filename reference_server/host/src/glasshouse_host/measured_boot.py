"""One launch on the platform ``tpm``: a machine of QEMU whose vTPM attests to what was booted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.model_id import ModelId

from . import programs, staple
from .certificate_authority import CertificateAuthority
from .errors import InputFileError, MachineError
from .machine import CONFIGURATION_DISK, STAPLE_DISK, Accelerator, Machine, MachineProcess
from .measured_image import MeasuredImage, Measurement
from .private_directory import private_directory, remove_stale
from .run_directory import RunDirectory
from .virtual_tpm import VirtualTpm
from .volumes import StapleVolume, write_configuration_volume

__all__ = ["PLATFORM", "MachineLaunch", "MachineReady", "launch_machine"]

PLATFORM = "tpm"
_READY_SECONDS = {Accelerator.KVM: 60.0, Accelerator.TCG: 300.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLaunch:
    """What an operator asks for. ``accelerators`` are tried in their order."""

    image: Path
    authority: CertificateAuthority
    configuration: RuntimeConfiguration = field(default_factory=RuntimeConfiguration)
    models: Mapping[ModelId, Path] = field(default_factory=dict)
    bundle: Path | None = None
    host: str = "127.0.0.1"
    port: int = 50051
    memory_mib: int = 4096
    processors: int = 2
    accelerators: tuple[Accelerator, ...] = (Accelerator.KVM, Accelerator.TCG)
    console: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReady:
    """What runs, once it serves. ``pcrs`` are as the machine itself reads them: no client relies on them."""

    listen: str
    accelerator: Accelerator
    root_sha256: bytes
    measurement: Measurement
    configuration_sha256: bytes
    pcrs: Mapping[str, str]
    platform: str = PLATFORM


def launch_machine(
    request: MachineLaunch, *, announce: Callable[[MachineReady], None], log: Callable[[str], None]
) -> NoReturn:
    """Boot the image and keep it until it ends or an exception comes; leave nothing behind.

    ``announce`` is called when the server serves. Must be called in the main thread.
    Raises :class:`MachineError` when the machine ends by itself.
    """
    programs.require()
    for path in remove_stale():
        log(f"removed {path}, which a killed launcher had left")
    with private_directory() as directory, contextlib.ExitStack() as stack:
        log(f"measuring {request.image}")
        measurement = MeasuredImage.read(request.image).measurement
        configuration_sha256 = _write_configuration(request, directory)
        log("provisioning the virtual tpm")
        now = datetime.now(timezone.utc)
        tpm = VirtualTpm.provision(directory, request.authority, now=now)
        disk = StapleVolume(directory / STAPLE_DISK, {"ak-chain": request.authority.pem})
        stack.enter_context(staple.following(request.bundle, disk.write, log))
        machine = Machine(
            image=request.image,
            directory=directory,
            host=request.host,
            port=request.port or _free_port(request.host),
            memory_mib=request.memory_mib,
            processors=request.processors,
        )
        accelerator, process, pcrs = _boot(request, machine, tpm, stack, log)
        announce(
            MachineReady(
                listen=f"{machine.host}:{machine.port}",
                accelerator=accelerator,
                root_sha256=request.authority.root_sha256,
                measurement=measurement,
                configuration_sha256=configuration_sha256,
                pcrs=pcrs,
            )
        )
        raise MachineError(f"the machine ended by itself, qemu with exit code {process.wait()}")


def _write_configuration(request: MachineLaunch, directory: Path) -> bytes:
    """Write the configuration's disk, and return the SHA-256 of the configuration."""
    run_directory = RunDirectory.create(directory / "run")
    configuration = run_directory.add_models(request.models, request.configuration)
    digest = run_directory.write_configuration(configuration)
    write_configuration_volume(directory / CONFIGURATION_DISK, run_directory.path)
    return digest


def _boot(
    request: MachineLaunch,
    machine: Machine,
    tpm: VirtualTpm,
    stack: contextlib.ExitStack,
    log: Callable[[str], None],
) -> tuple[Accelerator, MachineProcess, Mapping[str, str]]:
    """Boot with the first accelerator that works, and hand the running machine over to ``stack``.

    That /dev/kvm is there does not mean that it works: inside other machines it may fail at any instruction
    of the firmware. So it is tried, and given up if nothing of the image has been heard of.
    """
    for accelerator in request.accelerators:
        log(f"booting with {accelerator.value}")
        with contextlib.ExitStack() as attempt:
            copy = attempt.enter_context(request.console.open("wb")) if request.console else None
            attempt.enter_context(tpm.running())
            process = attempt.enter_context(MachineProcess.started(machine, accelerator, log=log, copy=copy))
            try:
                process.wait_for("ready", seconds=_READY_SECONDS[accelerator], log=log)
            except MachineError as err:
                if accelerator is request.accelerators[-1] or not process.is_silent:
                    raise
                log(f"no machine with {accelerator.value}: {err}")
                continue
            booted = process.wait_for("booted", seconds=1, log=log)
            stack.push(attempt.pop_all())
            return accelerator, process, _pcrs(booted)
    raise InputFileError("no accelerator is left to try")


def _pcrs(booted: Mapping[str, object]) -> Mapping[str, str]:
    pcrs = booted.get("pcrs")
    return {str(name): str(value).lower() for name, value in pcrs.items()} if isinstance(pcrs, dict) else {}


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
