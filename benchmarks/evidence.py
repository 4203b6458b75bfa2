"""How long evidence of each technology takes to verify, once its certificates have been seen.

A TPM's quote is of a generated key; all else was captured, and where the captures are absent, what they would
have measured is named as not measured. ``endurance`` verifies a hundred thousand times.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glasshouse_attestations import azure, nitro, snp, tpm
from glasshouse_attestations.evidence import Evidence
from support import azure_captures, dcap_captures, pki_tpm, snp_captures, tpm_quotes
from support.dcap_captures import Capture
from support.vectors import VECTORS, case, moment, vector

from .measured import Measured, NotMeasured, Result, seconds
from .signatures import BASELINES

__all__ = ["benchmarks", "endurance"]

Verify = Callable[[], object]

_DCAP = {
    "sgx, version 3": ("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx"),
    "tdx, version 4": ("tdx/dcapqvl/tdx_quote", "dcapqvl_tdx"),
    "tdx, version 5": ("tdx/gotdx/quote_v5_sample.dat", "flashbots_azure-collateral"),
}
_NITRO = "base/hinted_attestation_20260103.repaired.bin"
_RUNS = 50
_ABSENT = "the captured evidence (shared/vectors) is absent"

_VERIFICATIONS = 100_000
_WARM_UP = 2_000
_STATISTICS = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What is verified, in how many milliseconds, and the signature check that it is compared with."""

    name: str
    bound_ms: float
    baseline: str
    prepare: Callable[[], Verify]
    is_captured: bool = True

    @property
    def is_there(self) -> bool:
        return not self.is_captured or VECTORS.is_dir()


def benchmarks() -> Iterator[Result]:
    """Measure each technology, and Intel's beside the library dcap-qvl."""
    for work in _works():
        name = f"evidence: {work.name}"
        yield _compared(name, work) if work.is_there else NotMeasured(name=name, reason=_ABSENT)
    for name, capture in _DCAP.items():
        yield _beside_peer(f"evidence: {name}, beside dcap-qvl", *capture)


def endurance() -> Iterator[Result]:
    """Measure how the memory of the process grows, what libraries in C hold included."""
    for work in _works():
        name = f"memory kept by {_VERIFICATIONS:,} verifications: {work.name}"
        if not work.is_there:
            yield NotMeasured(name=name, reason=_ABSENT)
        elif not _STATISTICS.exists():
            yield NotMeasured(name=name, reason="this system has no /proc/self/statm")
        else:
            yield Measured(name=name, value=_growth(work.prepare()) / 2**20, unit="MiB", bound=2)


def _works() -> Iterator[_Work]:
    yield _Work(name="tpm", bound_ms=1, baseline="RSA-2048", prepare=_tpm, is_captured=False)
    for name, source in (
        ("version 3, VCEK", "oak/genoa_oc"),
        ("version 5, VCEK", "oak/turin_oc"),
        ("VLEK", "trustee/test-vlek-report"),
    ):
        yield _Work(name=f"snp, {name}", bound_ms=2, baseline="P-384", prepare=partial(_snp, source))
    for name, capture in _DCAP.items():
        yield _Work(name=name, bound_ms=1.5, baseline="P-256", prepare=partial(_dcap, *capture))
    yield _Work(name="nitro", bound_ms=3, baseline="P-384", prepare=_nitro)
    # The bound is that of the hardware's evidence and that of the vTPM's quote together.
    genoa, complete = azure_captures.GENOA, azure_captures.COMPLETE
    yield _Work(name="azure on snp", bound_ms=3, baseline="P-384", prepare=partial(_azure, genoa))
    yield _Work(name="azure on tdx", bound_ms=2.5, baseline="P-256", prepare=partial(_azure, complete))


def _compared(name: str, work: _Work) -> Measured:
    return Measured(
        name=name,
        value=seconds(work.prepare(), times=_RUNS) * 1e3,
        unit="ms",
        bound=work.bound_ms,
        baseline=BASELINES[work.baseline]() * 1e3,
        baseline_name=work.baseline,
    )


def _beside_peer(name: str, source: str, collateral: str) -> Result:
    """Measure one quote with both; neither parses the collateral again each time."""
    try:
        peer: Any = importlib.import_module("dcap_qvl")
    except ImportError:
        return NotMeasured(name=name, reason="the library dcap-qvl is not installed")
    if not VECTORS.is_dir():
        return NotMeasured(name=name, reason=_ABSENT)
    capture = dcap_captures.capture_of(source, collateral)
    parsed, now = peer.QuoteCollateralV3.from_json(capture.collateral.decode()), int(capture.now.timestamp())
    theirs = seconds(lambda: peer.verify(capture.quote, parsed, now), times=_RUNS)
    ours = seconds(_verify(capture), times=_RUNS)
    return Measured(name=name, value=ours * 1e3, unit="ms", baseline=theirs * 1e3, baseline_name="dcap-qvl")


def _growth(verify: Verify) -> int:
    for _ in range(_WARM_UP):
        verify()
    gc.collect()
    before = _resident_bytes()
    for _ in range(_VERIFICATIONS):
        verify()
    gc.collect()
    return max(_resident_bytes() - before, 0)


def _resident_bytes() -> int:
    return int(_STATISTICS.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _tpm() -> Verify:
    quoted = tpm_quotes.Quoted(key=tpm_quotes.rsa_key(), values=tpm_quotes.uki_values())
    evidence, policy = tpm_quotes.evidence_of(quoted), tpm_quotes.policy()
    return lambda: tpm.verify(evidence, policy=policy, now=pki_tpm.NOW)


def _snp(source: str) -> Verify:
    evidence, policy = snp_captures.evidence_of(source), snp_captures.lenient(source)
    now = snp_captures.time_of(source)
    return lambda: snp.verify(evidence, policy=policy, now=now)


def _dcap(source: str, collateral: str) -> Verify:
    return _verify(dcap_captures.capture_of(source, collateral))


def _verify(capture: Capture) -> Verify:
    return lambda: capture.verify(dcap_captures.LENIENT)


def _nitro() -> Verify:
    entry = case("nitro", _NITRO)
    data, now = vector(entry["doc"]), moment(entry.get("test_time", 1_767_472_867))
    trailing = re.search(r"trailing=([0-9]+)", entry["survey"])
    quote = data[: len(data) - int(trailing[1])] if trailing else data
    evidence, policy = Evidence(platform="nitro", quote=quote), nitro.Policy()
    return lambda: nitro.verify(evidence, policy=policy, now=now)


def _azure(source: str) -> Verify:
    evidence, policy = azure_captures.evidence_of(source), azure_captures.policy_for(source)
    return lambda: azure.verify(evidence, policy=policy, now=azure_captures.IN_JUNE_2026)
