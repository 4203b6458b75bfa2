"""The client beside its server: the import, a server's start to the first prediction, and inference."""

from __future__ import annotations

import hashlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from glasshouse import Connection
from glasshouse_host import programs
from glasshouse_host.errors import MissingProgramError
from support import machines, models
from support.chain import Chain
from support.launched import launched
from support.served import serve

from .measured import Measured, NotMeasured, Result, seconds

__all__ = ["benchmarks", "machine"]


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
    with tempfile.TemporaryDirectory() as folder:
        first = _launch_seconds(image, Path(folder))
    yield Measured(name="launcher start to first verified prediction", value=first, unit="s", bound=5)


def machine(image: Path) -> Result:
    """Measure how long a machine of QEMU takes from the launcher's start until the image serves in it."""
    name = "machine boot to serving"
    try:
        programs.require()
    except MissingProgramError as err:
        return NotMeasured(name=name, reason=str(err))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with machines.launched(["--image", str(image)], log=Path(folder, "log")) as running:
            taken = time.perf_counter() - began
            accelerator = running.ready["accelerator"]
    return Measured(name=f"{name}, by {accelerator}", value=taken, unit="s", bound=60)


def _launch_seconds(image: Path, folder: Path) -> float:
    """How long ``glasshouse-host run`` and then a new client take, until the client has its prediction."""
    content = image.read_bytes()
    chain = Chain(
        sha256=hashlib.sha256(content).digest(),
        sha384=hashlib.sha384(content).digest(),
        now=datetime.now(timezone.utc).replace(microsecond=0),
    )
    bundle, key, model, policy = (
        folder / name for name in ("bundle.json", "key.pem", "m.onnx", "trust.toml")
    )
    bundle.write_bytes(chain.bundle().encode())
    key.touch(mode=0o600)
    key.write_bytes(chain.launcher.to_pem())
    model.write_bytes(models.affine())
    policy.write_text(chain.policy_text(), encoding="utf-8")
    arguments = ("--bundle", bundle, "--key", key, "--model", f"public/affine={model}")
    began = time.perf_counter()
    with (
        launched(image, *arguments) as running,
        Connection(running.address, policy=policy, state=folder / "state") as client,
    ):
        client.predict("public/affine", np.ones((1, 3), np.float32))
        return time.perf_counter() - began


def _import_seconds() -> float:
    """How long one fresh interpreter takes for ``import glasshouse``, everything below it included."""
    command = [sys.executable, "-X", "importtime", "-c", "import glasshouse"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    cumulative = re.search(r"\| +(\d+) \| glasshouse$", report, re.MULTILINE)
    if cumulative is None:
        raise RuntimeError("python's report of imports does not name glasshouse")
    return int(cumulative.group(1)) / 1e6
