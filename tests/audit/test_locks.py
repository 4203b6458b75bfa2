"""The locks: canonical lines, and choosing their content from an index."""

from __future__ import annotations

import pytest

from glasshouse_audit import locks
from glasshouse_audit.errors import RecipeError
from glasshouse_audit.locks import LockedDeb, LockedWheel
from glasshouse_audit.recipe import DebianArchive
from glasshouse_audit.resolve import parse_constraints, select_debs
from support.repository import ROOT

_SHA256 = "ab" * 32
_DEBS = (
    f"libc6 2.41-12+deb13u5 pool/main/g/glibc/libc6_2.41-12+deb13u5_amd64.deb 2850108 {_SHA256}\n"
    f"zlib1g 1:1.3.dfsg-1 pool/main/z/zlib/zlib1g_1.3.dfsg-1_amd64.deb 88720 {_SHA256}\n"
)
_WHEELS = f"numpy==2.4.6 --hash=sha256:{_SHA256}\ntyping-extensions==4.16.0 --hash=sha256:{_SHA256}\n"


def test_locks_are_read_and_written_byte_for_byte() -> None:
    assert locks.encode(locks.parse_debs(_DEBS)) == _DEBS
    assert locks.encode(locks.parse_wheels(_WHEELS)) == _WHEELS
    assert locks.parse_debs(_DEBS)[1] == LockedDeb(
        name="zlib1g",
        version="1:1.3.dfsg-1",
        pool_path="pool/main/z/zlib/zlib1g_1.3.dfsg-1_amd64.deb",
        size=88720,
        sha256=bytes.fromhex(_SHA256),
    )
    assert locks.parse_wheels(_WHEELS)[0] == LockedWheel(
        name="numpy", version="2.4.6", sha256=bytes.fromhex(_SHA256)
    )


def test_the_locks_of_this_tree_are_canonical() -> None:
    folder = ROOT / "reference_server" / "image"
    assert locks.parse_debs((folder / "debs.lock").read_text(encoding="ascii"))
    assert locks.parse_wheels((folder / "wheels.lock").read_text(encoding="ascii"))


def test_the_order_of_entries_does_not_show() -> None:
    assert locks.encode(reversed(locks.parse_debs(_DEBS))) == _DEBS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(_DEBS, "", id="empty"),
        pytest.param("\n", "", id="no newlines"),
        pytest.param("\n", "\n\n", id="empty lines"),
        pytest.param("\n", "\r\n", id="carriage returns"),
        pytest.param("zlib1g 1", "libc6 1", id="a name twice"),
        pytest.param("zlib1g 1", "a1 1", id="out of order"),
        pytest.param(" 88720 ", " 088720 ", id="leading zero"),
        pytest.param(" 88720 ", " 0 ", id="no size"),
        pytest.param(" 88720 ", " -1 ", id="negative size"),
        pytest.param(" 88720 ", " ", id="missing field"),
        pytest.param(_SHA256, _SHA256.upper(), id="upper-case hash"),
        pytest.param(_SHA256, _SHA256[2:], id="short hash"),
        pytest.param("pool/main/z", "pool/../z", id="path with parent folder"),
        pytest.param("pool/main/z", "/pool/main/z", id="absolute path"),
        pytest.param("pool/main/z", "https://pool/main/z", id="address"),
        pytest.param("_amd64.deb 88720", "_amd64.rpm 88720", id="another file"),
    ],
)
def test_a_malformed_deb_lock_is_refused(old: str, new: str) -> None:
    with pytest.raises(RecipeError):
        locks.parse_debs(_DEBS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(" --hash", "\\\n  --hash", id="continued line"),
        pytest.param(f" --hash=sha256:{_SHA256}", "", id="no hash"),
        pytest.param("sha256:", "sha512:", id="another hash"),
        pytest.param(_SHA256 + "\n", f"{_SHA256} --hash=sha256:{_SHA256}\n", id="two hashes"),
        pytest.param("==2.4.6", ">=2.4.6", id="a range"),
        pytest.param("==2.4.6", " @ https://x/y.whl", id="an address"),
        pytest.param("typing-extensions", "typing_extensions", id="name not normalised"),
        pytest.param("numpy", "-r numpy", id="an option"),
    ],
)
def test_a_malformed_wheel_lock_is_refused(old: str, new: str) -> None:
    with pytest.raises(RecipeError):
        locks.parse_wheels(_WHEELS.replace(old, new))


_ARCHIVE = DebianArchive(
    suite="trixie",
    component="main",
    architecture="amd64",
    packages=("libc6",),
    metapackages=("linux-image-cloud-amd64",),
)


def _paragraph(name: str, depends: str = "") -> str:
    return (
        f"Package: {name}\nVersion: 1.2-3\nDepends: {depends}\n"
        f"Filename: pool/main/x/xx/{name}_1.2-3_amd64.deb\n"
        f"Size: 7\nSHA256: {_SHA256}\n"
    )


_INDEX = "\n".join(
    [
        _paragraph("libc6"),
        _paragraph("libc6-dev", "libc6"),
        _paragraph("linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64 (= 1.2-3)"),
        _paragraph("linux-image-6.12-cloud-amd64"),
    ]
)


def test_packages_are_chosen_from_the_index_and_metapackages_followed() -> None:
    chosen = select_debs(_INDEX, _ARCHIVE)
    assert [deb.name for deb in chosen] == ["libc6", "linux-image-6.12-cloud-amd64"]
    assert locks.parse_debs(locks.encode(chosen)) == chosen


def test_a_package_that_the_index_does_not_have_is_named() -> None:
    with pytest.raises(RecipeError, match="no package libc6"):
        select_debs(_INDEX.replace("Package: libc6\n", "Package: musl\n"), _ARCHIVE)


def test_a_metapackage_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(RecipeError, match="no package linux-image-6"):
        select_debs(_INDEX.replace("Package: linux-image-6.12", "Package: linux-image-6.13"), _ARCHIVE)


def test_an_index_with_two_versions_of_a_package_is_refused() -> None:
    with pytest.raises(RecipeError, match="several versions"):
        select_debs(_INDEX + "\n" + _paragraph("libc6"), _ARCHIVE)


def test_constraints_are_read_from_a_requirements_file() -> None:
    text = (
        "numpy==2.4.6 ; python_version < '4' \\\n    --hash=sha256:00\nTyping_Extensions==4.16.0\n# cffi==1\n"
    )
    assert parse_constraints(text) == {"numpy": "2.4.6", "typing-extensions": "4.16.0"}
