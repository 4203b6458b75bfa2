"""Inspecting: every byte of an image has an origin, and any byte that has none is an error."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import read_archive, read_sections
from glasshouse_audit.build import Parts, gather, progress_bars
from glasshouse_audit.cli import main
from glasshouse_audit.initrd import compress
from glasshouse_audit.inspect import cut, inspect
from glasshouse_audit.uki import assemble
from support.image import EnclaveImage
from support.synthetic_tree import SyntheticTree, make_tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticTree:
    return make_tree(tmp_path, monkeypatch)


def _gather(tree: SyntheticTree) -> tuple[Parts, bytes]:
    with progress_bars(shown=False) as bars:
        parts = gather(tree.path, bars)
        return parts, parts.put_together(bars)


def test_each_file_is_named_with_the_package_source_or_recipe_it_comes_from(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)
    inspection = inspect(image, parts, image)
    assert inspection.unaccounted == ()
    origins = {one.path: one.origin for one in inspection.files}
    assert origins["usr/lib/libsample.so.1"] == "deb libsample 1.0-1"
    assert origins["usr/lib/python3/dist-packages/sample_wheel.py"] == "wheel sample-wheel 1.0"
    enclave = "reference_server/enclave/src/glasshouse_enclave"
    assert origins["usr/lib/python3/dist-packages/glasshouse_enclave/server.py"] == f"source {enclave}"
    assert origins["init"] == "recipe"
    assert origins["usr"] == "folder"
    assert inspection.kernel == "9.9-cloud-amd64"
    assert inspection.command_line == "console=ttyS0"


def test_the_regions_and_the_files_are_all_bytes_of_the_image_and_of_the_archive(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)
    inspection = inspect(image, parts, image)
    end = 0
    for region in inspection.regions:
        assert region.start == end
        end += region.size
    assert end == inspection.size == len(image)
    assert inspection.archive_size == len(read_archive(read_sections(image)[".initrd"]).encode())
    assert inspection.framing + sum(one.size for one in inspection.files) == inspection.archive_size


def test_a_flipped_byte_is_unaccounted_for_or_no_image_at_all(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)
    start = next(start for name, start, _ in cut(image) if name == ".initrd")
    end = next(end for name, _, end in cut(image) if name == ".initrd")
    # The initrd is one zstd frame with a checksum, refused as a whole: some of its bytes are enough.
    for offset in (*range(0, start, 13), *range(start, end, 97), *range(end, len(image), 13)):
        changed = image[:offset] + bytes([image[offset] ^ 1]) + image[offset + 1 :]
        with contextlib.suppress(MalformedError):
            assert inspect(changed, parts, image).unaccounted, offset


def test_a_file_that_no_source_has_is_named(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)
    added = Member(path="usr/lib/extra.so", kind=Kind.FILE, data=b"extra")
    changed = inspect(_with(parts, image, lambda members: [*members, added]), parts, image)
    assert ".initrd:usr/lib/extra.so" in changed.unaccounted
    assert any(name.startswith(".initrd at") for name in changed.unaccounted)


def test_a_file_with_another_content_or_mode_and_a_missing_one_are_named(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)

    def change(members: list[Member]) -> list[Member]:
        kept = [member for member in members if member.path != "usr/lib/libsample.so"]
        return [Member(path=m.path, kind=Kind.FILE, data=m.data) if m.path == "init" else m for m in kept]

    names = inspect(_with(parts, image, change), parts, image).unaccounted
    assert ".initrd:init" in names
    assert ".initrd:usr/lib/libsample.so, which is missing" in names


def test_bytes_behind_the_image_are_unaccounted_for(tree: SyntheticTree) -> None:
    parts, image = _gather(tree)
    names = inspect(image + b"extra", parts, image).unaccounted
    assert names == (f"padding at {cut_end(image):#x}",)


def test_the_command_lists_and_exits_with_0_or_1(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, image = _gather(tree)
    path = tmp_path / "enclave.efi"
    path.write_bytes(image)
    assert main(["inspect", str(path), "--tree", str(tree.path), "--files"]) == 0
    printed = capsys.readouterr().out
    assert "every byte is accounted for" in printed
    assert "usr/lib/libsample.so.1 <- deb libsample 1.0-1" in printed
    path.write_bytes(image + b"extra")
    assert main(["inspect", str(path), "--tree", str(tree.path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "glasshouse/inspection/v1"
    assert answer["unaccounted"] == [f"padding at {cut_end(image):#x}"]
    assert "files" not in answer
    path.write_bytes(b"no image")
    assert main(["inspect", str(path), "--tree", str(tree.path)]) == 2


def test_the_real_image_is_accounted_for_to_the_last_byte(
    enclave_image: EnclaveImage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(enclave_image.path), "--json"]) == 0, capsys.readouterr().out
    assert json.loads(capsys.readouterr().out)["unaccounted"] == []


def cut_end(image: bytes) -> int:
    """Where the last region that has a content ends."""
    return [end for name, _, end in cut(image) if name != "padding"][-1]


def _with(parts: Parts, image: bytes, change: object) -> bytes:
    assert callable(change)
    members = sorted(change(list(parts.archive.members)), key=lambda member: member.path.encode())
    archive = Archive(mtime=parts.archive.mtime, members=tuple(members))
    sections = read_sections(image)
    added = {name: sections[name] for name in (".osrel", ".cmdline", ".uname", ".initrd", ".linux")}
    return assemble(parts.stub.data, {**added, ".initrd": compress(archive, parts.recipe)})
