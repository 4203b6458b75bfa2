"""Starting enclave servers that tests share or have for themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshouse_attestations.configuration import (
    ApiKey,
    PreloadedModel,
    RuntimeConfiguration,
    generate_api_key,
)
from glasshouse_attestations.model_id import ModelId
from support.enclave_process import EnclaveProcess, Launcher, run_directory

__all__ = ["ALICE", "BOB", "Started", "preloaded", "start_server"]

ALICE = generate_api_key()
BOB = generate_api_key()
_KEYS = (ApiKey.of(ALICE, namespace="alice"), ApiKey.of(BOB, namespace="bob"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A running server, its run directory and its launcher."""

    enclave: EnclaveProcess
    launcher: Launcher
    directory: Path
    configuration: RuntimeConfiguration


def preloaded(**by_name: bytes) -> tuple[PreloadedModel, ...]:
    """Return the configuration of public models."""
    return tuple(
        PreloadedModel(model_id=ModelId(namespace="public", name=name), sha256=hashlib.sha256(model).digest())
        for name, model in by_name.items()
    )


def start_server(
    stack: ExitStack,
    *,
    models: dict[str, bytes] | None = None,
    bundle: bytes | None = None,
    environment: dict[str, str] | None = None,
    api_keys: tuple[ApiKey, ...] = _KEYS,
    **limits: Any,
) -> Started:
    public: Sequence[bytes] = tuple((models or {}).values())
    configuration = RuntimeConfiguration(api_keys=api_keys, models=preloaded(**(models or {})), **limits)
    directory = stack.enter_context(run_directory(configuration, models=public, bundle=bundle))
    launcher = Launcher(directory)
    stack.callback(launcher.close)
    enclave = stack.enter_context(EnclaveProcess(directory, environment=environment))
    return Started(enclave=enclave, launcher=launcher, directory=directory, configuration=configuration)
