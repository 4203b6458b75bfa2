"""Strategies for every format, and for the bytes that somebody hostile would send instead."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import datetime, timezone

from hypothesis import strategies as st

from glasshouse_attestations.audit import Audit, Environment, Verdict
from glasshouse_attestations.bundle import Bundle, ConsistencyProof, LoggedStatement
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.configuration import ApiKey, PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.dsse import Envelope, Signature
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.receipt import Receipt
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release, Source
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import Statement

_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
_SHA256 = st.binary(min_size=32, max_size=32)
_SHA384 = st.binary(min_size=48, max_size=48)
_SAFE_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)


def texts(max_size: int = 30) -> st.SearchStrategy[str]:
    """Texts as the fields of statements hold them."""
    return st.text(_PRINTABLE, min_size=1, max_size=max_size)


def names(max_size: int = 20, extra: str = "_-") -> st.SearchStrategy[str]:
    """Lower-case names that start with a letter."""
    return st.builds(
        str.__add__,
        st.sampled_from(string.ascii_lowercase),
        st.text(string.ascii_lowercase + string.digits + extra, max_size=max_size - 1),
    )


# Down to the first and up to the last moment that the calendar has.
moments = st.datetimes(timezones=st.just(timezone.utc)).map(lambda moment: moment.replace(microsecond=0))

json_values: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | _SAFE_INTEGERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)

_register_names = names(extra="_")

registers = st.dictionaries(
    _register_names.map("{}.sha256".format), _SHA256, min_size=1, max_size=4
) | st.dictionaries(_register_names.map("{}.sha384".format), _SHA384, min_size=1, max_size=4)

reference_values = st.builds(
    ReferenceValues,
    platforms=st.dictionaries(
        names(extra="-"), st.lists(registers, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
    ),
)

measurements = st.builds(
    Measurements,
    sha256=_SHA256,
    sha384=_SHA384,
    size=st.integers(1, 2**53 - 1),
    reference_values=reference_values,
)

sources = st.builds(
    Source,
    repository=texts(),
    commit=st.binary(min_size=20, max_size=20) | st.binary(min_size=32, max_size=32),
)

_path_parts = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
_lock_paths = st.lists(_path_parts, min_size=1, max_size=3).map("/".join)
_version_parts = st.integers(0, 999_999).map(str)


def _in_order(pair: tuple[datetime, datetime]) -> bool:
    return pair[0] < pair[1]


_periods = st.tuples(moments, moments).filter(_in_order)

releases = st.builds(
    lambda period, **fields: Release(not_before=period[0], not_after=period[1], **fields),
    period=_periods,
    image_sha256=_SHA256,
    version=st.tuples(_version_parts, _version_parts, _version_parts).map(".".join),
    source=sources,
    locks=st.dictionaries(_lock_paths, _SHA256, min_size=1, max_size=4),
    builder=texts(),
    reference_values=reference_values,
    sbom_sha256=_SHA256,
)


@st.composite
def audits(draw: st.DrawFn) -> Audit:
    """Audits of every verdict."""
    verdict = draw(st.sampled_from(Verdict))
    image_sha256 = draw(_SHA256)
    is_built = verdict is not Verdict.FAILED
    other = draw(_SHA256.filter(lambda digest: digest != image_sha256))
    time, expires = draw(_periods)
    return Audit(
        image_sha256=image_sha256,
        verdict=verdict,
        source=draw(sources),
        rebuilt_sha256={Verdict.REPRODUCED: image_sha256, Verdict.DIFFERS: other}.get(verdict),
        reference_values=draw(reference_values) if is_built else None,
        environment=draw(st.builds(Environment, os=texts(), architecture=texts(), python=texts())),
        time=time,
        expires=expires,
    )


revocations = st.builds(Revocation, image_sha256=_SHA256, reason=texts(), time=moments)

statements = st.builds(
    Statement,
    image_sha256=_SHA256,
    predicate_type=texts(),
    predicate=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=3),
)

envelopes = st.builds(
    Envelope,
    payload=st.binary(max_size=100),
    payload_type=texts(),
    signatures=st.lists(
        st.builds(Signature, key_id=_SHA256.map(bytes.hex), signature=st.binary(max_size=200)),
        min_size=1,
        max_size=4,
        unique_by=lambda signature: signature.key_id,
    ).map(lambda signatures: tuple(sorted(signatures, key=lambda signature: signature.key_id))),
)

evidence = st.builds(
    Evidence,
    platform=names(),
    quote=st.binary(min_size=1, max_size=100),
    endorsements=st.dictionaries(names(), st.binary(max_size=50), max_size=4),
)

_bundle_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(str.encode)

bundles = st.builds(
    Bundle,
    entries=st.lists(
        st.builds(LoggedStatement, envelope=_bundle_texts, proof=_bundle_texts),
        min_size=1,
        max_size=3,
        unique_by=lambda entry: entry.envelope,
    ).map(tuple),
    consistency=st.dictionaries(
        st.integers(1, 2**53 - 1), st.lists(_SHA256, max_size=3).map(tuple), max_size=4
    ).map(
        lambda proofs: tuple(
            ConsistencyProof(size=size, hashes=hashes) for size, hashes in sorted(proofs.items())
        )
    ),
)

model_ids = st.builds(ModelId, namespace=names(extra="._-"), name=names(extra="._-"))

configurations = st.builds(
    RuntimeConfiguration,
    max_models=st.integers(1, 100_000),
    max_model_bytes=st.integers(1, 2**53 - 1),
    max_total_model_bytes=st.integers(1, 2**53 - 1),
    max_request_bytes=st.integers(1024, 2**31 - 1),
    max_concurrent_requests=st.integers(1, 4096),
    inference_timeout_ms=st.integers(1, 86_400_000),
    upload_timeout_ms=st.integers(1, 86_400_000),
    api_keys=st.lists(
        st.builds(ApiKey, namespace=names(extra="._-"), sha256=_SHA256),
        max_size=3,
        unique_by=lambda entry: entry.sha256,
    ).map(tuple),
    models=st.lists(
        st.builds(PreloadedModel, model_id=model_ids, sha256=_SHA256),
        max_size=3,
        unique_by=lambda model: model.model_id,
    ).map(tuple),
)

receipts = st.builds(
    Receipt,
    model_id=model_ids,
    model_sha256=_SHA256,
    inputs_sha256=_SHA256,
    outputs_sha256=_SHA256,
    nonce=_SHA256,
    time=moments,
)


def _flip(data: bytes, position: int, byte: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([byte]) + data[position + 1 :]


def _cut(data: bytes, position: int, _byte: int) -> bytes:
    return data[: position % len(data)]


def _insert(data: bytes, position: int, byte: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([byte]) + data[position:]


def _repeat(data: bytes, position: int, _byte: int) -> bytes:
    position %= len(data)
    return data[:position] + data[position // 2 :]


_CHANGES: tuple[Callable[[bytes, int, int], bytes], ...] = (_flip, _cut, _insert, _repeat)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are ``data`` but for one change at one place."""
    return st.builds(
        lambda change, position, byte: change(data, position, byte),
        st.sampled_from(_CHANGES),
        st.integers(0, len(data) - 1),
        st.integers(0, 255) | st.sampled_from(list(b'"\\{}[],:0-e.tfn')),
    )
