"""Quotes of a TPM emulator, made by other people's tools, verify; and what another key signs is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from glasshouse_attestations import tpm
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    MalformedError,
    OverrideRegisterError,
    PcrError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.tpm.structures import PublicArea
from support import pki_tpm, tpm_quotes
from support.live_tpm import LiveQuote, LiveTpm, needs_tpm_emulator, running_tpm

pytestmark = needs_tpm_emulator

SELECTION = "sha256:4,8,11,12,13"
DATA = hashlib.sha256(b"report data").digest()
ALGORITHMS = {
    "rsassa": "rsa2048:rsassa-sha256:null",
    "rsapss": "rsa2048:rsapss-sha256:null",
    "ecdsa p-256": "ecc256:ecdsa-sha256:null",
    "ecdsa p-384": "ecc384:ecdsa-sha384:null",
}
# What tpm2_quote does not find out from the key itself.
OPTIONS = {"rsapss": ("--scheme", "rsapss"), "ecdsa p-384": ("-g", "sha384")}


@pytest.fixture(scope="module")
def machine() -> Iterator[LiveTpm]:
    with running_tpm() as running:
        for register in (4, 11):
            running.extend(register, hashlib.sha256(b"measured").digest())
        yield running


def evidence_of(quote: LiveQuote, bank: str = "sha256") -> Evidence:
    return tpm_quotes.captured(
        quote.message,
        signature=quote.signature,
        values=quote.values,
        key=PublicArea.parse(quote.public).key,
        bank=bank,
        public=quote.public,
    )


def verify(quote: LiveQuote) -> Claims:
    return tpm.verify(evidence_of(quote), policy=tpm_quotes.policy(), now=pki_tpm.NOW)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_live_quote_verifies(machine: LiveTpm, name: str) -> None:
    key = machine.primary_key(ALGORITHMS[name])
    claims = verify(machine.quote(key, selection=SELECTION, data=DATA, options=OPTIONS.get(name, ())))
    assert claims.report_data == DATA
    assert claims.registers["pcr4.sha256"] == tpm_quotes.extended(b"measured")
    assert claims.registers["pcr12.sha256"] == bytes(32)
    outcomes = {check.name: check.outcome for check in claims.checks}
    assert outcomes["attestation key attributes"] is Outcome.PASSED
    assert outcomes["qualified signer"] is Outcome.PASSED


def test_a_live_quote_by_a_key_below_the_endorsement_key_verifies(machine: LiveTpm) -> None:
    key = machine.key_below_endorsement_key()
    claims = verify(machine.quote(key, selection=SELECTION, data=DATA))
    outcomes = {check.name: check.outcome for check in claims.checks}
    assert outcomes["attestation key attributes"] is Outcome.PASSED
    assert outcomes["qualified signer"] is Outcome.NOT_CHECKED


def test_a_live_key_that_signs_anything_is_refused(machine: LiveTpm) -> None:
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    key = machine.primary_key(ALGORITHMS["rsassa"], attributes)
    quote = machine.quote(key, selection=SELECTION, data=DATA)
    with pytest.raises(AttributesError):
        verify(quote)


@pytest.mark.parametrize("selection", ["sha256:4", "sha256:0,4,8,11,12,13", "sha1:4,8,11,12,13"])
def test_a_live_quote_over_other_registers_is_refused(machine: LiveTpm, selection: str) -> None:
    key = machine.primary_key(ALGORITHMS["ecdsa p-256"])
    quote = machine.quote(key, selection=selection, data=DATA)
    values = tpm_quotes.uki_values()
    shown = LiveQuote(message=quote.message, signature=quote.signature, public=quote.public, values=values)
    with pytest.raises(PcrError, match="not over exactly"):
        verify(shown)


def test_a_live_attestation_that_is_no_quote_is_refused(machine: LiveTpm) -> None:
    message, signature, public = machine.certification(machine.primary_key(ALGORITHMS["rsassa"]))
    shown = LiveQuote(message=message, signature=signature, public=public, values=tpm_quotes.uki_values())
    with pytest.raises(MalformedError, match="TPM_ST_ATTEST_QUOTE"):
        verify(shown)


def test_a_live_override_is_refused() -> None:
    with running_tpm() as machine:
        machine.extend(12, hashlib.sha256(b"a command line from outside").digest())
        quote = machine.quote(machine.primary_key(ALGORITHMS["rsassa"]), selection=SELECTION, data=DATA)
    with pytest.raises(OverrideRegisterError, match="registers 12"):
        verify(quote)
