"""The operator's volumes: what a machine takes from its raw disks, and what it refuses."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.volume import HEADER_SIZE, VolumeHeader, encode_volume, parse_files

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_enclave.volumes import Staple, Volume, find_disk, unpack

MODEL = f"models/{'ab' * 32}.onnx"
FILES = {"config.json": b"{}", MODEL: b"a model" * 100, "endorsements/ak-chain": b"pem"}
_MAX = 1 << 20


def disk(path: Path, content: bytes, *, size: int = 1 << 16) -> Path:
    """A disk that is larger than what is on it."""
    path.write_bytes(content.ljust(size, b"\0"))
    return path


def test_what_is_put_on_a_disk_comes_off_it(tmp_path: Path) -> None:
    device = disk(tmp_path / "vda", encode_volume(FILES))
    assert Volume(device, max_size=_MAX).files() == FILES


def test_a_volume_is_a_whole_number_of_sectors() -> None:
    assert len(encode_volume({"config.json": b"x"})) % HEADER_SIZE == 0


@pytest.mark.parametrize("position", [0, 15, 23, 24, 55, 56, 511, 512, 700])
def test_a_changed_byte_is_refused(tmp_path: Path, position: int) -> None:
    content = bytearray(encode_volume(FILES))
    content[position] ^= 1
    device = disk(tmp_path / "vda", bytes(content), size=len(content))
    with pytest.raises(MalformedError):
        Volume(device, max_size=_MAX).files()


def test_a_volume_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = VolumeHeader(size=1 << 62, sha256=bytes(32))
    device = disk(tmp_path / "vda", header.encode())
    with pytest.raises(MalformedError, match="at most"):
        Volume(device, max_size=_MAX).files()


def test_an_empty_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="does not begin with a header"):
        Volume(disk(tmp_path / "vda", b""), max_size=_MAX).files()


def test_links_are_refused() -> None:
    link = Member(path="config.json", kind=Kind.LINK, data=b"/dev/tpmrm0")
    archive = Archive(mtime=0, members=(link,)).encode()
    header = VolumeHeader(size=len(archive), sha256=hashlib.sha256(archive).digest())
    with pytest.raises(MalformedError, match="something else than files"):
        parse_files(header, archive)


@pytest.mark.parametrize(
    "path", ["init", "config.json.py", "models/x.onnx", f"models/{'AB' * 32}.onnx", "endorsements/A", "a/b/c"]
)
def test_a_file_that_the_server_does_not_look_at_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(MalformedError, match="no use"):
        unpack({"config.json": b"{}", path: b""}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unpacked_files_are_whole_and_readable_by_the_server(tmp_path: Path) -> None:
    unpack(FILES, tmp_path)
    for path, data in FILES.items():
        assert (tmp_path / path).read_bytes() == data
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o644


def test_a_staple_follows_its_disk_and_survives_one_that_is_being_written(tmp_path: Path) -> None:
    device, run_directory = disk(tmp_path / "vdb", encode_volume({"bundle.json": b"one"})), tmp_path / "run"
    run_directory.mkdir()
    staple = Staple(Volume(device, max_size=_MAX), run_directory)
    staple.refresh()
    assert (run_directory / "bundle.json").read_bytes() == b"one"
    unchanged = (run_directory / "bundle.json").stat().st_ino
    staple.refresh()
    assert (run_directory / "bundle.json").stat().st_ino == unchanged
    second = encode_volume({"bundle.json": b"two"})
    disk(device, second[:HEADER_SIZE] + encode_volume({"bundle.json": b"one"})[HEADER_SIZE:])
    with pytest.raises(MalformedError, match="not the one that its header announces"):
        staple.refresh()
    assert (run_directory / "bundle.json").read_bytes() == b"one"
    disk(device, second)
    staple.refresh()
    assert (run_directory / "bundle.json").read_bytes() == b"two"


def test_a_disk_is_found_by_its_serial_number(tmp_path: Path) -> None:
    for name, serial in (("vda", "other"), ("vdb", "gh-config\n"), ("sda", "gh-staple")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "serial").write_text(serial)
    assert find_disk("gh-config", block_devices=tmp_path, devices=Path("/dev")) == Path("/dev/vdb")
    assert find_disk("gh-staple", block_devices=tmp_path, devices=Path("/dev")) is None
