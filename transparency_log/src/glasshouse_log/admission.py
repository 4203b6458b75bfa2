"""What the log takes in: canonical DSSE envelopes, signed by keys it admits and no others."""

from __future__ import annotations

from collections.abc import Collection

from glasshouse_attestations import dsse
from glasshouse_attestations.errors import MalformedError, VerificationError
from glasshouse_attestations.keys import PublicKey

from .errors import AdmissionError, MalformedEntryError

__all__ = ["check_admission"]


def check_admission(entry: bytes, admitted: Collection[PublicKey] | None) -> None:
    """Prove that an entry is a canonical envelope which, unless `admitted` is None, admitted keys signed.

    No other key may have signed it too: else anybody could add a signature of their own to what is in the
    log, as often as they like, and each result would be a new entry. What the statement says is not judged:
    a log records who said what. Raises MalformedEntryError or AdmissionError.
    """
    try:
        envelope = dsse.Envelope.parse(entry)
    except MalformedError as err:
        raise MalformedEntryError(f"not a canonical DSSE envelope: {err}") from err
    if admitted is None:
        return
    try:
        signers = dsse.verify(envelope, payload_type=envelope.payload_type, trusted=admitted)
    except VerificationError as err:
        raise AdmissionError("no key that this log admits has signed the envelope") from err
    if len(signers) != len(envelope.signatures):
        raise AdmissionError("a key that this log does not admit has signed the envelope too")
