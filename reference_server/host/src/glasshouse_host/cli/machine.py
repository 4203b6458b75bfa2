"""What ``glasshouse-host run`` takes and prints for a machine: the platform ``tpm``."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.model_id import ModelId
from glasshouse_host.certificate_authority import CertificateAuthority
from glasshouse_host.errors import InputFileError
from glasshouse_host.machine import Accelerator
from glasshouse_host.measured_boot import MachineLaunch, MachineReady, launch_machine

__all__ = ["add_arguments", "event", "run", "table"]

_MEMORY_MIB = range(1024, 1 << 20)
_PROCESSORS = range(1, 256)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a machine has."""
    group = parser.add_argument_group("a machine (--platform tpm)")
    group.add_argument(
        "--ca", type=Path, metavar="FOLDER", help="certify the vTPM's key with this authority, from ca"
    )
    group.add_argument("--memory", type=int, default=4096, metavar="MIB", help="default %(default)s")
    group.add_argument("--processors", type=int, default=2, metavar="N", help="default %(default)s")
    group.add_argument(
        "--accelerator",
        default="auto",
        choices=("auto", *(accelerator.value for accelerator in Accelerator)),
        help="how QEMU runs the processors; auto tries kvm and falls back to tcg, in software",
    )
    group.add_argument("--console", type=Path, metavar="FILE", help="keep all that the machine says there")


def run(
    options: argparse.Namespace,
    *,
    configuration: RuntimeConfiguration,
    models: Mapping[ModelId, Path],
    announce: Callable[[MachineReady], None],
    log: Callable[[str], None],
) -> None:
    """Boot the image in a machine, as the options ask for."""
    host, port = _parse_address(options.listen)
    if options.memory not in _MEMORY_MIB or options.processors not in _PROCESSORS:
        raise InputFileError("--memory takes 1024 MiB or more, --processors 1 to 255")
    request = MachineLaunch(
        image=options.image,
        authority=_authority(options.ca),
        configuration=configuration,
        models=models,
        bundle=options.bundle,
        host=host,
        port=port,
        memory_mib=options.memory,
        processors=options.processors,
        accelerators=tuple(Accelerator)
        if options.accelerator == "auto"
        else (Accelerator(options.accelerator),),
        console=options.console,
    )
    launch_machine(request, announce=announce, log=log)


def event(ready: MachineReady) -> dict[str, object]:
    """Return the ready event as JSON values."""
    return {
        "schema": "glasshouse/ready/v1",
        "event": "ready",
        "listen": ready.listen,
        "platform": ready.platform,
        "accelerator": ready.accelerator.value,
        "rootSha256": ready.root_sha256.hex(),
        "image": {"sha256": ready.measurement.sha256.hex(), "sha384": ready.measurement.sha384.hex()},
        "configuration": {"sha256": ready.configuration_sha256.hex()},
        "pcrs": dict(ready.pcrs),
    }


def table(ready: MachineReady) -> tuple[tuple[str, str], ...]:
    """Return the ready event as rows for people."""
    return (
        ("listening", ready.listen),
        ("platform", f"{ready.platform}, by {ready.accelerator.value}"),
        ("image", f"sha256:{ready.measurement.sha256.hex()}"),
        ("configuration", f"sha256:{ready.configuration_sha256.hex()}"),
        ("vtpm root", ready.root_sha256.hex()),
    )


def _authority(folder: Path | None) -> CertificateAuthority:
    """Return the authority in ``folder``, or one that lives as long as this launch."""
    return CertificateAuthority.load(folder) if folder else CertificateAuthority.generate(now=_now())


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        if int(port) > 0xFFFF:
            raise ValueError("no such port")
        return str(ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)), int(port)
    except ValueError as err:
        raise InputFileError("--listen takes ADDRESS:PORT with a numeric IPv4 address for a machine") from err
