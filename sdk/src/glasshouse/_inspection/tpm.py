"""What a TPM signs, field by field (TPM 2.0 Library, Part 2, 10.12, TPMS_ATTEST), and its endorsements."""

from __future__ import annotations

from glasshouse_attestations.tpm.structures import Attestation, HashAlgorithm, Selection

from .tree import Node, branch, leaf

__all__ = ["describe"]

_HASHES = {0x0004: "TPM_ALG_SHA1", **{each.value: f"TPM_ALG_{each.name}" for each in HashAlgorithm}}


def describe(data: bytes) -> Node:
    """Return the fields of a quote by the TCG's names."""
    quote = Attestation.parse(data)
    clock = (
        leaf("clock (ms)", quote.clock.clock_ms),
        leaf("resetCount", quote.clock.reset_count),
        leaf("restartCount", quote.clock.restart_count),
        leaf("safe", quote.clock.safe),
    )
    below = (
        leaf("magic", "TPM_GENERATED_VALUE"),
        leaf("type", "TPM_ST_ATTEST_QUOTE"),
        leaf("qualifiedSigner", quote.qualified_signer),
        leaf("extraData", quote.extra_data),
        branch("clockInfo", clock),
        leaf("firmwareVersion", f"{quote.firmware_version:#018x}"),
        branch("attested.quote.pcrSelect", map(_selection, quote.selections)),
        leaf("attested.quote.pcrDigest", quote.pcr_digest),
    )
    return branch("TPMS_ATTEST", below)


def _selection(selection: Selection) -> Node:
    name = _HASHES.get(selection.hash_id, f"hash algorithm {selection.hash_id:#06x}")
    return leaf(name, " ".join(map(str, sorted(selection.registers))) or "no register")
