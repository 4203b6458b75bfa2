"""How long captured evidence of each technology takes to verify, once its certificates have been seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from glasshouse_attestations import azure, nitro, snp, tpm
from glasshouse_attestations.evidence import Evidence
from support import azure_captures, dcap_captures, pki_tpm, snp_captures, tpm_quotes
from support.vectors import VECTORS, case, moment, vector

from .measured import Measured, seconds

__all__ = ["benchmarks"]

_SNP = {
    "version 3, VCEK": "oak/genoa_oc",
    "version 5, VCEK": "oak/turin_oc",
    "VLEK": "trustee/test-vlek-report",
}
_DCAP = {
    "sgx": ("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx"),
    "tdx, version 4": ("tdx/dcapqvl/tdx_quote", "dcapqvl_tdx"),
    "tdx, version 5": ("tdx/gotdx/quote_v5_sample.dat", "flashbots_azure-collateral"),
}
_NITRO = "base/hinted_attestation_20260103.repaired.bin"
_RUNS = 50


class _Work(NamedTuple):
    name: str
    bound_ms: float
    verify: Callable[[], object]


def benchmarks() -> Iterator[Measured]:
    """Measure each; the captures' ones only where they are. A TPM's quote is of a generated key."""
    for work in (_tpm(), *(_captured() if VECTORS.is_dir() else ())):
        taken = seconds(work.verify, times=_RUNS) * 1e3
        yield Measured(name=f"evidence: {work.name}", value=taken, unit="ms", bound=work.bound_ms)


def _captured() -> Iterator[_Work]:
    for name, source in _SNP.items():
        yield _snp(f"snp, {name}", source)
    for name, (source, collateral) in _DCAP.items():
        yield _dcap(name, source, collateral)
    yield _nitro()
    yield _azure("azure on snp", azure_captures.GENOA)
    yield _azure("azure on tdx", azure_captures.COMPLETE)


def _snp(name: str, source: str) -> _Work:
    evidence, policy = snp_captures.evidence_of(source), snp_captures.lenient(source)
    now = snp_captures.time_of(source)
    return _Work(name, 2, lambda: snp.verify(evidence, policy=policy, now=now))


def _dcap(name: str, source: str, collateral: str) -> _Work:
    capture = dcap_captures.capture_of(source, collateral)
    return _Work(name, 1.5, lambda: capture.verify(dcap_captures.LENIENT))


def _nitro() -> _Work:
    entry = case("nitro", _NITRO)
    data, now = vector(entry["doc"]), moment(entry.get("test_time", 1_767_472_867))
    trailing = re.search(r"trailing=([0-9]+)", entry["survey"])
    quote = data[: len(data) - int(trailing[1])] if trailing else data
    evidence, policy = Evidence(platform="nitro", quote=quote), nitro.Policy()
    return _Work("nitro", 3, lambda: nitro.verify(evidence, policy=policy, now=now))


def _tpm() -> _Work:
    quoted = tpm_quotes.Quoted(key=tpm_quotes.rsa_key(), values=tpm_quotes.uki_values())
    evidence, policy = tpm_quotes.evidence_of(quoted), tpm_quotes.policy()
    return _Work("tpm", 1, lambda: tpm.verify(evidence, policy=policy, now=pki_tpm.NOW))


def _azure(name: str, source: str) -> _Work:
    """The bound is that of the hardware's evidence (two) and that of the vTPM's quote (one)."""
    evidence, policy = azure_captures.evidence_of(source), azure_captures.policy_for(source)
    return _Work(name, 3, lambda: azure.verify(evidence, policy=policy, now=azure_captures.IN_JUNE_2026))
