"""What the log takes in: canonical DSSE envelopes, signed by a key it admits."""

from __future__ import annotations

from collections.abc import Collection

from glasshouse_attestations import dsse
from glasshouse_attestations.errors import MalformedError, VerificationError
from glasshouse_attestations.keys import PublicKey

from .errors import AdmissionError, MalformedEntryError

__all__ = ["check_admission"]


def check_admission(entry: bytes, admitted: Collection[PublicKey] | None) -> None:
    """Prove that an entry is a canonical envelope which, unless `admitted` is None, an admitted key signed.

    What the statement says is not judged: a log records who said what. Raises MalformedEntryError or
    AdmissionError.
    """
    try:
        envelope = dsse.Envelope.parse(entry)
    except MalformedError as err:
        raise MalformedEntryError(f"not a canonical DSSE envelope: {err}") from err
    if admitted is None:
        return
    try:
        dsse.verify(envelope, payload_type=envelope.payload_type, trusted=admitted)
    except VerificationError as err:
        raise AdmissionError("no key that this log admits has signed the envelope") from err
