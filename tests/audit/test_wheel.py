"""Wheels: every file as its RECORD says, below the import path, for the interpreter in the image."""

from __future__ import annotations

import io
import stat
import warnings
import zipfile

import pytest

from glasshouse_attestations.cpio import Kind, Member
from glasshouse_audit import wheel
from glasshouse_audit.errors import ArchiveError
from glasshouse_audit.recipe import PythonTarget
from support.synthetic_packages import lock_wheel, make_wheel

_PYTHON = PythonTarget(
    version="3.13",
    glibc="2.41",
    architecture="x86_64",
    target="usr/lib/python3/dist-packages",
    wheels=("sample",),
)
_FILES = {"sample/__init__.py": b"x = 1\n", "sample/data/a.txt": b"text"}


def _read(data: bytes) -> tuple[Member, ...]:
    return wheel.read_wheel(data, lock_wheel(data), _PYTHON)


def test_files_go_below_the_import_path() -> None:
    members = {member.path: member for member in _read(make_wheel(_FILES))}
    place = "usr/lib/python3/dist-packages"
    assert members[f"{place}/sample/__init__.py"].data == b"x = 1\n"
    assert f"{place}/sample-1.0.dist-info/METADATA" in members
    assert {member.kind for member in members.values()} == {Kind.FILE}


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp38-abi3-manylinux2014_x86_64",
        "py2.py3-none-any",
    ],
)
def test_tags_that_fit_the_image_are_accepted(tag: str) -> None:
    assert _read(make_wheel(_FILES, tag=tag))


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp313-cp313-manylinux_2_28_aarch64",
        "cp313-cp313-musllinux_1_2_x86_64",
        "cp313-cp313-manylinux_2_42_x86_64",
        "cp313-cp313-win_amd64",
        "cp314-abi3-manylinux_2_28_x86_64",
    ],
)
def test_a_wheel_for_another_system_is_refused(tag: str) -> None:
    with pytest.raises(ArchiveError, match="does not run"):
        _read(make_wheel(_FILES, tag=tag))


@pytest.mark.parametrize(
    "path", ["../escape.py", "/etc/passwd", "a/../../b.py", "a//b.py", "./a.py", "a\\..\\b.py", "C:\\x.py"]
)
def test_an_unsafe_path_is_refused(path: str) -> None:
    with pytest.raises(ArchiveError):
        _read(make_wheel({**_FILES, path: b"x"}))


def test_a_file_that_record_does_not_list_is_refused() -> None:
    with pytest.raises(ArchiveError, match="does not list exactly"):
        _read(make_wheel(_FILES, unlisted={"sample/extra.py": b"x"}))


def test_a_file_that_is_only_in_record_is_refused() -> None:
    with pytest.raises(ArchiveError, match="does not list exactly"):
        _read(make_wheel(_FILES, record={"sample/missing.py": b"x"}))


def test_a_file_with_another_hash_than_record_says_is_refused() -> None:
    with pytest.raises(ArchiveError, match="another sha-256"):
        _read(make_wheel(_FILES, record={"sample/__init__.py": b"x = 2\n"}))


def test_a_name_that_is_there_twice_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = _appended(make_wheel(_FILES), zipfile.ZipInfo("sample/__init__.py"), b"x = 1\n")
    with pytest.raises(ArchiveError, match="twice"):
        _read(data)


def test_a_link_is_refused() -> None:
    link = zipfile.ZipInfo("sample/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ArchiveError, match="not a plain file"):
        _read(_appended(make_wheel(_FILES), link, b"/etc/passwd"))


def test_files_for_elsewhere_than_the_import_path_are_refused() -> None:
    with pytest.raises(ArchiveError, match=r"\.data folder"):
        _read(make_wheel({**_FILES, "sample-1.0.data/scripts/tool": b"#!"}))


def test_two_distributions_in_one_wheel_are_refused() -> None:
    with pytest.raises(ArchiveError, match="dist-info"):
        _read(make_wheel({**_FILES, "other-1.0.dist-info/METADATA": b"Name: other\n"}))


def test_another_version_under_the_locked_name_is_refused() -> None:
    data = make_wheel(_FILES, version="1.1")
    with pytest.raises(ArchiveError, match=r"holds sample 1\.1"):
        wheel.read_wheel(data, lock_wheel(data), _PYTHON)


def test_a_wheel_that_unpacks_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "_MAX_UNPACKED", 1000)
    with pytest.raises(ArchiveError, match="larger unpacked"):
        _read(make_wheel({"bomb": bytes(1001)}))


@pytest.mark.parametrize("data", [b"", b"PK\5\6" + bytes(18), b"!<arch>\n"])
def test_what_is_no_wheel_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        _read(data)


def test_every_changed_byte_is_refused_or_leaves_the_same_files() -> None:
    data = make_wheel(_FILES)
    expected = _read(data)
    for offset in range(0, len(data), 3):
        changed = data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :]
        try:
            members = _read(changed)
        except ArchiveError:
            continue
        # What is left over are fields that nothing reads, such as times, and the two unlisted files.
        assert {m.path: m.data for m in members if "dist-info" not in m.path} == {
            m.path: m.data for m in expected if "dist-info" not in m.path
        }


def _appended(data: bytes, info: zipfile.ZipInfo, content: bytes) -> bytes:
    output = io.BytesIO(data)
    with zipfile.ZipFile(output, "a") as archive:
        archive.writestr(info, content)
    return output.getvalue()
