"""How long verification takes, beside single signature checks of the same run, and if its memory is flat."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

from glasshouse import Remembered, verify_attestation
from glasshouse_attestations import simulated
from glasshouse_attestations.evidence import Evidence
from support.chain import CHANNEL, Chain

from .measured import Measured, seconds
from .signatures import BASELINES, p256

__all__ = ["benchmarks"]

_VERIFICATIONS = 100


def benchmarks() -> Iterator[Measured]:
    """Measure the client's whole verification, and that of the simulated platform's evidence alone."""
    for name, check in BASELINES.items():
        yield _milliseconds(f"one {name} verification", check())
    chain = Chain()
    attestation, policy, memory = chain.attestation(), chain.policy(), Remembered()

    def verify() -> object:
        return verify_attestation(attestation, policy, channel=CHANNEL, remembered=memory, now=chain.now)

    yield _milliseconds("client verification, all twelve steps", seconds(verify), p256(), "P-256")
    yield _growth("memory kept by one hundred verifications", verify)
    yield _simulated(chain)


def _simulated(chain: Chain) -> Measured:
    evidence, keys = Evidence.parse(chain.evidence()), [chain.launcher.public_key]
    taken = seconds(lambda: simulated.verify(evidence, launcher_keys=keys))
    return _milliseconds("evidence: simulated", taken, p256(), "P-256")


def _milliseconds(name: str, value: float, baseline: float | None = None, of: str = "") -> Measured:
    scaled = None if baseline is None else baseline * 1e3
    return Measured(name=name, value=value * 1e3, unit="ms", baseline=scaled, baseline_name=of)


def _growth(name: str, work: Callable[[], object]) -> Measured:
    """How much more memory is held after many runs than after a few."""
    for _ in range(10):
        work()
    tracemalloc.start()
    work()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(_VERIFICATIONS):
        work()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return Measured(name=name, value=max(after - before, 0) / 1024, unit="KiB", bound=64)
