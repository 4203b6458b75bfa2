"""Building: the same bytes from the same inputs, a named error otherwise, and never half a file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse_attestations.cpio import Kind, Member
from glasshouse_attestations.image import read_archive, read_sections
from glasshouse_attestations.measurements import Measurements
from glasshouse_audit import initrd, locks
from glasshouse_audit.build import build
from glasshouse_audit.cli import main
from glasshouse_audit.errors import ArchiveError, MissingInputError, RecipeError, ToolError
from glasshouse_audit.recipe import Recipe
from support.repository import ROOT
from support.synthetic_packages import entry, lock_deb, make_deb
from support.synthetic_tree import SyntheticTree, make_tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticTree:
    return make_tree(tmp_path, monkeypatch)


def _build(tree: SyntheticTree, name: str = "enclave.efi") -> bytes:
    output = tree.path / "dist" / name
    build(tree.path, output)
    return output.read_bytes()


def test_the_image_has_the_kernel_the_command_line_and_the_root_file_system(tree: SyntheticTree) -> None:
    sections = read_sections(_build(tree))
    assert list(sections) == [".text", ".sbat", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]
    assert sections[".cmdline"] == b"console=ttyS0"
    assert sections[".uname"] == b"9.9-cloud-amd64"
    assert sections[".osrel"] == b"ID=sample\n"
    assert b"kernel code" in sections[".linux"]
    archive = read_archive(sections[".initrd"])
    assert archive.mtime == 1767225600
    members = {member.path: member for member in archive.members}
    assert members["init"] == Member(path="init", kind=Kind.EXECUTABLE, data=b"#!/usr/bin/sample\n")
    assert members["usr/lib/libsample.so.1"].data == b"\x7fELF"
    assert members["usr/lib/libsample.so"].data == b"libsample.so.1"
    assert members["lib"].data == b"usr/lib"
    assert members["usr/lib/python3/dist-packages/sample_wheel.py"].data == b"x = 1\n"
    assert (
        members["usr/lib/python3/dist-packages/glasshouse_enclave/server.py"].data == tree.source.read_bytes()
    )
    assert not [path for path in members if path.startswith(("boot", "usr/share"))]


def test_measurements_are_written_beside_the_image(tree: SyntheticTree) -> None:
    image = _build(tree)
    measurements = Measurements.parse((tree.path / "dist" / "measurements.json").read_bytes())
    assert measurements.sha256 == hashlib.sha256(image).digest()
    assert measurements.size == len(image)


def test_another_place_user_time_zone_and_hash_seed_give_the_same_bytes(
    tree: SyntheticTree, tmp_path: Path
) -> None:
    expected = _build(tree)
    elsewhere = tmp_path / "ein anderer Ort" / "tree"
    # Copied in another order, with other modes and times.
    for path in sorted(tree.path.rglob("*"), reverse=True):
        if path.is_file():
            target = elsewhere / path.relative_to(tree.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            target.chmod(0o700)
            os.utime(target, (1, 1))
    command = [sys.executable, "-m", "glasshouse_audit", "build", "--tree", str(elsewhere)]
    environment = {**os.environ, "TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONHASHSEED": "77"}
    output = tmp_path / "out.efi"
    built = subprocess.run(
        [*command, "--output", str(output)], env=environment, umask=0o077, capture_output=True, check=False
    )
    assert built.returncode == 0, built.stderr
    assert output.read_bytes() == expected


def test_files_that_are_no_sources_leave_the_image_as_it_is(tree: SyntheticTree) -> None:
    expected = _build(tree)
    package = tree.source.parent
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "server.cpython-313.pyc").write_bytes(b"\0")
    (package / "notes.md").write_text("notes", encoding="utf-8")
    (tree.path / "docs").mkdir()
    (tree.path / "docs" / "building.md").write_text("text", encoding="utf-8")
    assert _build(tree) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("mtime = 1767225600", "mtime = 1767225601", id="time"),
        pytest.param("console=ttyS0", "console=tty0", id="command line"),
        pytest.param('directories = ["proc"]', 'directories = ["proc", "sys"]', id="directory"),
        pytest.param("ID=sample", "ID=simple", id="file"),
    ],
)
def test_every_part_of_the_recipe_shows_in_the_image(tree: SyntheticTree, old: str, new: str) -> None:
    before = _build(tree)
    tree.replace_in_recipe(old, new)
    assert _build(tree) != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("version = 1\n", "version = 2\n", "version", id="another version"),
        pytest.param("mtime =", "time =", "mtime", id="a field missing"),
        pytest.param("mtime =", "unknown = 1\nmtime =", "unknown", id="an unknown field"),
        pytest.param("[python]", "[python]\nextra = 1", "extra", id="an unknown field in a table"),
        pytest.param('"boot/*", ', '"boot/*", "boot/*", ', "different", id="a rule twice"),
        pytest.param('"boot/*", ', '"boot/*", "var/*", ', "not there: var", id="a rule without use"),
        pytest.param("boot/vmlinuz-*", "boot/bzImage-*", "0 files", id="no kernel"),
        pytest.param('"libsample", ', "", "lock anew", id="a package less than locked"),
        pytest.param('"sample_wheel"', '"other"', "lock anew", id="another wheel than locked"),
        pytest.param('lib = "', 'sbin = "usr/sbin"\nlib = "', "not in the image", id="a link to nothing"),
        pytest.param('init = "', '"usr/lib/os-release" = "', "there already", id="a path twice"),
        pytest.param('init = "', '"../init" = "', "not relative", id="a path out of the root"),
        pytest.param(
            'target = "usr/lib/python3/dist-packages/g', 'target = "../g', "not relative", id="a target"
        ),
        pytest.param("usr/lib/os-release", "etc/os-release", "not in the image", id="no os-release"),
        pytest.param("src/glasshouse_enclave", "src/elsewhere", "no sources", id="no sources"),
        pytest.param("version = 1\n", "version = = 1\n", "malformed", id="no toml"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(
    tree: SyntheticTree, old: str, new: str, message: str
) -> None:
    text = tree.recipe.read_text(encoding="utf-8")
    assert old in text
    tree.recipe.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        _build(tree)
    assert not (tree.path / "dist").exists()


def test_a_path_that_two_packages_have_is_refused(tree: SyntheticTree) -> None:
    _replace_deb(tree, "libsample", make_deb([entry("./usr/lib/os-release", b"x")], name="libsample"))
    tree.replace_in_recipe(', "usr/share/doc/*"', "")
    with pytest.raises(RecipeError, match="os-release"):
        _build(tree)


def test_an_unsafe_package_is_refused_although_the_lock_names_it(tree: SyntheticTree) -> None:
    _replace_deb(tree, "libsample", make_deb([entry("../../etc/passwd", b"x")], name="libsample"))
    with pytest.raises(ArchiveError, match="libsample"):
        _build(tree)


def test_a_link_among_the_sources_is_refused(tree: SyntheticTree) -> None:
    (tree.source.parent / "linked.py").symlink_to("/etc/hostname")
    with pytest.raises(RecipeError, match="linked"):
        _build(tree)


def test_another_compressor_is_refused_by_name(tree: SyntheticTree) -> None:
    tree.replace_in_recipe("zstandard==0.25.0", "zstandard==0.24.0")
    with pytest.raises(ToolError, match=r"zstandard==0\.24\.0") as caught:
        _build(tree)
    assert "pip install zstandard==0.24.0" in str(caught.value.hint)


def test_the_number_of_workers_does_not_show_in_the_output(
    tree: SyntheticTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several jobs of the compressor's size, so that workers really share the work.
    big = hashlib.shake_256(b"incompressible").digest(9 * 2**20) + b"compressible " * 2**20
    (tree.source.parent / "big.py").write_bytes(big)
    outputs = set()
    for workers in (1, 2, 3):
        monkeypatch.setattr(initrd, "_WORKERS", workers)
        outputs.add(hashlib.sha256(_build(tree)).hexdigest())
    assert len(outputs) == 1


def test_an_interrupted_build_leaves_no_file(tree: SyntheticTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    output = tree.path / "dist" / "enclave.efi"
    assert main(["build", "--tree", str(tree.path), "--output", str(output)]) == 130
    assert not list(output.parent.iterdir())


def test_a_failed_build_leaves_the_earlier_image(tree: SyntheticTree) -> None:
    before = _build(tree)
    tree.replace_in_recipe("mtime =", "time =")
    with pytest.raises(RecipeError):
        _build(tree)
    assert (tree.path / "dist" / "enclave.efi").read_bytes() == before
    assert {path.name for path in (tree.path / "dist").iterdir()} == {"enclave.efi", "measurements.json"}


def test_a_missing_input_is_named_with_the_variables_that_help(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasshouse_audit.mirror._ATTEMPTS", 1)
    next(tree.inputs.glob("libsample*")).unlink()
    with pytest.raises(MissingInputError, match="libsample"):
        _build(tree)
    assert main(["build", "--tree", str(tree.path)]) == 2
    lines = capsys.readouterr().err
    assert "glasshouse-audit: libsample_1.0-1_amd64.deb is not to be had" in lines
    assert "GLASSHOUSE_DEBIAN_MIRROR" in lines
    assert "GLASSHOUSE_INPUTS" in lines


def test_the_command_prints_the_digest_or_the_measurements(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tree.path / "dist" / "enclave.efi"
    assert main(["build", "--tree", str(tree.path), "--output", str(output)]) == 0
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert digest in capsys.readouterr().out
    assert main(["build", "--tree", str(tree.path), "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["image"]["sha256"] == digest


def test_uncommitted_changes_are_warned_of_and_built_all_the_same(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ["git", "-C", str(tree.path), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "All"], check=True)
    output = str(tree.path.parent / "enclave.efi")
    assert main(["build", "--tree", str(tree.path), "--output", output]) == 0
    assert capsys.readouterr().err == ""
    tree.source.write_text("PORT = 1\n", encoding="utf-8")
    assert main(["build", "--tree", str(tree.path), "--output", output]) == 0
    assert "uncommitted changes in 1 places, first reference_server/enclave" in capsys.readouterr().err


def test_the_recipe_of_this_tree_is_well_formed() -> None:
    recipe = Recipe.load(ROOT)
    assert not {"busybox", "dash", "bash"} & {*recipe.debian.packages}


def _replace_deb(tree: SyntheticTree, name: str, data: bytes) -> None:
    path = tree.recipe.parent / "debs.lock"
    entries = [deb for deb in locks.parse_debs(path.read_text(encoding="ascii")) if deb.name != name]
    path.write_text(locks.encode([*entries, lock_deb(data, name=name)]), encoding="ascii")
    (tree.inputs / f"{name}_1.0-1_amd64.deb").write_bytes(data)
