"""Starting, failing to start, and stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from glasshouse_attestations import rpc
from glasshouse_attestations.configuration import RuntimeConfiguration
from support import models
from support.enclave_calls import infer, infer_request
from support.enclave_process import EnclaveProcess, run_directory
from support.enclave_server import Started, preloaded


def _not_started(directory: Path, *, platform: str = "simulated", listen: str = "127.0.0.1:0") -> str:
    """Run a server that cannot start, and return the class of the error that its log names."""
    arguments = ["--platform", platform, "--listen", listen, "--run-dir", str(directory)]
    ended = subprocess.run(
        [sys.executable, "-I", "-m", "glasshouse_enclave", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    line = json.loads(ended.stderr)
    assert line["event"] == "not-started"
    error: str = line["error"]
    return error


@pytest.mark.parametrize("platform", ["tpm", "snp", "tdx"])
def test_a_platform_whose_device_is_absent_is_not_started_on(platform: str) -> None:
    with run_directory(RuntimeConfiguration()) as directory:
        assert _not_started(directory, platform=platform) == "PlatformNotSupportedError"


@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        (None, "StartError"),
        (b"", "MalformedError"),
        (b"{}", "MalformedError"),
        (RuntimeConfiguration().encode() + b"\n", "MalformedError"),
        (RuntimeConfiguration().encode().replace(b'"max_models":64,', b""), "MalformedError"),
        (b" " * (1 << 20), "StartError"),
    ],
)
def test_a_configuration_that_is_not_one_stops_the_start(configuration: bytes | None, error: str) -> None:
    with run_directory(RuntimeConfiguration()) as directory:
        (directory / "config.json").unlink()
        if configuration is not None:
            (directory / "config.json").write_bytes(configuration)
        assert _not_started(directory) == error


@pytest.mark.parametrize(
    ("stored", "limits"),
    [
        (None, {}),
        (models.affine(offset=2), {}),
        (models.affine(), {"max_model_bytes": 10}),
        (b"nonsense", {}),
    ],
)
def test_a_preloaded_model_that_cannot_be_loaded_stops_the_start(
    stored: bytes | None, limits: dict[str, int]
) -> None:
    named = b"nonsense" if stored == b"nonsense" else models.affine()
    configuration = RuntimeConfiguration(models=preloaded(affine=named), **limits)  # type: ignore[arg-type]
    with run_directory(configuration, models=[stored or b""]) as directory:
        if stored is None:
            next((directory / "models").iterdir()).unlink()
        assert _not_started(directory) == "StartError"


def test_an_address_in_use_stops_the_start(enclave: EnclaveProcess) -> None:
    with run_directory(RuntimeConfiguration()) as directory:
        assert _not_started(directory, listen=enclave.address) == "StartError"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_inferences_under_way_end(start: Callable[..., Started], number: int) -> None:
    enclave = start(models={"slow": models.slow()}).enclave
    begun = time.monotonic()
    infer(enclave, "slow", {"rounds": np.array(20_000, np.int64)})
    # As many rounds as take about a second here.
    rounds = int(20_000 / max(time.monotonic() - begun, 0.01))
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(infer, enclave, "slow", {"rounds": np.array(rounds, np.int64)})
        time.sleep(0.3)
        os.kill(enclave.process.pid, number)
        time.sleep(0.2)
        with enclave.open_channel() as channel, pytest.raises(grpc.RpcError) as info:
            enclave.call(rpc.SERVER_LIVE, rpc.SERVER_LIVE.request(), channel=channel, timeout=5)
        assert info.value.code() is grpc.StatusCode.UNAVAILABLE
        assert call.result(10)["y"].shape == (64, 64)
    assert enclave.wait() == 0
    assert [json.loads(line)["event"] for line in enclave.log.splitlines()][-2:] == ["draining", "stopped"]


def test_an_inference_without_end_does_not_hold_up_the_stop(start: Callable[..., Started]) -> None:
    enclave = start(models={"slow": models.slow()}).enclave
    request = infer_request("slow", {"rounds": np.array(2**60, np.int64)})
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(enclave.call, rpc.MODEL_INFER, request)
        time.sleep(0.3)
        begun = time.monotonic()
        enclave.process.send_signal(signal.SIGTERM)
        assert enclave.wait() == 0
        assert 4 < time.monotonic() - begun < 9
        assert isinstance(call.exception(5), grpc.RpcError)


def test_the_operators_environment_changes_nothing(start: Callable[..., Started]) -> None:
    hostile = {"GRPC_TRACE": "all", "GRPC_VERBOSITY": "DEBUG", "ORT_LOAD_CONFIG_FROM_MODEL": "1"}
    enclave = start(models={"affine": models.affine()}, environment=hostile).enclave
    infer(enclave, "affine", {"x": np.ones((1, 3), np.float32)})
    assert [json.loads(line)["event"] for line in enclave.log.splitlines()] == ["model-loaded"]
