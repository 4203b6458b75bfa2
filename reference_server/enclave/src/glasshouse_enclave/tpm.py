"""The five commands that the server has for a TPM 2.0, written and read strictly.

Structures and codes are those of the TPM 2.0 Library, Part 2 (Structures) and Part 3 (Commands). All numbers
are big-endian. What a TPM answers is taken apart to the last byte, but it is not trusted: only a client,
who verifies signature and certificate, decides what it is worth.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .errors import AttestationUnavailableError

__all__ = ["Device", "Quote", "Tpm", "Transport"]

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002  # TPM_ST (Part 2, 6.9)
_NV_READ, _QUOTE, _NV_READ_PUBLIC, _READ_PUBLIC, _PCR_READ = 0x14E, 0x158, 0x169, 0x173, 0x17E  # TPM_CC
_SHA256, _NULL = 0x000B, 0x0010  # TPM_ALG_ID
# An empty password, as a session (Part 1, 19.4): TPM_RS_PW, no nonce, no attributes, no secret.
_EMPTY_PASSWORD = struct.pack("!IIHBH", 9, 0x40000009, 0, 0, 0)
_HEADER = struct.Struct("!HII")
_MAX_RESPONSE = 4096
_MAX_INDEX = 8192
_CHUNK = 512
_SELECT_SIZE = 3


class Transport(Protocol):
    """Something that hands one command to a TPM and returns its response."""

    def transmit(self, command: bytes) -> bytes:
        """Return the response to ``command``; raises ``OSError``."""


class Device:
    """The kernel's resource-managed TPM device: every opening of it has the TPM to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def transmit(self, command: bytes) -> bytes:
        """Return the response to ``command``."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(descriptor, command)
            return os.read(descriptor, _MAX_RESPONSE)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """TPMS_ATTEST as the TPM signed it, and the TPMT_SIGNATURE over it."""

    attested: bytes
    signature: bytes


class Tpm:
    """A TPM 2.0. Each method raises :class:`AttestationUnavailableError` if the TPM does not do as asked."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read_public(self, handle: int) -> bytes:
        """Return the TPM2B_PUBLIC of the key at ``handle`` (TPM2_ReadPublic, Part 3, 12.4)."""
        answer = self._command(_READ_PUBLIC, struct.pack("!I", handle))
        public = answer.sized()
        answer.sized()
        answer.sized()
        answer.end()
        return struct.pack("!H", len(public)) + public

    def read_index(self, index: int) -> bytes:
        """Return the whole content of the NV index (TPM2_NV_ReadPublic and TPM2_NV_Read, Part 3, 31)."""
        size = self._index_size(index)
        content = b""
        while len(content) < size:
            want = min(_CHUNK, size - len(content))
            body = struct.pack("!II", index, index), struct.pack("!HH", want, len(content))
            answer = self._command(_NV_READ, *body)
            part = answer.sized()
            answer.end()
            if len(part) != want:
                raise AttestationUnavailableError("the tpm returned another amount than was asked for")
            content += part
        return content

    def read_pcrs(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Return PCRs of the SHA-256 bank, at most 8 of them (TPM2_PCR_Read, Part 3, 22.4)."""
        selection = _selection(numbers)
        answer = self._command(_PCR_READ, selection)
        answer.integer(4)  # how often PCRs have changed
        if answer.take(len(selection)) != selection or answer.integer(4) != len(numbers):
            raise AttestationUnavailableError("the tpm has no sha-256 bank of pcrs")
        values = {number: answer.sized() for number in sorted(numbers)}
        answer.end()
        if any(len(value) != 32 for value in values.values()):
            raise AttestationUnavailableError("the tpm returned a pcr of another size")
        return values

    def quote(self, handle: int, *, qualifying_data: bytes, numbers: Sequence[int]) -> Quote:
        """Return a quote over PCRs of the SHA-256 bank by the key at ``handle`` (TPM2_Quote, Part 3, 18.4).

        The key is restricted to its own signature scheme, so none is asked for.
        """
        parameters = _sized(qualifying_data) + struct.pack("!H", _NULL) + _selection(numbers)
        answer = self._command(_QUOTE, struct.pack("!I", handle), parameters)
        return Quote(attested=answer.sized(), signature=answer.rest())

    def _index_size(self, index: int) -> int:
        answer = self._command(_NV_READ_PUBLIC, struct.pack("!I", index))
        public = _Answer(answer.sized())
        answer.sized()
        answer.end()
        found = public.integer(4)
        public.take(2 + 4)  # the algorithm of its name, and its attributes
        public.sized()
        size = public.integer(2)
        public.end()
        if found != index or not 0 < size <= _MAX_INDEX:
            raise AttestationUnavailableError("the tpm's index is not one that could hold a certificate")
        return size

    def _command(self, code: int, handles: bytes, parameters: bytes | None = None) -> _Answer:
        """Send a command; one with ``parameters`` beside its handles is authorised by an empty password."""
        tag = _NO_SESSIONS if parameters is None else _SESSIONS
        body = handles if parameters is None else handles + _EMPTY_PASSWORD + parameters
        try:
            response = self._transport.transmit(_HEADER.pack(tag, _HEADER.size + len(body), code) + body)
        except OSError as err:
            raise AttestationUnavailableError("the tpm does not answer") from err
        answer = _Answer(response)
        found, size, result = answer.integer(2), answer.integer(4), answer.integer(4)
        if result != 0:
            raise AttestationUnavailableError(f"the tpm answered command {code:#x} with {result:#x}")
        if found != tag or size != len(response):
            raise AttestationUnavailableError("the tpm's response contradicts itself")
        if tag == _NO_SESSIONS:
            return answer
        parameters_of_answer = _Answer(answer.take(answer.integer(4)))
        answer.rest()  # the session's part says nothing without a secret
        return parameters_of_answer


class _Answer:
    """A response that is read from front to back, and never beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise AttestationUnavailableError("the tpm's response is cut short")
        self._at += size
        return taken

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.integer(2))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        if self.rest():
            raise AttestationUnavailableError("the tpm's response has something behind its end")


def _selection(numbers: Sequence[int]) -> bytes:
    """Return a TPML_PCR_SELECTION of one bank, SHA-256 (Part 2, 10.6.2 and 10.9.7)."""
    bits = sum(1 << number for number in numbers)
    return struct.pack("!IHB", 1, _SHA256, _SELECT_SIZE) + bits.to_bytes(_SELECT_SIZE, "little")


def _sized(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data
