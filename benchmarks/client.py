"""The client beside its server: the import, a server's start to the first prediction, and inference."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from support import models
from support.launched import launched
from support.served import serve

from .measured import Measured, seconds

__all__ = ["benchmarks"]


def benchmarks(image: Path) -> Iterator[Measured]:
    """Measure what a user of the client waits for."""
    imports = statistics.median(_import_seconds() for _ in range(5))
    yield Measured(name="import glasshouse", value=imports, unit="s", bound=0.3)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        network = models.resnet18()
        began = time.perf_counter()
        served = serve(stack, Path(folder), models={"affine": models.affine(), "resnet18": network})
        client = stack.enter_context(served.connect())
        client.predict("public/affine", np.ones((1, 3), np.float32))
        first = time.perf_counter() - began
        yield Measured(name="server start to first verified prediction", value=first, unit="s", bound=5)
        picture = np.ones((1, 3, 224, 224), np.float32)
        local = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        here = seconds(lambda: local.run(None, {"input": picture}))
        there = seconds(lambda: client.predict("public/resnet18", picture))
        name = "resnet18, one picture, by the server"
        yield Measured(
            name=name, value=there * 1e3, unit="ms", baseline=here * 1e3, baseline_name="onnxruntime here"
        )
    began = time.perf_counter()
    with launched(image):
        started = time.perf_counter() - began
    yield Measured(name="image measured, unpacked and serving", value=started, unit="s", bound=5)


def _import_seconds() -> float:
    """How long one fresh interpreter takes for ``import glasshouse``, everything below it included."""
    command = [sys.executable, "-X", "importtime", "-c", "import glasshouse"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    cumulative = re.search(r"\| +(\d+) \| glasshouse$", report, re.MULTILINE)
    if cumulative is None:
        raise RuntimeError("python's report of imports does not name glasshouse")
    return int(cumulative.group(1)) / 1e6
