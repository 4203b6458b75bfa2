"""The attester of a machine with a TPM 2.0: a quote by its attestation key over the image's registers.

The key and its certificate are where cloud providers put them: the key at a persistent handle, the
certificate in an index of the non-volatile memory (both as on Azure's virtual machines).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from glasshouse_attestations import canonical_json
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.report_data import qualifying_data

from .errors import AttestationUnavailableError
from .tpm import Tpm

__all__ = ["AK_CERTIFICATE_INDEX", "AK_HANDLE", "PCRS", "TpmAttester"]

AK_HANDLE = 0x81000003
AK_CERTIFICATE_INDEX = 0x01C101D0
PCRS = (4, 8, 11, 12, 13)
"""What a release predicts: the programs started, the image's sections, and where all else would show."""

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    public: bytes
    certificate: bytes


class TpmAttester:
    """Asks the TPM for a quote over :data:`PCRS`, whose qualifying data is SHA-256 of the report data.

    ``endorsements`` are what the operator supplies beside it, such as the chain of the key's certificate. A
    TPM does one thing at a time, so quotes are made one after the other.
    """

    def __init__(self, tpm: Tpm, endorsements: Callable[[], Mapping[str, bytes]]) -> None:
        self._tpm = tpm
        self._endorsements = endorsements
        self._lock = threading.Lock()
        self._key: _Key | None = None

    async def quote(self, report_data: bytes) -> Evidence:
        """Return a fresh quote over ``report_data``, with the key's certificate and the registers."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._quote, report_data), _TIMEOUT)
        except asyncio.TimeoutError as err:
            raise AttestationUnavailableError("the tpm takes too long") from err

    def _quote(self, report_data: bytes) -> Evidence:
        with self._lock:
            key = self._known_key()
            quote = self._tpm.quote(AK_HANDLE, qualifying_data=qualifying_data(report_data), numbers=PCRS)
            pcrs = self._tpm.read_pcrs(PCRS)
        own = {
            "signature": quote.signature,
            "pcrs": _encode_pcrs(pcrs),
            "ak-public": key.public,
            "ak-certificate": key.certificate,
        }
        return Evidence(platform="tpm", quote=quote.attested, endorsements={**self._endorsements(), **own})

    def _known_key(self) -> _Key:
        # Neither changes while the machine runs, and reading the certificate takes several commands.
        if self._key is None:
            certificate = _without_padding(self._tpm.read_index(AK_CERTIFICATE_INDEX))
            self._key = _Key(public=self._tpm.read_public(AK_HANDLE), certificate=certificate)
        return self._key


def _encode_pcrs(pcrs: Mapping[int, bytes]) -> bytes:
    bank: dict[str, canonical_json.JSON] = {str(number): value.hex() for number, value in pcrs.items()}
    return canonical_json.encode({"sha256": bank})


def _without_padding(content: bytes) -> bytes:
    """Return the DER structure at the start of ``content``: an index may be larger than its certificate."""
    if content[:2] != b"\x30\x82":
        raise AttestationUnavailableError("the tpm's index holds no certificate")
    end = 4 + int.from_bytes(content[2:4], "big")
    if end > len(content) or content[end:].strip(b"\0"):
        raise AttestationUnavailableError("the tpm's index holds something else than one certificate")
    return content[:end]
