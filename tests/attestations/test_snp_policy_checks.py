"""Each thing that a policy can ask of an SEV-SNP machine, asked of reports signed by test keys."""

from __future__ import annotations

from typing import Any

import pytest

from glasshouse_attestations import snp
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateRevokedError,
    DebugError,
    EvidenceSignatureError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MigrationError,
    PrivilegeError,
    ProductError,
    TcbFloorError,
)
from support import pki_snp
from support.pki_snp import FakeReport, Leaf

GENOA, MILAN, TURIN = snp.Product.GENOA, snp.Product.MILAN, snp.Product.TURIN
ONE, SMT, DEBUG, MIGRATE = (
    snp.GuestFlag.RESERVED_ONE,
    snp.GuestFlag.SMT,
    snp.GuestFlag.DEBUG,
    snp.GuestFlag.MIGRATE_MA,
)
ALIAS, ECC, PLATFORM_SMT = (
    snp.PlatformFlag.ALIAS_CHECK_COMPLETE,
    snp.PlatformFlag.ECC_EN,
    snp.PlatformFlag.SMT_EN,
)
TCB = snp.Tcb(bootloader=10, snp=27, microcode=0x60)
CHIP = Leaf().hardware_id


def verify(report: FakeReport, **policy: Any) -> Claims:
    product = report.leaf.product
    return snp.verify(pki_snp.evidence(report), policy=pki_snp.policy(product, **policy), now=pki_snp.NOW)


def outcomes(claims: Claims) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in claims.checks}


def test_the_default_policy_accepts_a_good_machine() -> None:
    claims = verify(FakeReport())
    assert claims.registers == {"launch.sha384": b"\x90" * 48}
    assert claims.report_data == b"\x50" * 64
    assert (claims.platform, claims.product, claims.identity) == ("snp", "Genoa", CHIP)
    assert Outcome.PASSED in outcomes(claims).values()


def test_every_check_has_a_name_of_its_own_and_a_source() -> None:
    checks = verify(FakeReport()).checks
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.source for check in checks)
    assert all(check.detail for check in checks if check.outcome is Outcome.NOT_CHECKED)


def tcb(**changes: int) -> snp.Tcb:
    return snp.Tcb(**{**dict(TCB.components()), **changes})


