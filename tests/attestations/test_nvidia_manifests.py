"""Reference manifests of a generated signer: their form, and how measurements are held against them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from glasshouse_attestations import nvidia
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    CertificateChainError,
    CertificateExpiredError,
    CollateralError,
    MalformedError,
    MeasurementMismatchError,
    ProductError,
    UnavailableError,
)
from support.pki_nvidia import (
    DRIVER,
    DRIVER_BLOCKS,
    MEASUREMENTS,
    NOW,
    VBIOS,
    VBIOS_BLOCKS,
    Nvidia,
    needs_xml_signatures,
    opaque,
    record,
    rim_xml,
)

pytestmark = needs_xml_signatures

_NVIDIA = Nvidia.generate()
_REPORT = _NVIDIA.report()


def _rims(**changes: bytes | None) -> dict[str, bytes | None]:
    return {
        "driver_rim": _NVIDIA.rim(DRIVER, DRIVER_BLOCKS),
        "vbios_rim": _NVIDIA.rim(VBIOS, VBIOS_BLOCKS),
        **changes,
    }


def _verify(
    quote: bytes = _REPORT, pki: Nvidia = _NVIDIA, rims: dict[str, bytes | None] | None = None, **policy: Any
) -> Claims:
    evidence = pki.evidence(quote, **(_rims() if rims is None else rims))
    return nvidia.verify(evidence, policy=pki.lenient(**{"require_rims": True, **policy}), now=NOW)


def test_a_report_that_shows_the_reference_values_verifies() -> None:
    claims = _verify()
    by_name = {check.name: check for check in claims.checks}
    for name in ("driver-rim", "vbios-rim", "measurements"):
        assert by_name[name].outcome is Outcome.PASSED
    assert by_name["measurements"].detail.startswith("5 of 64 blocks")


@pytest.mark.parametrize("name", ["driver_rim", "vbios_rim"])
def test_each_manifest_is_required_unless_the_policy_says_otherwise(name: str) -> None:
    with pytest.raises(UnavailableError, match=name.replace("_", "-")):
        _verify(rims=_rims(**{name: None}))
    claims = _verify(rims=_rims(**{name: None}), require_rims=False)
    outcome = next(check.outcome for check in claims.checks if check.name == name.replace("_", "-"))
    assert outcome is Outcome.NOT_CHECKED


@pytest.mark.parametrize("block", [*VBIOS_BLOCKS, 8, 22])
def test_a_block_that_shows_another_value_is_refused(block: int) -> None:
    quote = _NVIDIA.report(blocks=record({**MEASUREMENTS, block: b"\xee" * 48}))
    with pytest.raises(MeasurementMismatchError, match=f"block {block} "):
        _verify(quote)


def test_a_block_without_a_reference_value_may_show_anything() -> None:
    _verify(_NVIDIA.report(blocks=record({**MEASUREMENTS, 64: b"\xee" * 48})))


def test_a_block_that_the_report_does_not_show_is_refused() -> None:
    quote = _NVIDIA.report(blocks=record({index: MEASUREMENTS[index] for index in range(1, 22)}))
    with pytest.raises(MeasurementMismatchError, match="block 22 is absent"):
        _verify(quote)


def test_any_alternative_will_do() -> None:
    _verify(_NVIDIA.report(blocks=record({**MEASUREMENTS, 22: b"\xff" * 48})))


def test_the_video_decoder_s_block_counts_while_it_runs() -> None:
    blocks = record({**MEASUREMENTS, 36: b"\xee" * 48})
    _verify(_NVIDIA.report(blocks=blocks))
    with pytest.raises(MeasurementMismatchError, match="block 36"):
        _verify(_NVIDIA.report(blocks=blocks, data=opaque(f11=b"\xaa")))


def test_two_manifests_with_values_for_one_block_are_refused() -> None:
    rims = _rims(vbios_rim=_NVIDIA.rim(VBIOS, (*VBIOS_BLOCKS, 22)))
    with pytest.raises(CollateralError, match="both driver-rim and vbios-rim have values for block 22"):
        _verify(rims=rims)


def test_a_manifest_for_another_version_or_product_or_kind_is_refused() -> None:
    for rims in (
        _rims(driver_rim=_NVIDIA.rim("550.144.04", DRIVER_BLOCKS)),
        _rims(vbios_rim=_NVIDIA.rim("96.00.5E.00.02", VBIOS_BLOCKS)),
        _rims(driver_rim=_NVIDIA.rim(VBIOS, VBIOS_BLOCKS)),
    ):
        with pytest.raises(CollateralError, match="the device runs"):
            _verify(rims=rims)
    with pytest.raises(ProductError, match="GB100"):
        _verify(rims=_rims(driver_rim=_NVIDIA.rim(DRIVER, DRIVER_BLOCKS, product="GB100")))


def test_a_manifest_of_another_signer_is_refused() -> None:
    foreign = Nvidia.generate()
    with pytest.raises(CertificateChainError, match="not a pinned root"):
        _verify(rims=_rims(driver_rim=foreign.rim(DRIVER, DRIVER_BLOCKS)))
    pki = Nvidia.generate(rim={"digital_signature": False})
    with pytest.raises(CertificateChainError, match="not certified for signatures"):
        _verify(pki.report(), pki, {"driver_rim": pki.rim(DRIVER, DRIVER_BLOCKS)})


def test_a_manifest_whose_signer_expired_is_refused_unless_the_policy_accepts_it() -> None:
    pki = Nvidia.generate(rim={"end": NOW - timedelta(seconds=1)})
    rims: dict[str, bytes | None] = {
        "driver_rim": pki.rim(DRIVER, DRIVER_BLOCKS),
        "vbios_rim": pki.rim(VBIOS, VBIOS_BLOCKS),
    }
    with pytest.raises(CertificateExpiredError):
        _verify(pki.report(), pki, rims)
    claims = _verify(pki.report(), pki, rims, allow_expired_rim_signers=True)
    validity = [check for check in claims.checks if check.name.endswith("validity")]
    assert [check.outcome for check in validity] == [Outcome.NOT_CHECKED] * 2
    assert "2030-01-31T11:59:59Z" in validity[0].detail


def test_a_manifest_whose_signer_is_not_valid_yet_is_refused_in_any_case() -> None:
    pki = Nvidia.generate(rim={"start": NOW + timedelta(seconds=1)})
    for allowed in (False, True):
        with pytest.raises(CertificateExpiredError):
            _verify(
                pki.report(),
                pki,
                {"driver_rim": pki.rim(DRIVER, DRIVER_BLOCKS)},
                allow_expired_rim_signers=allowed,
            )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda xml: xml.replace(b'index="7"', b'index="6"'),
        lambda xml: xml.replace(b"0808", b"0809", 1),
        lambda xml: xml.replace(DRIVER.encode(), b"550.144.02"),
        lambda xml: xml.replace(b"<Payload>", b"<Payload> "),
        lambda xml: xml.replace(b'name="test"', b'name="other"'),
        lambda xml: xml + b"\n<!-- -->",
    ],
)
def test_a_changed_manifest_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    xml = _NVIDIA.rim(DRIVER, DRIVER_BLOCKS)
    assert spoil(xml) != xml
    with pytest.raises((CollateralError, MalformedError)):
        _verify(rims=_rims(driver_rim=spoil(xml)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda xml: xml[:0],
        lambda xml: b"\xef\xbb\xbf" + xml,
        lambda xml: xml.decode().encode("utf-16"),
        lambda xml: b"<?xml version='1.0'?>" + xml,
        lambda xml: b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + xml,
        lambda xml: xml.replace(b"<Payload>", b"<!-- --><Payload>"),
        lambda xml: xml.replace(b"<Payload>", b"<![CDATA[]]><Payload>"),
        lambda xml: xml[:-1],
        lambda xml: xml + b"x",
        lambda xml: xml + bytes(256 << 10),
        lambda xml: xml.replace(b"<Payload>", b"<Payload>&a;"),
        lambda xml: xml.replace(b"SoftwareIdentity", b"SoftwareIdentities"),
        lambda xml: xml.replace(b'URI=""', b'URI="#x"'),
        lambda xml: xml.replace(b'Reference URI=""', b"Reference"),
        lambda xml: xml.replace(b"c14n11", b"c14n11#WithComments"),
        lambda xml: xml.replace(b"#enveloped-signature", b"#base64"),
        lambda xml: _move_signature(xml),
        lambda xml: _double_signature(xml),
        lambda xml: xml.replace(b"X509Certificate", b"X509Nothing"),
        lambda xml: xml.replace(b"<ds:X509Certificate>", b"<ds:X509Certificate>*"),
        lambda xml: xml.replace(b"<ds:X509Certificate>", b"<ds:X509Certificate>AAAA"),
    ],
)
def test_a_manifest_in_another_form_is_malformed(spoil: Callable[[bytes], bytes]) -> None:
    xml = _NVIDIA.rim(DRIVER, DRIVER_BLOCKS)
    assert spoil(xml) != xml
    with pytest.raises(MalformedError):
        _verify(rims=_rims(driver_rim=spoil(xml)))


def _cut_signature(xml: bytes) -> tuple[bytes, bytes]:
    start, end = xml.index(b"<ds:Signature "), xml.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    return xml[start:end], xml[:start] + xml[end:]


def _move_signature(xml: bytes) -> bytes:
    signature, rest = _cut_signature(xml)
    return rest.replace(b"</Payload>", signature + b"</Payload>")


def _double_signature(xml: bytes) -> bytes:
    signature, rest = _cut_signature(xml)
    return rest.replace(b"</SoftwareIdentity>", signature * 2 + b"</SoftwareIdentity>")


def test_a_wrapped_manifest_is_malformed() -> None:
    """Signature wrapping: the signed manifest is hidden in one whose values nobody signed."""
    signed = _NVIDIA.rim(DRIVER, DRIVER_BLOCKS)
    forged = rim_xml(DRIVER, (8,)).encode()
    wrapped = forged.replace(b"</SoftwareIdentity>", signed + b"</SoftwareIdentity>")
    with pytest.raises(MalformedError, match="one signature as its child"):
        _verify(rims=_rims(driver_rim=wrapped))


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_a_signature_with_another_hash_is_refused(digest: str) -> None:
    signed = _NVIDIA.sign_rim(rim_xml(DRIVER, DRIVER_BLOCKS), digest=digest)
    with pytest.raises(CollateralError):
        _verify(rims=_rims(driver_rim=signed))


_RESOURCE = (
    '<Resource type="Measurement" index="50" active="True" alternatives="1" '
    f'h:Hash0="{"ab" * 48}" name="m" size="48"/>'
)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('type="Measurement"', 'type="Other"', "something else"),
        ("<Resource ", "<Directory ", "something else"),
        ('index="50"', 'index="7"', "twice"),
        ('index="50"', 'index="050"', "not from 0"),
        ('index="50"', 'index="-1"', "not from 0"),
        ('index="50"', 'index="255"', "not from 0"),
        ('index="50" ', "", "not from 0"),
        ('active="True"', 'active="true"', "state or size"),
        ('active="True" ', "", "state or size"),
        ('size="48"', 'size="32"', "state or size"),
        ('alternatives="1"', 'alternatives="2"', "number of alternatives"),
        ('alternatives="1"', 'alternatives="0"', "number of alternatives"),
        ("h:Hash0", "h:Hash1", "number of alternatives"),
        ("h:Hash0", "Hash0", "unknown attribute"),
        ('name="m"', 'name="m" more="x"', "unknown attribute"),
        ("ab" * 48, "ab" * 32, "hexadecimal"),
        ("ab" * 48, "xy" * 48, "hexadecimal"),
    ],
)
def test_a_signed_manifest_with_malformed_content_is_malformed(old: str, new: str, reason: str) -> None:
    assert old in _RESOURCE
    rims = _rims(driver_rim=_NVIDIA.rim(DRIVER, DRIVER_BLOCKS, extra=_RESOURCE.replace(old, new)))
    with pytest.raises(MalformedError, match=reason):
        _verify(rims=rims)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<Meta ", "<Metas ", "product and version"),
        (f'colloquialVersion="{DRIVER}" ', "", "names its product"),
        (' product="GH100"', "", "names its product"),
        ("<Payload>", "<Payload/><Payload>", "one payload"),
        ('active="True"', 'active="False"', "no active"),
    ],
)
def test_a_signed_manifest_without_its_parts_is_malformed(old: str, new: str, reason: str) -> None:
    xml = rim_xml(DRIVER, DRIVER_BLOCKS)
    assert old in xml
    with pytest.raises(MalformedError, match=reason):
        _verify(rims=_rims(driver_rim=_NVIDIA.sign_rim(xml.replace(old, new))))


def test_without_the_libraries_a_manifest_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    rims = _rims()
    monkeypatch.setitem(sys.modules, "signxml", None)
    with pytest.raises(UnavailableError, match="libraries for XML signatures") as caught:
        _verify(rims=rims, require_rims=False)
    assert caught.value.hint == "install glasshouse-attestations[nvidia]"
