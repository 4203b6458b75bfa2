"""The register values that travel beside a quote, and the digest by which the quote binds them."""

from __future__ import annotations

from collections.abc import Mapping

from .. import canonical_json
from ..canonical_json import JSON
from ..document import Document, parse_hex
from ..errors import OverrideRegisterError, PcrError
from ..reference_values import Registers
from .structures import HashAlgorithm, Selection

__all__ = [
    "check_digest",
    "check_selection",
    "check_zero",
    "encode_values",
    "parse_values",
    "registers",
]

_MAX_SIZE = 8192


def parse_values(data: bytes, *, bank: HashAlgorithm) -> Mapping[int, bytes]:
    """Return the registers in ``data``, canonical JSON of the form ``{"sha256": {"4": hex}}``.

    They are of ``bank`` and of no other, 0 to 23, each as long as its hash. They are claims of whoever sent
    them until :func:`check_digest` has bound them to a quote.
    """
    document = Document(canonical_json.parse(data, max_size=_MAX_SIZE, max_depth=2), "pcrs")
    if document.names() != (bank.label,):
        raise PcrError(f"the register values are not of the {bank.label} bank alone")
    values = document.document(bank.label)
    names = values.names()
    known = {str(index): index for index in range(24)}
    if not known.keys() >= set(names):
        raise PcrError("a register value is of no register from 0 to 23")
    return {known[name]: parse_hex(values.value(name), f"pcrs.{name}", bank.size) for name in names}


def encode_values(values: Mapping[int, bytes], *, bank: HashAlgorithm) -> bytes:
    """Write the registers as :func:`parse_values` reads them."""
    members: dict[str, JSON] = {str(index): value.hex() for index, value in values.items()}
    return canonical_json.encode({bank.label: members})


def check_selection(
    selections: tuple[Selection, ...],
    values: Mapping[int, bytes],
    *,
    bank: HashAlgorithm,
    expected: frozenset[int],
) -> None:
    """Return if quote and values are of exactly ``expected`` in ``bank`` alone; else :class:`PcrError`.

    An empty or shorter selection would leave registers free to the sender (Part 2, 10.6.2 and 10.12.4).
    """
    if selections != (Selection(hash_id=bank.value, registers=expected),):
        raise PcrError(f"the quote is not over exactly registers {_list(expected)} of the {bank.label} bank")
    if values.keys() != expected:
        raise PcrError(f"the register values are not of exactly registers {_list(expected)}")


def check_digest(pcr_digest: bytes, values: Mapping[int, bytes], *, signing_hash: HashAlgorithm) -> None:
    """Return if ``pcr_digest`` is the digest of the values in ascending order; else :class:`PcrError`.

    It is computed with the hash of the signature, whatever the bank (Part 3, 18.4).
    """
    if signing_hash.digest(b"".join(values[index] for index in sorted(values))) != pcr_digest:
        raise PcrError("the digest in the quote is not the digest of the register values")


def check_zero(values: Mapping[int, bytes], *, zero: frozenset[int]) -> None:
    """Return if the registers ``zero`` hold nothing; else :class:`OverrideRegisterError`."""
    changed = [index for index in sorted(zero) if any(values[index])]
    if changed:
        raise OverrideRegisterError(
            f"registers {_list(changed)} are not zero: something from outside the image was measured"
        )


def registers(values: Mapping[int, bytes], *, bank: HashAlgorithm) -> Registers:
    """Return the values under the names that reference values have for them, such as ``pcr4.sha256``."""
    return {f"pcr{index}.{bank.label}": values[index] for index in sorted(values)}


def _list(indices: frozenset[int] | list[int]) -> str:
    return ", ".join(map(str, sorted(indices)))
