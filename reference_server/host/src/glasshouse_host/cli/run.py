"""``glasshouse-host run``: one launch, from flags to the line that says it serves."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_attestations.errors import PlatformNotSupportedError
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.simulated import PLATFORM, Isolation
from glasshouse_host import files, measured_boot
from glasshouse_host.errors import InputFileError
from glasshouse_host.launcher import AUTOMATIC, Launch, Ready, launch

from . import configuration, machine
from .keys import load_launcher_key

if TYPE_CHECKING:
    from . import Commands

__all__ = ["add_to"]

_PLATFORMS = (PLATFORM, "tpm", "snp", "tdx")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}", re.ASCII)


def add_to(commands: Commands) -> None:
    """Add the command ``run``."""
    parser = commands.add_parser(
        "run",
        help="measure an image and run its server",
        description="Measure an image and run its server: with --platform tpm in a machine whose virtual TPM "
        "attests to what was booted, with --platform simulated apart from this system, with quotes that the "
        "launcher signs. The platform simulated is for development: it protects nothing against you.",
    )
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="the image, enclave.efi")
    parser.add_argument("--platform", required=True, choices=_PLATFORMS, help="what boots the image")
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="HOST:PORT", help="default %(default)s; port 0 is any"
    )
    configuration.add_arguments(parser)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAMESPACE/NAME=FILE",
        help="an ONNX model to start with; repeatable",
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="the transparency bundle to staple, again when it changes",
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="the launcher's key, from keygen; without it a fresh one"
    )
    parser.add_argument(
        "--isolation",
        default="auto",
        choices=("auto", *(isolation.value for isolation in AUTOMATIC)),
        help="how to keep the image apart from this system; auto takes the first that works",
    )
    machine.add_arguments(parser)
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the ready event there, as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print the ready event as one line of JSON")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    if not _ADDRESS.fullmatch(options.listen):
        raise InputFileError("--listen takes HOST:PORT")
    if options.platform == measured_boot.PLATFORM:
        machine.run(
            options,
            configuration=configuration.chosen(options),
            models=_parse_models(options.model),
            announce=lambda ready: _print(options, machine.event(ready), machine.table(ready)),
            log=_log,
        )
    elif options.platform == PLATFORM:
        _run_simulated(options)
    else:
        raise PlatformNotSupportedError(f"this version boots no image on the platform {options.platform}")


def _run_simulated(options: argparse.Namespace) -> None:
    request = Launch(
        image=options.image,
        key=load_launcher_key(options.key) if options.key else SigningKey.generate(),
        configuration=configuration.chosen(options),
        models=_parse_models(options.model),
        bundle=options.bundle,
        listen=options.listen,
        isolations=AUTOMATIC if options.isolation == "auto" else (Isolation(options.isolation),),
    )
    launch(request, announce=lambda ready: _print(options, _event(ready), _table(ready)), log=_log)


def _parse_models(texts: list[str]) -> dict[ModelId, Path]:
    models: dict[ModelId, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise InputFileError("--model takes NAMESPACE/NAME=FILE")
        model_id = ModelId.parse(name)
        if model_id in models:
            raise InputFileError(f"--model names {model_id} twice")
        models[model_id] = Path(path)
    return models


def _print(options: argparse.Namespace, event: dict[str, object], rows: tuple[tuple[str, str], ...]) -> None:
    line = json.dumps(event)
    if options.ready_file:
        files.write_atomically(options.ready_file, line.encode("utf-8") + b"\n")
    table = "\n".join(f"{name:<14} {value}" for name, value in rows)
    print(line if options.json else table, flush=True)


def _event(ready: Ready) -> dict[str, object]:
    return {
        "schema": "glasshouse/ready/v1",
        "event": "ready",
        "listen": ready.listen,
        "platform": ready.platform,
        "isolation": ready.isolation.value,
        "launcherKey": ready.launcher_key.encode(),
        "image": {"sha256": ready.measurement.sha256.hex(), "sha384": ready.measurement.sha384.hex()},
        "configuration": {"sha256": ready.configuration_sha256.hex()},
        "runDirectory": str(ready.run_directory),
    }


def _table(ready: Ready) -> tuple[tuple[str, str], ...]:
    return (
        ("listening", ready.listen),
        ("platform", f"{ready.platform}, isolation {ready.isolation.value}: for development only"),
        ("image", f"sha256:{ready.measurement.sha256.hex()}"),
        ("configuration", f"sha256:{ready.configuration_sha256.hex()}"),
        ("launcher key", ready.launcher_key.encode()),
    )


def _log(message: str) -> None:
    # A server's own line is JSON already and stays so, for whoever collects logs.
    print(message if message.startswith("{") else f"glasshouse-host: {message}", file=sys.stderr, flush=True)
