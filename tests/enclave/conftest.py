"""One server for all tests that leave nothing behind in it, and a way to start one for those that do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support import models
from support.enclave_process import EnclaveProcess
from support.enclave_server import ALICE, BOB, Started, start_server


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: start_server(stack, **options)


@pytest.fixture(scope="session")
def resnet18() -> bytes:
    return models.resnet18()


@pytest.fixture(scope="session")
def shared(resnet18: bytes) -> Iterator[Started]:
    """A server with public models, for tests that do not change or exhaust it."""
    public = {
        "resnet18": resnet18,
        "affine": models.affine(),
        "adder": models.adder(),
        "two-outputs": models.two_outputs(),
        "widening": models.widening(),
    }
    with ExitStack() as stack:
        yield start_server(stack, models=public, max_model_bytes=64 << 20, max_total_model_bytes=160 << 20)


@pytest.fixture(scope="session")
def enclave(shared: Started) -> EnclaveProcess:
    return shared.enclave


@pytest.fixture(scope="session")
def alice() -> str:
    """The API key of the namespace alice."""
    return ALICE


@pytest.fixture(scope="session")
def bob() -> str:
    """The API key of the namespace bob."""
    return BOB
