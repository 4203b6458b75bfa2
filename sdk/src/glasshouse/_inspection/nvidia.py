"""Reports of NVIDIA GPUs and switches, field by field (DMTF DSP0274 1.1, 10.11; NVIDIA's opaque data)."""

from __future__ import annotations

from glasshouse_attestations.nvidia.opaque import Field, OpaqueData
from glasshouse_attestations.nvidia.spdm import Report

from .tree import Node, branch, leaf

__all__ = ["describe"]

_NAMES = {field.value: field.name for field in Field}


def describe(data: bytes) -> Node:
    """Return the request's nonce, the measurement blocks and the opaque fields, known or not."""
    report = Report.parse(data)
    opaque = OpaqueData.parse(report.opaque)
    blocks = (leaf(f"block {index}", value) for index, value in sorted(report.measurements.items()))
    fields = (leaf(_NAMES.get(kind, f"type {kind}"), _text(value)) for kind, value in opaque.fields.items())
    below = (
        leaf("GET_MEASUREMENTS nonce", report.nonce),
        branch("measurement record", blocks),
        branch("opaque data", fields),
        leaf("signature", report.signature),
    )
    return branch("SPDM 1.1 measurements", below)


def _text(value: bytes) -> str:
    text = value.rstrip(b"\0")
    is_text = len(text) > 3 and all(0x20 < byte < 0x7F for byte in text)
    return f"{value.hex()} ({text.decode('ascii')})" if is_text else value.hex()
