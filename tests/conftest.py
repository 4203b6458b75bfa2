"""What holds for every test: no test reads or writes this user's own configuration of Glasshouse."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# onnxruntime would otherwise leave a device identifier and a database behind when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A busy machine is no failure, and a failure must be the same failure when it is run again.
settings.register_profile("glasshouse", deadline=None, derandomize=True)
settings.load_profile("glasshouse")

# The image that several folders of tests look at is built once for all of them.
pytest_plugins = ["support.image"]


@pytest.fixture(scope="session")
def _state_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _no_configuration_of_this_user(monkeypatch: pytest.MonkeyPatch, _state_of_this_run: str) -> None:
    for name in ("GLASSHOUSE_ADDRESS", "GLASSHOUSE_POLICY", "GLASSHOUSE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLASSHOUSE_STATE", _state_of_this_run)
