"""Confidential AI inference that is verified before anything is sent.

::

    import glasshouse

    with glasshouse.Connection("enclave.example:50051", policy="trust.toml", api_key="gh_…") as client:
        client.upload_model("resnet18.onnx", model_id="alice/resnet18")
        response = client.predict("alice/resnet18", batch)
        print(response.output[0].as_numpy())
        print(client.verdict)

A connection exists only once the server has been verified, in twelve steps and offline, against the policy:
whose releases, whose audits, which log and witnesses, which platforms. A failure raises the error of its
step (:mod:`glasshouse.errors`), and nothing has been sent. A policy says whom to trust:

>>> import glasshouse
>>> glasshouse.parse_policy(b'version = 2')
Traceback (most recent call last):
    ...
glasshouse.errors.PolicyError: policy.version is not 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._log import Remembered
from ._policy import DevelopmentPolicy, Policy, ProductionPolicy, load_policy, parse_policy
from ._verdict import Outcome, Status, Step, StepResult, Verdict
from ._verifier import (
    Attestation,
    Channel,
    TrustedRelease,
    VerifiedBundle,
    VerifiedServer,
    verify_attestation,
    verify_bundle,
)
from .errors import GlasshouseError, MalformedError, UnavailableError, VerificationError

if TYPE_CHECKING:
    from ._connection import Connection, Model, Response
    from ._receipts import SignedReceipt, VerifiedReceipt, verify_receipt
    from ._tensors import Output, Outputs

__all__ = [
    "Attestation",
    "Channel",
    "Connection",
    "DevelopmentPolicy",
    "GlasshouseError",
    "MalformedError",
    "Model",
    "Outcome",
    "Output",
    "Outputs",
    "Policy",
    "ProductionPolicy",
    "Remembered",
    "Response",
    "SignedReceipt",
    "Status",
    "Step",
    "StepResult",
    "TrustedRelease",
    "UnavailableError",
    "Verdict",
    "VerificationError",
    "VerifiedBundle",
    "VerifiedReceipt",
    "VerifiedServer",
    "load_policy",
    "parse_policy",
    "verify_attestation",
    "verify_bundle",
    "verify_receipt",
]

# What needs grpc and numpy is loaded when it is first asked for: to import this package stays cheap.
_LATER = {
    "Connection": "_connection",
    "Model": "_connection",
    "Output": "_tensors",
    "Outputs": "_tensors",
    "Response": "_connection",
    "SignedReceipt": "_receipts",
    "VerifiedReceipt": "_receipts",
    "verify_receipt": "_receipts",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
