"""What an operator supplies is checked before anything is started."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from glasshouse_attestations.configuration import PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.model_id import ModelId
from glasshouse_host import attester
from glasshouse_host.errors import InputFileError
from glasshouse_host.run_directory import RunDirectory

MODEL = ModelId(namespace="public", name="m")


@pytest.fixture
def run_directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a model")
    return path


def naming(digest: bytes) -> RuntimeConfiguration:
    return RuntimeConfiguration(models=(PreloadedModel(model_id=MODEL, sha256=digest),))


def test_a_model_that_the_configuration_names_needs_its_file(
    run_directory: RunDirectory, model: Path
) -> None:
    configuration = naming(hashlib.sha256(b"a model").digest())
    with pytest.raises(InputFileError, match="without a file: public/m"):
        run_directory.add_models({}, configuration)
    assert run_directory.add_models({MODEL: model}, configuration) == configuration


def test_a_model_other_than_the_configuration_names_is_refused(
    run_directory: RunDirectory, model: Path
) -> None:
    with pytest.raises(InputFileError, match="not the file that the configuration names"):
        run_directory.add_models({MODEL: model}, naming(bytes(32)))


def test_a_model_over_the_limit_is_refused(run_directory: RunDirectory, model: Path) -> None:
    assert run_directory.add_models({MODEL: model}, RuntimeConfiguration(max_model_bytes=7)).models
    with pytest.raises(InputFileError, match="more than the 6 bytes"):
        run_directory.add_models({MODEL: model}, RuntimeConfiguration(max_model_bytes=6))


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000])
def test_no_bundle_no_staple(run_directory: RunDirectory, content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "bundle.json"
    source.write_bytes(content)
    with pytest.raises(InputFileError, match="is not a bundle"), run_directory.stapling(source, print):
        pass
    assert not (run_directory.path / "bundle.json").exists()


def test_the_attester_listens_however_deep_the_directory(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 120) / "attester.sock"
    path.parent.mkdir()
    with attester.listening(path):
        assert path.is_socket()
