"""What can go wrong inside the enclave, as a part of the tree of :mod:`glasshouse_attestations.errors`.

::

    GlasshouseError
    ├── RefusedError                     the server will not do what the caller asked
    └── UnavailableError
        ├── AttestationUnavailableError  the platform gave no quote
        └── StartError                   the server cannot start as it was configured
"""

from __future__ import annotations

from glasshouse_attestations.errors import GlasshouseError, UnavailableError
from glasshouse_attestations.rpc import Refusal

__all__ = ["AttestationUnavailableError", "RefusedError", "StartError"]


class RefusedError(GlasshouseError):
    """The caller is told one of the fixed refusals, and nothing else."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class AttestationUnavailableError(UnavailableError):
    """The platform gave no quote, or nothing that is one."""


class StartError(UnavailableError):
    """The server cannot start: a file of the operator's is missing, too large, or not the one announced."""
