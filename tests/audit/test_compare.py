"""Comparing: every difference is named as precisely as the images allow, and none is overlooked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_audit.cli import main
from glasshouse_audit.compare import Difference, compare
from support.synthetic_pe import make_pe

_MEMBERS = {
    "a": Member(path="a", kind=Kind.DIRECTORY),
    "a/code.py": Member(path="a/code.py", kind=Kind.FILE, data=b"one\ntwo\nthree\n"),
    "a/lib.so": Member(path="a/lib.so", kind=Kind.FILE, data=bytes(range(256))),
    "l": Member(path="l", kind=Kind.LINK, data=b"a"),
}


def _image(
    *changes: Member, without: str = "", mtime: int = 5, level: int = 3, command_line: bytes = b"quiet"
) -> bytes:
    members = {**_MEMBERS, **{member.path: member for member in changes}}
    members.pop(without, None)
    ordered = tuple(sorted(members.values(), key=lambda member: member.path))
    initrd = zstandard.compress(Archive(mtime=mtime, members=ordered).encode(), level)
    return make_pe({".text": b"stub", ".cmdline": command_line, ".initrd": initrd})


def _only_difference(first: bytes, second: bytes) -> Difference:
    comparison = compare(first, second)
    assert not comparison.identical
    (difference,) = comparison.differences
    return difference


def test_the_same_bytes_are_identical() -> None:
    comparison = compare(_image(), _image())
    assert comparison.identical
    assert comparison.differences == ()


@pytest.mark.parametrize(
    ("changed", "place", "detail"),
    [
        pytest.param(
            _image(Member(path="a/code.py", kind=Kind.FILE, data=b"one\ntwO\nthree\n")),
            ".initrd:a/code.py",
            "line 2: 'two', then 'twO'",
            id="a line",
        ),
        pytest.param(
            _image(Member(path="a/code.py", kind=Kind.FILE, data=b"one\ntwo\n")),
            ".initrd:a/code.py",
            "3 lines, then 2",
            id="a line less",
        ),
        pytest.param(
            _image(Member(path="a/code.py", kind=Kind.FILE, data=b"one\ntwo\nthree")),
            ".initrd:a/code.py",
            "14 bytes, then 13",
            id="the last newline",
        ),
        pytest.param(
            _image(Member(path="a/lib.so", kind=Kind.FILE, data=bytes(range(200)) + bytes(56))),
            ".initrd:a/lib.so",
            "at offset 0xc8: c0c1c2c3c4c5c6c7c8c9cacbcccdcecf, then c0c1c2c3c4c5c6c70000000000000000",
            id="binary data",
        ),
        pytest.param(
            _image(Member(path="a/code.py", kind=Kind.EXECUTABLE, data=b"one\ntwo\nthree\n")),
            ".initrd:a/code.py",
            "file, then executable",
            id="a mode",
        ),
        pytest.param(
            _image(Member(path="a/code.py", kind=Kind.EXECUTABLE, data=b"one\ntwO\nthree\n")),
            ".initrd:a/code.py",
            "file, then executable; line 2: 'two', then 'twO'",
            id="a mode and a line",
        ),
        pytest.param(
            _image(Member(path="l", kind=Kind.LINK, data=b"b")),
            ".initrd:l",
            "links to b'a', then b'b'",
            id="a link",
        ),
        pytest.param(
            _image(Member(path="z", kind=Kind.FILE)),
            ".initrd:z",
            "only in the second image",
            id="a file more",
        ),
        pytest.param(_image(without="l"), ".initrd:l", "only in the first image", id="a file less"),
        pytest.param(_image(mtime=6), ".initrd", "modification time 5, then 6", id="the time"),
        pytest.param(_image(level=1), ".initrd", "the same archive", id="the compression"),
        pytest.param(
            _image(command_line=b"debug"), ".cmdline", "line 1: 'quiet', then 'debug'", id="the command line"
        ),
    ],
)
def test_a_difference_is_named(changed: bytes, place: str, detail: str) -> None:
    difference = _only_difference(_image(), changed)
    assert difference.place == place
    assert difference.detail.startswith(detail)


def test_every_flipped_byte_is_a_difference_that_is_named() -> None:
    image = _image()
    for offset in range(len(image)):
        changed = image[:offset] + bytes([image[offset] ^ 0x80]) + image[offset + 1 :]
        comparison = compare(image, changed)
        assert not comparison.identical
        assert comparison.differences, offset


def test_bytes_behind_the_image_are_a_difference() -> None:
    assert _only_difference(_image(), _image() + b"\0").place == "headers and padding"


def test_what_is_no_image_differs_from_one() -> None:
    assert "not a pe file" in _only_difference(_image(), b"something").detail


def test_the_command_exits_with_1_and_says_the_same_in_text_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.efi", tmp_path / "second.efi"
    first.write_bytes(_image())
    second.write_bytes(_image(Member(path="a/code.py", kind=Kind.FILE, data=b"one\n2\nthree\n")))
    assert main(["compare", str(first), str(second)]) == 1
    assert "differs: .initrd:a/code.py: line 2: 'two', then '2'" in capsys.readouterr().out
    assert main(["compare", str(first), str(second), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "glasshouse/comparison/v1"
    assert answer["identical"] is False
    assert answer["differences"] == [{"place": ".initrd:a/code.py", "detail": "line 2: 'two', then '2'"}]


def test_the_command_exits_with_0_for_the_same_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "enclave.efi"
    path.write_bytes(_image())
    assert main(["compare", str(path), str(path)]) == 0
    assert capsys.readouterr().out.startswith("identical: sha256 ")
    assert main(["compare", str(path), str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["identical"] is True


def test_the_command_exits_with_2_when_a_file_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "enclave.efi"
    path.write_bytes(_image())
    assert main(["compare", str(path), str(tmp_path / "none.efi")]) == 2
    assert "none.efi" in capsys.readouterr().err


def test_a_header_is_named_by_its_field() -> None:
    image = bytearray(_image())
    time_stamp = int.from_bytes(image[60:64], "little") + 8
    image[time_stamp] ^= 1
    assert "file header TimeDateStamp 0x" in _only_difference(_image(), bytes(image)).detail


def test_diffoscope_explains_a_file_where_it_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "diffoscope"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nshift 4\necho "$(cat "$1") became $(cat "$2")"\nexit 1\n')
    program.chmod(0o755)
    first, second = tmp_path / "first.efi", tmp_path / "second.efi"
    first.write_bytes(_image())
    second.write_bytes(_image(command_line=b"debug"))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert main(["compare", str(first), str(second)]) == 1
    assert "diffoscope on .cmdline:\nquiet became debug\n" in capsys.readouterr().out
    program.unlink()
    monkeypatch.setenv("PATH", str(program.parent))
    assert main(["compare", str(first), str(second)]) == 1
    assert "diffoscope on" not in capsys.readouterr().out
