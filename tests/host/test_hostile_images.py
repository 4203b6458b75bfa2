"""Images that want to write outside their root or to exhaust the machine: each has its typed error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from glasshouse_attestations.cpio import Kind, Member
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import MAX_INITRD_SIZE
from glasshouse_host.cli import main
from glasshouse_host.errors import ImageContentError, InputFileError
from glasshouse_host.measured_image import MeasuredImage
from support.images import archive, image_of, pe_file

DIRECTORIES = ("dev", "proc", "run", "sys", "tmp", "usr", "usr/bin")
SKELETON = tuple(Member(path=path, kind=Kind.DIRECTORY) for path in DIRECTORIES)
PYTHON = Member(path="usr/bin/python3.13", kind=Kind.EXECUTABLE, data=b"#!")


def newc(path: str, *, mode: int, data: bytes = b"", inode: int = 1, device: int = 0) -> bytes:
    """One cpio member with whatever it likes to claim."""
    name = path.encode() + b"\0"
    numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, device, device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def newc_archive(*members: bytes) -> bytes:
    return b"".join(members) + newc("TRAILER!!!", mode=0, inode=0)


FILE, DIRECTORY, LINK, DEVICE, PIPE = 0o100644, 0o040755, 0o120777, 0o020666, 0o010644

HOSTILE = {
    "a path upwards": newc_archive(newc("../escaped", mode=FILE, data=b"x")),
    "a path upwards inside": newc_archive(
        newc("a", mode=DIRECTORY), newc("a/../../escaped", mode=FILE, inode=2)
    ),
    "an absolute path": newc_archive(newc("/escaped", mode=FILE, data=b"x")),
    "a path through a link": newc_archive(
        newc("a", mode=LINK, data=b"/"), newc("a/escaped", mode=FILE, inode=2)
    ),
    "a link, then a file in its place": newc_archive(
        newc("a", mode=LINK, data=b"/escaped"), newc("a", mode=FILE, data=b"x", inode=2)
    ),
    "a duplicate": newc_archive(newc("a", mode=FILE), newc("a", mode=FILE, inode=2)),
    "a device": newc_archive(newc("disk", mode=DEVICE, device=8)),
    "a named pipe": newc_archive(newc("pipe", mode=PIPE)),
    "a set-user-id file": newc_archive(newc("su", mode=0o104755)),
    "a nul in a path": newc_archive(newc("a\0b", mode=FILE)),
    "no trailer": newc("a", mode=FILE),
    "bytes after the trailer": newc_archive(newc("a", mode=FILE)) + b"more",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_initrd_is_refused_before_anything_is_written(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    path.write_bytes(image_of(content))
    with pytest.raises(MalformedError):
        MeasuredImage.read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_decompression_bomb_is_refused_by_the_size_it_states(tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    bomb = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(1 << 20)))
    # RFC 8878, 3.1.1: after the magic number, the descriptor and the window comes the size that it states.
    assert (bomb[4] >> 5, int.from_bytes(bomb[6:10], "little")) == (0b100, 1 << 20)
    bomb[6:10] = (MAX_INITRD_SIZE + 1).to_bytes(4, "little")
    path.write_bytes(pe_file({".initrd": bytes(bomb)}))
    with pytest.raises(MalformedError, match="states 1073741825 bytes"):
        MeasuredImage.read(path)


def test_a_frame_larger_than_it_states_is_refused(tmp_path: Path) -> None:
    frame = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(100)))
    assert frame[5] == 100
    frame[5] = 50
    path = tmp_path / "image.efi"
    path.write_bytes(pe_file({".initrd": bytes(frame)}))
    with pytest.raises(MalformedError):
        MeasuredImage.read(path)


def test_an_image_without_an_initrd_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    path.write_bytes(pe_file({".linux": b"x"}))
    with pytest.raises(ImageContentError, match="initrd"):
        MeasuredImage.read(path)


@pytest.mark.parametrize("content", [b"", b"MZ", b"no image", bytes(4096)])
def test_what_is_no_pe_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    path.write_bytes(content)
    with pytest.raises(MalformedError):
        MeasuredImage.read(path)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot read"):
        MeasuredImage.read(tmp_path / "none.efi")


@pytest.mark.parametrize("name", ["dev", "proc", "run", "sys", "tmp"])
@pytest.mark.parametrize(
    "replacement",
    [lambda _: (), lambda path: (Member(path=path, kind=Kind.LINK, data=b"/etc"),)],
    ids=["absent", "a link out"],
)
def test_a_mount_point_that_is_no_directory_is_refused(
    name: str, replacement: Callable[[str], tuple[Member, ...]], tmp_path: Path
) -> None:
    members = [member for member in SKELETON if member.path != name]
    image = read(tmp_path, *members, PYTHON, *replacement(name))
    with pytest.raises(ImageContentError, match=name):
        image.unpack(tmp_path / "root")


@pytest.mark.parametrize(
    "member",
    [
        Member(path="proc/cpuinfo", kind=Kind.LINK, data=b"/etc/passwd"),
        Member(path="sys/devices", kind=Kind.LINK, data=b"/"),
        Member(path="dev/null", kind=Kind.FILE, data=b"x"),
        Member(path="run/glasshouse", kind=Kind.DIRECTORY),
        Member(path="tmp/x", kind=Kind.FILE),
    ],
    ids=lambda member: str(member.path),
)
def test_nothing_lies_where_the_launcher_will_write(member: Member, tmp_path: Path) -> None:
    members = sorted([*SKELETON, PYTHON, member], key=lambda each: each.path)
    with pytest.raises(ImageContentError, match=f"something in {member.parent}"):
        read(tmp_path, *members).unpack(tmp_path / "root")


@pytest.mark.parametrize("target", [b"/bin/sh", b"../../../bin/sh", b"nowhere", b"python3.13"])
def test_a_python_that_is_not_the_images_own_is_refused(target: bytes, tmp_path: Path) -> None:
    link = Member(path=PYTHON.path, kind=Kind.LINK, data=target)
    image = read(tmp_path, *SKELETON, link)
    with pytest.raises(ImageContentError, match=r"python3\.13"):
        image.unpack(tmp_path / "root")


def test_an_image_that_is_in_order_is_unpacked(tmp_path: Path) -> None:
    read(tmp_path, *SKELETON, PYTHON).unpack(tmp_path / "root")
    python = tmp_path / "root" / PYTHON.path
    assert (python.read_bytes(), python.stat().st_mode & 0o7777) == (PYTHON.data, 0o755)


def test_the_digests_are_those_of_the_whole_file(tmp_path: Path) -> None:
    image = read(tmp_path, *SKELETON, PYTHON)
    content = (tmp_path / "image.efi").read_bytes()
    assert image.measurement.sha256 == hashlib.sha256(content).digest()
    assert image.measurement.sha384 == hashlib.sha384(content).digest()


def test_the_command_refuses_a_hostile_image_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.efi"
    path.write_bytes(image_of(archive([*SKELETON]).encode()))
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    # The test's own process must stay traceable.
    monkeypatch.setattr("glasshouse_host.syscalls.forbid_tracing", lambda: None)
    assert main(["run", "--image", str(path), "--platform", "simulated"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, list(temporary.iterdir())) == ("", [])
    assert "glasshouse-host: the image has no usr/bin/python3.13 of its own\nhint: " in captured.err


def read(directory: Path, *members: Member) -> MeasuredImage:
    path = directory / "image.efi"
    path.write_bytes(image_of(archive(members).encode()))
    return MeasuredImage.read(path)
