"""What no captured GPU report shows, under a generated root: each step refuses with its own error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given

from glasshouse_attestations import nvidia
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    DebugError,
    EvidenceSignatureError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    ProductError,
    TcbFloorError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.nvidia.opaque import OpaqueData
from support.pki_nvidia import (
    DRIVER,
    FWID,
    MEASUREMENTS,
    NONCE,
    NOW,
    SERIAL,
    VBIOS,
    Nvidia,
    composite_device_id,
    fwid_der,
    item,
    opaque,
    record,
    seq,
    tcb_info,
)

_NVIDIA = Nvidia.generate()


def _verify(evidence: Evidence, pki: Nvidia = _NVIDIA, **policy: Any) -> Claims:
    return nvidia.verify(evidence, policy=pki.lenient(**policy), now=NOW)


def _report(**parts: Any) -> Evidence:
    return _NVIDIA.evidence(_NVIDIA.report(**parts))


def _outcome(claims: Claims, name: str) -> Outcome:
    return next(check.outcome for check in claims.checks if check.name == name)


def test_a_generated_report_verifies() -> None:
    claims = _verify(_NVIDIA.evidence())
    assert claims.registers == {f"measurement{index}.sha384": value for index, value in MEASUREMENTS.items()}
    assert (claims.report_data, claims.identity) == (NONCE, SERIAL)
    assert dict(claims.attributes)["VBIOS version"] == VBIOS
    assert all(check.source for check in claims.checks)


@pytest.mark.parametrize(
    "request_",
    [
        "10e001ff" + "00" * 33,
        "12e001ff" + "00" * 33,
        "116001ff" + "00" * 33,
        "11e000ff" + "00" * 33,
        "11e00101" + "00" * 33,
        "11e001ff" + "00" * 32 + "01",
    ],
)
def test_another_request_is_malformed(request_: str) -> None:
    with pytest.raises(MalformedError, match=r"SPDM 1\.1|slot"):
        _verify(_report(request=bytes.fromhex(request_)))


@pytest.mark.parametrize("head", ["10600000", "11e00000", "117f0000", "11600100", "11600001"])
def test_another_response_is_malformed(head: str) -> None:
    with pytest.raises(MalformedError, match=r"SPDM 1\.1"):
        _verify(_report(head=bytes.fromhex(head)))


@pytest.mark.parametrize(
    ("blocks", "count", "reason"),
    [
        (b"", 0, "empty"),
        (record(MEASUREMENTS), 63, "other bytes"),
        (record(MEASUREMENTS), 65, "cut short"),
        (record(MEASUREMENTS), 0, "other bytes"),
        (record({2: bytes(48)}), 1, "out of its order"),
        (record({1: bytes(48)}) * 2, 2, "out of its order"),
        (record({0: bytes(48)}), 1, "out of its order"),
        (record({1: bytes(48)}).replace(b"\x01\x01", b"\x01\x02", 1), 1, "DMTF"),
        (record({1: bytes(48)}).replace(b"\x33\x00\x01", b"\x33\x00\x81", 1), 1, "raw bit stream"),
        (record({1: bytes(48)}).replace(b"\x33\x00\x01", b"\x33\x00\x04", 1), 1, "unknown type"),
        (record({1: bytes(47)}), 1, "cut short"),
        (record({1: bytes(48)}).replace(b"\x01\x30", b"\x01\x2f", 1), 1, "48 bytes"),
        (record({1: bytes(48)}).replace(b"\x33\x00\x01", b"\x34\x00\x01", 1), 1, "48 bytes"),
    ],
)
def test_a_malformed_measurement_record_is_malformed(blocks: bytes, count: int, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        _verify(_report(blocks=blocks, count=count))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"f34": b"\x02\x00"}, "unknown version 2"),
        ({"f3": None}, "lacks driver_version"),
        ({"f6": None}, "lacks vbios_version"),
        ({"f6": bytes(7)}, "8 bytes"),
        ({"f6": b"\x00\x5e\x00\x96\x01\x00\x00\x01"}, "zeros"),
        ({"f3": b"\0"}, "not a text"),
        ({"f3": b"550 144"}, "not a text"),
        ({"f3": b"5\x00500"}, "not a text"),
        ({"f20": bytes(32)}, "48 bytes"),
        ({"f36": b"\x03\x00"}, "unknown mode"),
        ({"f36": b"\x01"}, "2 bytes"),
        ({"f36": None, "f21": b"\x00"}, "neither enabled nor disabled"),
    ],
)
def test_malformed_opaque_data_is_malformed(changes: dict[str, bytes | None], reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        _verify(_report(data=opaque(**changes)))


def test_an_opaque_field_twice_or_cut_short_is_malformed() -> None:
    for data, reason in (
        (opaque() + b"\x03\x00\x00\x00", "twice"),
        (opaque() + b"\x63\x00\x01\x00", "cut short"),
        (opaque() + b"\x63\x00", "cut short"),
        (b"".join(bytes([index, 1, 0, 0]) for index in range(65)), "too many"),
    ):
        with pytest.raises(MalformedError, match=reason):
            _verify(_report(data=data))


def test_an_unknown_opaque_field_has_no_meaning() -> None:
    _verify(_report(data=opaque(f99=b"?")))


@pytest.mark.parametrize("signature", [bytes(96), b"\xff" * 96, bytes(48) + b"\x01" * 48])
def test_another_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(EvidenceSignatureError):
        _verify(_report(signature=signature))


@pytest.mark.parametrize("size", [0, 95, 97])
def test_a_signature_of_another_size_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError, match=r"cut short|other bytes"):
        _verify(_report(signature=bytes(size)))


def test_an_oversize_report_is_malformed() -> None:
    with pytest.raises(MalformedError, match="at most"):
        _verify(_NVIDIA.evidence(bytes((64 << 10) + 1)))


def test_another_root_of_the_same_name_is_refused() -> None:
    with pytest.raises(CertificateChainError, match="not a pinned root"):
        _verify(Nvidia.generate().evidence())
    with pytest.raises(CertificateChainError, match="not a pinned root"):
        nvidia.verify(_NVIDIA.evidence(), policy=nvidia.Policy(), now=NOW)


def test_an_expired_or_wrongly_certified_leaf_is_refused() -> None:
    pki = Nvidia.generate(end=NOW - timedelta(seconds=1))
    with pytest.raises(CertificateExpiredError):
        _verify(pki.evidence(), pki)
    pki = Nvidia.generate(digital_signature=False)
    with pytest.raises(CertificateChainError, match="not an end entity"):
        _verify(pki.evidence(), pki)
    pki = Nvidia.generate(curve=ec.SECP256R1())
    with pytest.raises(EvidenceSignatureError, match="P-384"):
        _verify(pki.evidence(), pki)


def test_firmware_of_another_chip_or_an_unnamed_one_is_refused() -> None:
    pki = Nvidia.generate(leaf_chip="GB100")
    with pytest.raises(ProductError, match="not that of a GH100"):
        _verify(pki.evidence(), pki)
    pki = Nvidia.generate(chip="some chip")
    with pytest.raises(MalformedError, match="does not name its chip"):
        _verify(pki.evidence(), pki)


def test_a_product_device_or_version_outside_the_policy_is_refused() -> None:
    accepted: dict[str, Any] = {
        "products": frozenset({"GH100"}),
        "serials": frozenset({SERIAL}),
        "driver_versions": frozenset({DRIVER}),
        "vbios_versions": frozenset({VBIOS}),
    }
    claims = _verify(_NVIDIA.evidence(), **accepted)
    for name in ("product", "device identity", "driver version", "VBIOS version"):
        assert _outcome(claims, name) is Outcome.PASSED
    refused: tuple[tuple[str, object, type[GlasshouseError]], ...] = (
        ("products", "GB100", ProductError),
        ("serials", bytes(9), IdentityError),
        ("driver_versions", "550.144.04", TcbFloorError),
        ("vbios_versions", "96.00.5E.00.02", TcbFloorError),
    )
    for field, value, error in refused:
        with pytest.raises(error):
            _verify(_NVIDIA.evidence(), **{**accepted, field: frozenset({value})})


def test_firmware_other_than_the_certified_one_is_refused() -> None:
    with pytest.raises(KeyBindingError, match="other firmware"):
        _verify(_report(data=opaque(f20=bytes(48))))


def test_firmware_that_is_not_reported_is_not_checked() -> None:
    claims = _verify(_report(data=opaque(f20=None)))
    assert _outcome(claims, "firmware identity") is Outcome.NOT_CHECKED


@pytest.mark.parametrize(
    ("flags", "debug"), [("0000", False), ("0080", False), ("0010", True), ("0040", True)]
)
def test_the_debug_flags_of_a_certificate_count(flags: str, debug: bool) -> None:
    info = tcb_info(item(0x80, b"NVIDIA"), item(0xA6, fwid_der()), item(0x87, bytes.fromhex(flags)))
    pki = Nvidia.generate(extensions=[info])
    if debug:
        with pytest.raises(DebugError):
            _verify(pki.evidence(), pki)
    else:
        assert _verify(pki.evidence(), pki).debug is False


@pytest.mark.parametrize(
    "info",
    [
        tcb_info(),
        tcb_info(item(0xA6, b"")),
        tcb_info(item(0xA6, fwid_der()), item(0xA6, fwid_der())),
        tcb_info(item(0xA6, fwid_der()), item(0x87, b"")),
        tcb_info(item(0xA6, fwid_der()), item(0x87, b"\x08\x00")),
        tcb_info(item(0xA6, fwid_der(bytes(32)))),
        tcb_info(item(0xA6, item(0x31, b""))),
        tcb_info(item(0xA6, seq(bytes.fromhex("0609608648016503040201"), item(4, FWID)))),
        tcb_info(item(0xA6, fwid_der()) + b"\x04"),
        tcb_info(item(0xA6, fwid_der()) + b"\x04\x05"),
        tcb_info(item(0xA6, fwid_der()) + b"\x04\x81\x01\x00"),
        tcb_info(item(0xA6, fwid_der()) + b"\x04\x82\x00\x01\x00"),
        tcb_info(item(0xA6, fwid_der()) + b"\x04\x80"),
    ],
)
def test_a_malformed_dice_extension_is_malformed(info: Any) -> None:
    pki = Nvidia.generate(extensions=[info])
    with pytest.raises(MalformedError, match=r"DICE|TCB info|FWID"):
        _verify(pki.evidence(), pki)


def test_a_leaf_without_a_dice_extension_or_about_another_device_is_malformed() -> None:
    pki = Nvidia.generate(extensions=[])
    with pytest.raises(MalformedError, match="exactly one DICE"):
        _verify(pki.evidence(), pki)
    pki = Nvidia.generate(extensions=[composite_device_id(_NVIDIA.device.key), tcb_info()])
    with pytest.raises(MalformedError, match="exactly one DICE"):
        _verify(pki.evidence(), pki)
    pki = Nvidia.generate(extensions=[composite_device_id(_NVIDIA.device.key)])
    with pytest.raises(MalformedError, match="not about the device's key"):
        _verify(pki.evidence(), pki)


@pytest.mark.parametrize("changes", [{"f36": b"\x02\x00"}, {"f36": None, "f34": None, "f21": b"\xaa"}])
def test_protected_pcie_is_refused_however_it_is_reported(changes: dict[str, bytes | None]) -> None:
    evidence = _report(data=opaque(**changes))
    with pytest.raises(AttributesError, match="protected PCIe"):
        _verify(evidence)
    assert _outcome(_verify(evidence, allow_protected_pcie=True), "GPU mode") is Outcome.PASSED


def test_a_mode_that_is_not_reported_is_not_checked() -> None:
    claims = _verify(_report(data=opaque(f36=None, f34=None)))
    assert _outcome(claims, "GPU mode") is Outcome.NOT_CHECKED


def test_a_switch_with_another_identifier_is_refused() -> None:
    pki = Nvidia.generate(chip="LS_10")
    products = {"products": frozenset({"LS_10"})}
    own = opaque(f6=b"96.10.55.00.01", f22=SERIAL[1:])
    claims = _verify(pki.evidence(pki.report(data=own)), pki, **products)
    assert _outcome(claims, "driver-rim") is Outcome.NOT_APPLICABLE
    with pytest.raises(IdentityError, match="another identifier"):
        _verify(pki.evidence(pki.report(data=opaque(f6=b"96.10.55.00.01", f22=bytes(8)))), pki, **products)


def test_evidence_of_another_platform_or_with_other_endorsements_is_refused() -> None:
    evidence = _NVIDIA.evidence()
    with pytest.raises(MalformedError, match="not of the nvidia platform"):
        _verify(Evidence(platform="snp", quote=evidence.quote, endorsements=evidence.endorsements))
    with pytest.raises(MalformedError, match="unknown endorsement"):
        _verify(_NVIDIA.evidence(claims=b"{}"))
    with pytest.raises(UnavailableError, match="certificate-chain"):
        _verify(Evidence(platform="nvidia", quote=evidence.quote))


@given(st.binary(max_size=600))
def test_any_bytes_are_a_report_or_opaque_data_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        nvidia.Report.parse(data)
    with pytest.raises(MalformedError):
        nvidia.Report.parse(_NVIDIA.report()[:41] + data)
    try:
        OpaqueData.parse(data)
    except MalformedError:
        return
    assert len(data) == 0 or len(data) >= 4


@given(st.data())
def test_a_report_with_spliced_bytes_ends_in_a_typed_error(data: st.DataObject) -> None:
    quote = _QUOTE
    start = data.draw(st.integers(0, len(quote)))
    end = data.draw(st.integers(start, min(len(quote), start + 8)))
    spliced = quote[:start] + data.draw(st.binary(max_size=8)) + quote[end:]
    if spliced != quote:
        with pytest.raises(GlasshouseError):
            _verify(_NVIDIA.evidence(spliced))


_QUOTE = _NVIDIA.report()
