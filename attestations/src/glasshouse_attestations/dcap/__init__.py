"""Intel SGX and TDX: quotes of the DCAP quoting enclaves, judged with Intel's collateral.

What :func:`verify` proves: a quoting enclave that Intel states signed the quote, on a processor whose
certificate chains to the pinned key of Intel's root and is not revoked; Intel's judgement of the
processor's firmware, the quoting enclave and the TDX module, current at the time given, is one that the
policy accepts; the enclave or trust domain can't be debugged and has the attributes and owner's fields
that the policy asks for. The report data and the registers are left to the caller.

What it cannot prove stands in :data:`UNPROVEN`.
"""

from .certificates import ROOT_SPKI_SHA256
from .collateral import Collateral
from .enclave import SgxPolicy
from .identities import EnclaveIdentity, TcbInfo, TcbStatus
from .pck import PckExtensions
from .policy import TcbPolicy
from .quote import EnclaveReport, Quote, TdReport, Tee
from .trust_domain import TdxPolicy
from .verify import SGX, TDX, UNPROVEN, verify, verify_collateral

__all__ = [
    "ROOT_SPKI_SHA256",
    "SGX",
    "TDX",
    "UNPROVEN",
    "Collateral",
    "EnclaveIdentity",
    "EnclaveReport",
    "PckExtensions",
    "Quote",
    "SgxPolicy",
    "TcbInfo",
    "TcbPolicy",
    "TcbStatus",
    "TdReport",
    "TdxPolicy",
    "Tee",
    "verify",
    "verify_collateral",
]
