"""Debian packages: only files and links below the root, and only the package that the lock names."""

from __future__ import annotations

import tarfile

import pytest

from glasshouse_attestations.cpio import Kind, Member
from glasshouse_audit import deb
from glasshouse_audit.errors import ArchiveError
from support.synthetic_packages import entry, lock_deb, make_deb

_Entry = tuple[tarfile.TarInfo, bytes]


def _read(*entries: _Entry, name: str = "sample", architecture: str = "amd64") -> tuple[Member, ...]:
    data = make_deb(entries, name=name, architecture=architecture)
    return deb.read_deb(data, lock_deb(data), architecture="amd64")


def test_files_and_links_keep_their_content_and_lose_all_else() -> None:
    members = _read(
        entry("./", kind=tarfile.DIRTYPE, mode=0o755),
        entry("./usr/bin/tool", b"#!", mode=0o4775),
        entry("./usr/share/text", b"text", mode=0o600),
        entry("./usr/lib/so", kind=tarfile.SYMTYPE, link="so.1"),
    )
    assert members == (
        Member(path="usr/bin/tool", kind=Kind.EXECUTABLE, data=b"#!"),
        Member(path="usr/share/text", kind=Kind.FILE, data=b"text"),
        Member(path="usr/lib/so", kind=Kind.LINK, data=b"so.1"),
    )


def test_a_package_for_all_architectures_fits() -> None:
    assert _read(entry("./a", b"x"), architecture="all")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(entry("../escape", b"x"), id="parent folder"),
        pytest.param(entry("./usr/../../escape", b"x"), id="parent folder within"),
        pytest.param(entry("/etc/passwd", b"x"), id="absolute path"),
        pytest.param(entry("./a//b", b"x"), id="not normalised"),
        pytest.param(entry("./a", kind=tarfile.LNKTYPE, link="./ok"), id="hard link"),
        pytest.param(entry("./a", kind=tarfile.CHRTYPE), id="character device"),
        pytest.param(entry("./a", kind=tarfile.BLKTYPE), id="block device"),
        pytest.param(entry("./a", kind=tarfile.FIFOTYPE), id="pipe"),
        pytest.param(entry("./a", kind=tarfile.SYMTYPE, link="../x"), id="link out of the root"),
        pytest.param(
            entry("./usr/a", kind=tarfile.SYMTYPE, link="../../../x"), id="link out of the root below"
        ),
        pytest.param(entry("./a", kind=tarfile.SYMTYPE, link="/../x"), id="absolute link out of the root"),
        pytest.param(entry("./ok", b"again"), id="the same name twice"),
    ],
)
def test_an_unsafe_entry_is_refused(bad: _Entry) -> None:
    with pytest.raises(ArchiveError, match="sample"):
        _read(entry("./ok", b"x"), bad)


def test_a_name_is_the_same_with_and_without_its_leading_dot() -> None:
    with pytest.raises(ArchiveError, match="twice"):
        _read(entry("./ok", b"x"), entry("ok", b"y"))


def test_another_package_under_the_locked_name_is_refused() -> None:
    with pytest.raises(ArchiveError, match="holds other"):
        _read(entry("./a", b"x"), name="other")


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ArchiveError, match="arm64"):
        _read(entry("./a", b"x"), architecture="arm64")


def test_a_package_that_unpacks_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "_MAX_UNPACKED", 100)
    with pytest.raises(ArchiveError, match="larger unpacked"):
        _read(entry("./bomb", bytes(101)))


def test_a_package_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "_MAX_FILES", 2)
    with pytest.raises(ArchiveError, match="larger unpacked"):
        _read(*(entry(f"./{number}", b"x") for number in range(3)))


@pytest.mark.parametrize("data", [b"", b"!<arch>\n", b"PK\3\4" + bytes(60)])
def test_what_is_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        deb.read_deb(data, lock_deb(data), architecture="amd64")


def test_every_truncation_of_a_package_is_refused() -> None:
    whole = make_deb([entry("./a", b"content")])
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(ArchiveError):
            deb.read_deb(whole[:length], lock_deb(whole), architecture="amd64")
