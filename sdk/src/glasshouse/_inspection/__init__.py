"""Evidence taken apart for people: what it says, in the specification's own words. Nothing here verifies."""

from __future__ import annotations

from collections.abc import Callable

from glasshouse_attestations.errors import GlasshouseError, MalformedError
from glasshouse_attestations.evidence import Evidence

from .tree import Node, branch, leaf, to_json, to_text

__all__ = ["Node", "inspect", "parse_evidence", "recognise", "to_json", "to_text"]

_SNP_REPORT_SIZE = 1184


def inspect(data: bytes) -> Node:
    """Return what ``data`` says: evidence of ours, or any quote, report or document that it is recognised as.

    Raises :class:`MalformedError` if it is none, or not well-formed.
    """
    if data.lstrip().startswith(b"{"):
        return _evidence(Evidence.parse(data.rstrip(b"\n")))
    return _describer(recognise(data))(data)


def recognise(data: bytes) -> str:
    """Return the platform whose raw evidence begins as ``data`` does; ``hcl`` is Azure's hardware report."""
    head = data[:8]
    if len(data) == _SNP_REPORT_SIZE and head[0] in (2, 3, 4, 5) and not any(head[1:4]):
        return "snp"
    if len(data) > 48 and head[0] in (3, 4, 5) and head[1:4] == b"\x00\x02\x00":
        return "sgx" if head[4:8] == bytes(4) else "tdx"
    if head.removeprefix(b"\xd2").startswith(b"\x84\x44\xa1\x01\x38"):
        return "nitro"
    if head.startswith(b"\xffTCG"):
        return "tpm"
    if head.startswith(b"HCLA"):
        return "hcl"
    if head.startswith(b"\x11\xe0"):
        return "nvidia"
    raise MalformedError("the file is no evidence that is known here")


def parse_evidence(data: bytes, endorsements: dict[str, bytes]) -> Evidence:
    """Return evidence of ours, or make some of a raw quote, and add the endorsements to it.

    What a TPM signed is evidence of ``azure`` if an ``hcl-report`` comes with it, else of ``tpm``.
    """
    if data.lstrip().startswith(b"{"):
        found = Evidence.parse(data.rstrip(b"\n"))
    else:
        platform = recognise(data)
        if platform == "hcl":
            raise MalformedError("an hcl report is an endorsement: the evidence is what the vTPM signed")
        if platform == "tpm" and "hcl-report" in endorsements:
            platform = "azure"
        found = Evidence(platform=platform, quote=data)
    if twice := found.endorsements.keys() & endorsements.keys():
        raise MalformedError(f"the evidence already has the endorsement {min(twice)}")
    return Evidence(
        platform=found.platform, quote=found.quote, endorsements={**found.endorsements, **endorsements}
    )


def _evidence(evidence: Evidence) -> Node:
    from .certificates import endorsement

    below = []
    for name, value in sorted(evidence.endorsements.items()):
        try:
            below.append(inspect(value) if name in ("hcl-report", "td-quote") else endorsement(name, value))
        except GlasshouseError as err:
            below.append(leaf(name, f"{len(value)} bytes that cannot be read: {err}"))
    if evidence.platform == "simulated":
        quote = leaf("quote", evidence.quote.decode("utf-8", "backslashreplace"))
    else:
        quote = inspect(evidence.quote)
    return branch(
        "glasshouse/evidence/v1",
        (leaf("platform", evidence.platform), branch("quote", (quote,)), branch("endorsements", below)),
    )


def _describer(platform: str) -> Callable[[bytes], Node]:
    if platform == "snp":
        from . import snp

        return snp.describe
    if platform in ("sgx", "tdx"):
        from . import dcap

        return dcap.describe
    if platform == "nitro":
        from . import nitro

        return nitro.describe
    if platform == "tpm":
        from . import tpm

        return tpm.describe
    if platform == "hcl":
        from . import azure

        return azure.describe
    from . import nvidia

    return nvidia.describe
