"""Real enclave servers for the tests that need sockets: one that all share, and one for a test alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from glasshouse import Connection
from support import models
from support.served import Served, serve


@pytest.fixture(scope="session")
def resnet18() -> bytes:
    """A network of ResNet18's shape."""
    return models.resnet18()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: serve(stack, tmp_path, **options)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, resnet18: bytes) -> Iterator[Served]:
    """A server with some public models, for tests that leave nothing behind in it."""
    public = {
        "affine": models.affine(),
        "adder": models.adder(),
        "two-outputs": models.two_outputs(),
        "widening": models.widening(),
        "resnet18": resnet18,
    }
    with ExitStack() as stack:
        yield serve(
            stack,
            tmp_path_factory.mktemp("served"),
            models=public,
            max_model_bytes=64 << 20,
            max_total_model_bytes=256 << 20,
        )


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[Connection]:
    with served.connect() as connection:
        yield connection
