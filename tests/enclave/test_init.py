"""The first process of a real boot: which platform it chooses, and what it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_enclave.init import choose_platform, server_command


@pytest.fixture
def devices(tmp_path: Path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("snp", "tdx", "tpm")}


def test_the_platform_is_the_one_whose_device_is_there(devices: dict[str, str]) -> None:
    Path(devices["tpm"]).touch()
    assert choose_platform("console=ttyS0", devices) == "tpm"


def test_a_secure_processor_comes_before_a_virtual_tpm(devices: dict[str, str]) -> None:
    Path(devices["tpm"]).touch()
    Path(devices["snp"]).touch()
    assert choose_platform("console=ttyS0", devices) == "snp"


def test_the_command_line_may_choose_among_them(devices: dict[str, str]) -> None:
    Path(devices["snp"]).touch()
    assert choose_platform("quiet glasshouse.platform=tpm\n", devices) == "tpm"


def test_a_platform_that_proves_nothing_cannot_be_chosen(devices: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown platform 'simulated'"):
        choose_platform("glasshouse.platform=simulated", devices)


def test_a_machine_that_nothing_vouches_for_is_refused(devices: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no device"):
        choose_platform("console=ttyS0", devices)


def test_the_server_runs_isolated_with_fixed_arguments() -> None:
    assert server_command("tpm")[1:] == [
        *("-I", "-B", "-m", "glasshouse_enclave", "--platform", "tpm"),
        *("--listen", "0.0.0.0:50051", "--run-dir", "/run/glasshouse"),
    ]
