"""Reproducing: a rebuild of the same sources is identical, and of any other it is not, and says where."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse_audit.build import build
from glasshouse_audit.cli import main
from support.image import EnclaveImage
from support.repository import ROOT
from support.synthetic_tree import SyntheticTree, make_tree

_BUILT_FROM = (
    "reference_server/image",
    "reference_server/enclave/src/glasshouse_enclave",
    "attestations/src/glasshouse_attestations",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticTree:
    return make_tree(tmp_path, monkeypatch)


def _published(tree: SyntheticTree) -> str:
    path = tree.path / "dist" / "enclave.efi"
    build(tree.path, path)
    return str(path)


def _reproduce(tree: SyntheticTree, against: str, *options: str) -> int:
    return main(["reproduce", "--tree", str(tree.path), "--against", against, *options])


def test_the_same_sources_reproduce_the_image(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _reproduce(tree, _published(tree)) == 0
    assert capsys.readouterr().out.startswith("identical: sha256 ")


def test_one_changed_byte_in_a_source_is_found_and_named(
    tree: SyntheticTree, capsys: pytest.CaptureFixture[str]
) -> None:
    published = _published(tree)
    tree.source.write_text("PORT = 50051\nLIMIT = 2\n", encoding="utf-8")
    assert _reproduce(tree, published) == 1
    place = ".initrd:usr/lib/python3/dist-packages/glasshouse_enclave/server.py"
    assert f"differs: {place}: line 2: 'LIMIT = 1', then 'LIMIT = 2'" in capsys.readouterr().out
    assert _reproduce(tree, published, "--json") == 1
    assert [one["place"] for one in json.loads(capsys.readouterr().out)["differences"]] == [place]


def test_a_published_image_with_one_changed_byte_is_no_reproduction(tree: SyntheticTree) -> None:
    path = Path(_published(tree))
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 1
    path.write_bytes(image)
    assert _reproduce(tree, str(path)) == 1


def test_a_build_that_fails_is_never_a_pass(tree: SyntheticTree, capsys: pytest.CaptureFixture[str]) -> None:
    published = _published(tree)
    tree.replace_in_recipe("zstandard==0.25.0", "zstandard==0.24.0")
    assert _reproduce(tree, published) == 2
    tree.replace_in_recipe("zstandard==0.24.0", "zstandard==0.25.0")
    assert _reproduce(tree, str(tree.path / "none.efi")) == 2
    assert capsys.readouterr().out == ""


def test_the_rebuild_leaves_nothing_in_the_tree(tree: SyntheticTree) -> None:
    published = _published(tree)
    before = sorted(tree.path.rglob("*"))
    assert _reproduce(tree, published) == 0
    assert sorted(tree.path.rglob("*")) == before


def test_one_changed_byte_of_the_real_enclave_is_found_and_named(
    enclave_image: EnclaveImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in _BUILT_FROM:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "reference_server/enclave/src/glasshouse_enclave/__init__.py"
    source.write_bytes(source.read_bytes().replace(b"T", b"t", 1))
    code = main(["reproduce", "--tree", str(tmp_path), "--against", str(enclave_image.path)])
    output = capsys.readouterr().out
    assert code == 1, output
    assert "differs: .initrd:usr/lib/python3/dist-packages/glasshouse_enclave/__init__.py: line 1" in output
    assert output.count("differs: ") == 1


def test_another_environment_reproduces_the_real_image(enclave_image: EnclaveImage) -> None:
    environment = {**os.environ, "TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-m", "glasshouse_audit", "reproduce", "--against", str(enclave_image.path)]
    faketime = shutil.which("faketime")
    if faketime is not None:
        command = [faketime, "+1 year", *command]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, umask=0o077, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
