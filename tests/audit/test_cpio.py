"""The archive format: one encoding for one list of members, and nothing else is parsed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations import image
from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MalformedError

_TREE = (
    Member(path="bin", kind=Kind.LINK, data=b"usr/bin"),
    Member(path="etc", kind=Kind.DIRECTORY),
    Member(path="etc/hosts", kind=Kind.FILE, data=b"127.0.0.1 localhost\n"),
    Member(path="init", kind=Kind.EXECUTABLE, data=b"#!/x\n"),
    Member(path="usr", kind=Kind.DIRECTORY),
    Member(path="usr/bin", kind=Kind.DIRECTORY),
)
_ARCHIVE = Archive(mtime=1767225600, members=_TREE)


def test_parse_is_the_inverse_of_encode() -> None:
    encoded = _ARCHIVE.encode()
    assert Archive.parse(encoded) == _ARCHIVE
    assert len(encoded) == _ARCHIVE.size


def test_an_archive_without_members_is_refused() -> None:
    # It could not say its modification time, and so would not survive the round trip.
    with pytest.raises(ValueError, match="0 members"):
        Archive(mtime=0, members=())
    trailer = _ARCHIVE.encode()[-124:]
    with pytest.raises(MalformedError, match="0 members"):
        Archive.parse(trailer)


_names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)


@given(
    contents=st.dictionaries(
        _names.filter(lambda name: name not in (".", "..", "TRAILER!!!")), st.binary(max_size=9), min_size=1
    )
)
def test_any_flat_archive_survives_the_round_trip(contents: dict[str, bytes]) -> None:
    names = sorted(contents, key=lambda name: name.encode("utf-8"))
    members = tuple(Member(path=name, kind=Kind.FILE, data=contents[name]) for name in names)
    archive = Archive(mtime=7, members=members)
    assert Archive.parse(archive.encode()) == archive


@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Archive.parse(data)


def test_every_changed_byte_is_refused_or_changes_the_archive() -> None:
    encoded = _ARCHIVE.encode()
    for offset in range(len(encoded)):
        changed = bytearray(encoded)
        changed[offset] ^= 1
        try:
            parsed = Archive.parse(bytes(changed))
        except MalformedError:
            continue
        assert parsed != _ARCHIVE
        assert parsed.encode() == bytes(changed)


def test_every_truncation_is_refused() -> None:
    encoded = _ARCHIVE.encode()
    for length in range(len(encoded)):
        with pytest.raises(MalformedError):
            Archive.parse(encoded[:length])


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(MalformedError):
        Archive.parse(_ARCHIVE.encode() + bytes(4))


@pytest.mark.parametrize(
    "path", ["", "/etc", "etc/", "./etc", "a//b", "..", "a/../b", "a\0b", "TRAILER!!!", "x" * 1025]
)
def test_a_path_that_is_not_below_the_root_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Member(path=path, kind=Kind.FILE)


def test_a_directory_with_content_is_refused() -> None:
    with pytest.raises(ValueError, match="has content"):
        Member(path="etc", kind=Kind.DIRECTORY, data=b"x")


@pytest.mark.parametrize("target", [b"", b"a\0b", b"x" * 1025])
def test_a_link_without_a_usable_target_is_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        Member(path="link", kind=Kind.LINK, data=target)


def _file(path: str) -> Member:
    return Member(path=path, kind=Kind.FILE)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param((_file("b"), _file("a")), id="out of order"),
        pytest.param((_file("a"), _file("a")), id="twice"),
        pytest.param((_file("a/b"),), id="without its directory"),
        pytest.param((_file("a"), _file("a/b")), id="below a file"),
        pytest.param((Member(path="a", kind=Kind.LINK, data=b"/"), _file("a/b")), id="below a link"),
    ],
)
def test_members_that_are_no_tree_are_refused(members: tuple[Member, ...]) -> None:
    with pytest.raises(ValueError, match="member"):
        Archive(mtime=0, members=members)


def test_a_modification_time_beyond_32_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="modification time"):
        Archive(mtime=2**32, members=_TREE)


# Offsets in the header: 6 + 8 * field.
@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(0, b"070702", id="checksummed format"),
        pytest.param(6, b"00000009", id="inode"),
        pytest.param(14, b"000089ED", id="set-user-id"),
        pytest.param(14, b"000021A4", id="character device"),
        pytest.param(22, b"000003E8", id="owner"),
        pytest.param(30, b"000003E8", id="group"),
        pytest.param(38, b"00000002", id="hard links"),
        pytest.param(54, b"FFFFFFFF", id="size"),
        pytest.param(54, b"0000000g", id="not hexadecimal"),
        pytest.param(62, b"00000001", id="device"),
        pytest.param(94, b"00000000", id="no name"),
        pytest.param(94, b"FFFFFFFF", id="name size"),
        pytest.param(102, b"00000001", id="checksum"),
    ],
)
def test_a_header_that_is_not_normalised_is_refused(offset: int, value: bytes) -> None:
    encoded = bytearray(
        Archive(mtime=0, members=(Member(path="f", kind=Kind.EXECUTABLE, data=b"abcd"),)).encode()
    )
    encoded[offset : offset + len(value)] = value
    with pytest.raises(MalformedError):
        Archive.parse(bytes(encoded))


def test_members_with_different_times_are_refused() -> None:
    encoded = bytearray(_ARCHIVE.encode())
    second = encoded.index(b"070701", 1)
    encoded[second + 46 : second + 54] = b"00000001"
    with pytest.raises(MalformedError, match="normalised"):
        Archive.parse(bytes(encoded))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="the program cpio is not installed")
def test_cpio_itself_unpacks_what_we_encode(tmp_path: Path) -> None:
    subprocess.run(
        ["cpio", "--extract", "--quiet"],
        input=_ARCHIVE.encode(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "etc/hosts").read_bytes() == b"127.0.0.1 localhost\n"
    assert (tmp_path / "bin").is_symlink()
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755


def test_unpacking_writes_the_members_below_a_new_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image.unpack(_TREE, root)
    assert (root / "etc/hosts").read_bytes() == b"127.0.0.1 localhost\n"
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "init").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/hosts").stat().st_mode & 0o777 == 0o644


def test_unpacking_into_an_existing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        image.unpack(_TREE, tmp_path)


def test_unpacking_never_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    members = (Member(path="a", kind=Kind.LINK, data=b"../outside"), _file("a/b"))
    with pytest.raises(ValueError, match="not in a directory"):
        image.unpack(members, tmp_path / "root")
    assert not list((tmp_path / "outside").iterdir())
