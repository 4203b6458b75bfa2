"""How long verification takes, beside single signature checks of the same run, and if its memory is flat."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from glasshouse import Remembered, verify_attestation
from glasshouse_attestations import simulated
from glasshouse_attestations.evidence import Evidence
from support.chain import CHANNEL, Chain

from .measured import Measured, seconds

__all__ = ["benchmarks"]

_VERIFICATIONS = 100


def benchmarks() -> Iterator[Measured]:
    """Measure the client's whole verification, and that of the simulated platform's evidence alone."""
    p256, p384 = _signature_check(ec.SECP256R1()), _signature_check(ec.SECP384R1())
    yield _milliseconds("one ECDSA P-256 verification", p256)
    yield _milliseconds("one ECDSA P-384 verification", p384)
    chain = Chain()
    attestation, policy, memory = chain.attestation(), chain.policy(), Remembered()

    def verify() -> object:
        return verify_attestation(attestation, policy, channel=CHANNEL, remembered=memory, now=chain.now)

    yield _milliseconds("client verification, all twelve steps", seconds(verify), p256, "P-256")
    yield _growth("memory kept by one hundred verifications", verify)
    yield from _simulated(chain, p256)


def _simulated(chain: Chain, p256: float) -> Iterator[Measured]:
    evidence, keys = Evidence.parse(chain.evidence()), [chain.launcher.public_key]
    taken = seconds(lambda: simulated.verify(evidence, launcher_keys=keys))
    yield _milliseconds("evidence: simulated", taken, p256, "P-256")


def _milliseconds(name: str, value: float, baseline: float | None = None, of: str = "") -> Measured:
    scaled = None if baseline is None else baseline * 1e3
    return Measured(name=name, value=value * 1e3, unit="ms", baseline=scaled, baseline_name=of)


def _signature_check(curve: ec.EllipticCurve) -> float:
    """How long one check of a signature takes, which is most of what verification does."""
    key = ec.generate_private_key(curve)
    signed = key.sign(b"message", ec.ECDSA(hashes.SHA384()))
    public = key.public_key()
    return seconds(lambda: public.verify(signed, b"message", ec.ECDSA(hashes.SHA384())), repeat=50)


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
