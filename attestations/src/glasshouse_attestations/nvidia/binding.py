"""How a GPU's report is tied to the evidence of the CPU that drives it."""

from __future__ import annotations

import hashlib

from ..framing import frame
from ..report_data import REPORT_DATA_SIZE

__all__ = ["gpu_nonce"]

_DOMAIN = b"glasshouse GPU nonce v1"


def gpu_nonce(report_data: bytes) -> bytes:
    """Return the 32 bytes that a GPU must be challenged with beside CPU evidence with ``report_data``.

    ``SHA-256(domain ‖ NUL ‖ field(report_data))``. Since ``report_data`` already binds the client's nonce
    and the enclave's keys, one challenge governs both reports, and neither can be an old one.

    It does not show that both come from one machine: measured code that talks to a GPU elsewhere, or an
    operator who relays the challenge to one, gets the same nonce signed. What bounds that is the CPU's
    measurement alone: the code it names must itself verify the GPU over the encrypted session it uses.
    """
    if len(report_data) != REPORT_DATA_SIZE:
        raise ValueError(f"report data has {REPORT_DATA_SIZE} bytes")
    return hashlib.sha256(frame(_DOMAIN, report_data)).digest()