REFUSED: dict[str, tuple[FakeReport, dict[str, Any], type[GlasshouseError], str]] = {
    # Row 8: floors.
    "reported TCB below the floor": (
        FakeReport(leaf=Leaf(tcb=tcb(bootloader=9))),
        {"minimum_tcb": {GENOA: TCB}},
        TcbFloorError,
        "the reported TCB .* in bootloader",
    ),
    "committed TCB below the floor": (
        FakeReport(committed=tcb(snp=26)),
        {"minimum_tcb": {GENOA: TCB}},
        TcbFloorError,
        "the committed TCB .* in snp",
    ),
    "current TCB below the floor": (
        FakeReport(current=tcb(bootloader=9)),
        {"minimum_tcb": {GENOA: TCB}},
        TcbFloorError,
        "the current TCB .* in bootloader",
    ),
    "launch TCB below the floor": (
        FakeReport(launch=tcb(microcode=0x5F)),
        {"minimum_tcb": {GENOA: TCB}},
        TcbFloorError,
        "the launch TCB .* in microcode",
    ),
    "tee component below the floor though the others are above": (
        FakeReport(),
        {"minimum_tcb": {GENOA: snp.Tcb(tee=1)}},
        TcbFloorError,
        "in tee",
    ),
    "fmc of a Turin below the floor": (
        FakeReport(leaf=Leaf(product=TURIN, tcb=snp.Tcb(fmc=1, microcode=0x50))),
        {"minimum_tcb": {TURIN: snp.Tcb(fmc=2)}},
        TcbFloorError,
        "in fmc",
    ),
    "reported TCB above the committed": (FakeReport(committed=tcb(snp=26)), {}, TcbFloorError, "order"),
    "committed TCB above the current": (FakeReport(current=tcb(snp=26)), {}, TcbFloorError, "order"),
    "committed firmware above the current": (
        FakeReport(current_firmware=(1, 55, 39)),
        {},
        TcbFloorError,
        "older than the committed",
    ),
    "microcode that loads unsigned patches": (
        FakeReport(leaf=Leaf(tcb=tcb(microcode=0x53))),
        {},
        TcbFloorError,
        "reported microcode 83 is below the floor 84",
    ),
    "launched under microcode that loads unsigned patches": (
        FakeReport(launch=tcb(microcode=0x53)),
        {},
        TcbFloorError,
        "launch microcode",
    ),
    "a processor without a floor for its microcode": (
        FakeReport(processor="191f01"),
        {},
        TcbFloorError,
        "no floor for the microcode of processor 191f01",
    ),
    "a report that names no processor": (FakeReport(version=2), {}, TcbFloorError, "version 2"),
    "firmware build below the floor": (
        FakeReport(),
        {"minimum_firmware": snp.Firmware(major=1, minor=55, build=41)},
        TcbFloorError,
        "below the floor 1.55.41",
    ),
    "firmware version below the floor": (
        FakeReport(),
        {"minimum_firmware": snp.Firmware(major=1, minor=56, build=0)},
        TcbFloorError,
        "below the floor",
    ),
    "committed firmware below the floor": (
        FakeReport(committed_firmware=(1, 54, 99)),
        {"minimum_firmware": snp.Firmware(major=1, minor=55, build=0)},
        TcbFloorError,
        "committed 1.54.99",
    ),
    "provisional firmware": (
        FakeReport(committed_firmware=(1, 55, 39)),
        {"require_committed": True},
        TcbFloorError,
        "provisional",
    ),
    "a provisional TCB": (
        FakeReport(current=tcb(snp=28)),
        {"require_committed": True},
        TcbFloorError,
        "provisional",
    ),
    # Row 9: what the guest and the platform are configured to.
    "debug": (FakeReport(policy=ONE | DEBUG), {}, DebugError, "debug"),
    "migration allowed": (FakeReport(policy=ONE | MIGRATE), {}, MigrationError, "migration"),
    "migration agent bound": (FakeReport(report_id_ma=bytes(32)), {}, MigrationError, "migration"),
    "reserved policy bit 17 clear": (FakeReport(policy=SMT), {}, AttributesError, "reserved bit"),
    "reserved policy bit 26 set": (FakeReport(policy=ONE | 1 << 26), {}, AttributesError, "reserved bit"),
    "reserved policy bit 63 set": (FakeReport(policy=ONE | 1 << 63), {}, AttributesError, "reserved bit"),
    "minimum ABI": (FakeReport(), {"minimum_abi": (1, 52)}, AttributesError, "ABI 1.51"),
    "guest flag forbidden": (
        FakeReport(),
        {"forbidden_guest_flags": SMT},
        AttributesError,
        "SMT of the guest policy is on",
    ),
    "guest flag required": (
        FakeReport(),
        {"required_guest_flags": snp.GuestFlag.CIPHERTEXT_HIDING_DRAM},
        AttributesError,
        "CIPHERTEXT_HIDING_DRAM of the guest policy is off",
    ),
    "VMPL 2": (FakeReport(vmpl=2), {}, PrivilegeError, "VMPL 2, not 0"),
    "VMPL 0 where an SVSM's guest is expected": (FakeReport(), {"vmpl": 2}, PrivilegeError, "VMPL 0, not 2"),
    "asked for by the host": (FakeReport(vmpl=0xFFFFFFFF), {}, PrivilegeError, "host"),
    "alias check not done (BadRAM)": (
        FakeReport(platform_info=ECC),
        {},
        AttributesError,
        "ALIAS_CHECK_COMPLETE of the platform is off",
    ),
    "SMT on where it must be off": (
        FakeReport(platform_info=ALIAS | PLATFORM_SMT),
        {"forbidden_platform_flags": PLATFORM_SMT},
        AttributesError,
        "SMT_EN of the platform is on",
    ),
    **{
        f"{flag.name} off where it must be on": (
            FakeReport(platform_info=ALIAS),
            {"required_platform_flags": flag},
            AttributesError,
            f"{flag.name} of the platform is off",
        )
        for flag in snp.PlatformFlag
        if flag is not ALIAS
    },
    "unknown platform bit": (FakeReport(platform_info=ALIAS | 1 << 6), {}, AttributesError, "0x40"),
    "mitigation off": (
        FakeReport(version=5, mitigations=(3, 1)),
        {"minimum_mitigations": 2},
        AttributesError,
        "mitigation",
    ),
    "mitigation off at launch": (
        FakeReport(version=5, mitigations=(1, 3)),
        {"minimum_mitigations": 2},
        AttributesError,
        "mitigation",
    ),
    "mitigations asked of a report that has none": (
        FakeReport(version=4),
        {"minimum_mitigations": 1},
        AttributesError,
        "version 4",
    ),
    "guest SVN": (FakeReport(), {"minimum_guest_svn": 5}, AttributesError, "guest SVN 4"),
    "host data": (FakeReport(), {"host_data": bytes(32)}, AttributesError, "HOST_DATA"),
    "family id": (FakeReport(), {"family_id": bytes(16)}, AttributesError, "FAMILY_ID"),
    "image id": (FakeReport(), {"image_id": bytes(16)}, AttributesError, "IMAGE_ID"),
    "id key": (FakeReport(), {"id_key_digests": frozenset({bytes(48)})}, AttributesError, "ID_KEY_DIGEST"),
    "author key without AUTHOR_KEY_EN": (
        FakeReport(),
        {"author_key_digests": frozenset({b"\x11" * 48})},
        AttributesError,
        "AUTHOR_KEY_DIGEST",
    ),
    # Row 7 and 9: whose key it is.
    "chip id of another chip": (FakeReport(chip_id=b"\x01" * 64), {}, IdentityError, "another chip"),
    "masked chip id with a VCEK": (FakeReport(chip_id=bytes(64)), {}, IdentityError, "hides its chip"),
    "chip not on the list": (
        FakeReport(),
        {"allowed_chip_ids": frozenset({b"\x01" * 64})},
        IdentityError,
        "none of those",
    ),
    "chip on the deny list": (
        FakeReport(),
        {"denied_chip_ids": frozenset({CHIP})},
        CertificateRevokedError,
        "bars this chip",
    ),
    "chip on both lists": (
        FakeReport(),
        {"allowed_chip_ids": frozenset({CHIP}), "denied_chip_ids": frozenset({CHIP})},
        CertificateRevokedError,
        "bars this chip",
    ),
    "VLEK where VCEK was asked for": (
        FakeReport(leaf=Leaf(kind=snp.Kind.VLEK)),
        {},
        IdentityError,
        "names no provider",
    ),
    "VLEK of another provider": (
        FakeReport(leaf=Leaf(kind=snp.Kind.VLEK)),
        {"vlek_providers": frozenset({"CN=other.example"})},
        IdentityError,
        "does not name",
    ),
    "VLEK hides the chip that a deny list is about": (
        FakeReport(leaf=Leaf(kind=snp.Kind.VLEK)),
        {"vlek_providers": frozenset({pki_snp.PROVIDER}), "denied_chip_ids": frozenset({CHIP})},
        IdentityError,
        "from which chip",
    ),
    "signing key that is none": (FakeReport(flags=7 << 2), {}, EvidenceSignatureError, "did not sign"),
    "signing key of an unknown kind": (FakeReport(flags=2 << 2), {}, MalformedError, "unknown kind"),
    "key of another TCB": (FakeReport(reported=tcb(snp=26)), {}, KeyBindingError, "snp=27"),
    "key of the current TCB instead of the reported": (
        FakeReport(reported=tcb(snp=26), committed=tcb(snp=26), current=TCB),
        {},
        KeyBindingError,
        "snp=26",
    ),
    # Row 10: products.
    "Milan by default": (
        FakeReport(leaf=Leaf(product=MILAN, tcb=tcb(microcode=0xDB))),
        {},
        ProductError,
        "does not accept Milan",
    ),
    "Milan without its chip named": (
        FakeReport(leaf=Leaf(product=MILAN, tcb=tcb(microcode=0xDB))),
        {"products": frozenset({MILAN})},
        ProductError,
        "names its chip",
    ),
    "Genoa where only Turin is accepted": (
        FakeReport(),
        {"products": frozenset({TURIN})},
        ProductError,
        "does not accept Genoa",
    ),
    "processor of no known product": (FakeReport(processor="1a5000"), {}, ProductError, "1a5000"),
    "processor of another product": (FakeReport(processor="1a0201"), {}, ProductError, "report of Turin"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_machine_that_is_not_as_asked_is_refused_in_the_named_error(name: str) -> None:
    report, policy, error, message = REFUSED[name]
    with pytest.raises(GlasshouseError, match=message) as caught:
        verify(report, **policy)
    assert type(caught.value) is error


ACCEPTED: dict[str, tuple[FakeReport, dict[str, Any], str]] = {
    "floors met exactly": (
        FakeReport(),
        {"minimum_tcb": {GENOA: TCB}},
        "reported TCB",
    ),
    "firmware floor met": (
        FakeReport(),
        {"minimum_firmware": snp.Firmware(major=1, minor=55, build=40)},
        "SEV firmware",
    ),
    "committed": (FakeReport(), {"require_committed": True}, "no provisional firmware"),
    "minimum ABI met": (FakeReport(), {"minimum_abi": (1, 51)}, "minimum ABI"),
    "guest flag": (FakeReport(), {"required_guest_flags": SMT}, "guest policy SMT"),
    "flag off": (FakeReport(), {"forbidden_platform_flags": PLATFORM_SMT}, "platform SMT_EN"),
    "VMPL under an SVSM": (FakeReport(vmpl=2), {"vmpl": 2}, "VMPL"),
    "unknown bit allowed": (
        FakeReport(platform_info=ALIAS | 1 << 6),
        {"allowed_unknown_platform_bits": 1 << 6},
        "unknown platform bits",
    ),
    "mitigations on": (
        FakeReport(version=5, mitigations=(6, 3)),
        {"minimum_mitigations": 2},
        "mitigations",
    ),
    "guest SVN met": (FakeReport(), {"minimum_guest_svn": 4}, "guest SVN"),
    "host data": (FakeReport(), {"host_data": b"\xc0" * 32}, "HOST_DATA"),
    "family id": (FakeReport(), {"family_id": b"\x10" * 16}, "FAMILY_ID"),
    "image id": (FakeReport(), {"image_id": b"\x20" * 16}, "IMAGE_ID"),
    "id key": (FakeReport(), {"id_key_digests": frozenset({b"\xe0" * 48})}, "ID_KEY_DIGEST"),
    "author key": (
        FakeReport(flags=1),
        {"author_key_digests": frozenset({b"\x11" * 48})},
        "AUTHOR_KEY_DIGEST",
    ),
    "chip allowed": (FakeReport(), {"allowed_chip_ids": frozenset({CHIP})}, "chip"),
    "chip not denied": (FakeReport(), {"denied_chip_ids": frozenset({bytes(64)})}, "chip"),
    "provider named": (
        FakeReport(leaf=Leaf(kind=snp.Kind.VLEK)),
        {"vlek_providers": frozenset({pki_snp.PROVIDER})},
        "VLEK of a named provider",
    ),
    "Milan with its chip named": (
        FakeReport(leaf=Leaf(product=MILAN, tcb=tcb(microcode=0xDB))),
        {"products": frozenset({MILAN}), "allowed_chip_ids": frozenset({CHIP})},
        "chip",
    ),
    "Turin": (FakeReport(leaf=Leaf(product=TURIN, tcb=snp.Tcb(fmc=1, microcode=0x47))), {}, "microcode"),
    "version 4": (FakeReport(version=4), {}, "report format"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_machine_that_is_as_asked_passes_the_check_of_that_name(name: str) -> None:
    report, policy, check = ACCEPTED[name]
    assert outcomes(verify(report, **policy))[check] is Outcome.PASSED


@pytest.mark.parametrize(
    ("check", "unset"),
    [
        ("reported TCB", {}),
        ("launch TCB", {"minimum_tcb": {TURIN: snp.Tcb()}}),
        ("microcode", {"minimum_microcode": {}}),
        ("SEV firmware", {}),
        ("chip", {}),
        ("minimum ABI", {}),
        ("mitigations", {}),
        ("guest SVN", {}),
        ("HOST_DATA", {}),
        ("ID_KEY_DIGEST", {}),
        ("platform SMT_EN", {}),
        ("platform ALIAS_CHECK_COMPLETE", {"required_platform_flags": snp.PlatformFlag(0)}),
        ("guest policy SMT", {}),
    ],
)
def test_what_the_policy_does_not_ask_is_not_checked_and_never_passed(
    check: str, unset: dict[str, Any]
) -> None:
    assert outcomes(verify(FakeReport(), **unset))[check] is Outcome.NOT_CHECKED


def test_the_layouts_of_the_tcb_are_not_confused() -> None:
    turin = snp.Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=5)
    assert turin.encode(TURIN) == bytes((1, 2, 3, 4, 0, 0, 0, 5))
    with pytest.raises(MalformedError, match="reserved"):
        snp.Tcb.parse(turin.encode(TURIN), GENOA)
    with pytest.raises(ValueError, match="no fmc"):
        turin.encode(GENOA)
    genoa = snp.Tcb(bootloader=1, tee=2, snp=3, microcode=4)
    assert genoa.encode(GENOA) == bytes((1, 2, 0, 0, 0, 0, 3, 4))
    with pytest.raises(MalformedError, match="reserved"):
        snp.Tcb.parse(genoa.encode(GENOA), TURIN)


@pytest.mark.parametrize("at", [0x4C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x208, 0x29F])
def test_a_reserved_byte_that_is_not_zero_is_malformed_even_if_signed(at: int) -> None:
    with pytest.raises(MalformedError, match="reserved"):
        verify(FakeReport(patches={at: b"\x01"}))


def test_the_processor_is_reserved_in_version_2_and_mitigations_are_before_version_5() -> None:
    with pytest.raises(MalformedError, match="0x188"):
        verify(FakeReport(version=2, patches={0x188: b"\x19"}))
    report = snp.Report.parse(FakeReport(version=5, mitigations=(1, 2)).encode())
    assert (report.launch_mitigations, report.current_mitigations) == (1, 2)


@pytest.mark.parametrize("version", [0, 1, 6, 0xFFFFFFFF])
def test_an_unknown_version_is_malformed(version: int) -> None:
    with pytest.raises(MalformedError, match="version"):
        verify(FakeReport(version=version))


def test_another_signature_algorithm_and_reserved_key_bits_are_malformed() -> None:
    with pytest.raises(MalformedError, match="P-384"):
        verify(FakeReport(patches={0x34: b"\x02"}))
    with pytest.raises(MalformedError, match="reserved bits"):
        verify(FakeReport(flags=1 << 5))
