"""The trusted computing base: the document says what the image is made of, and leaves nothing out."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasshouse_attestations.cpio import Kind
from glasshouse_audit.build import gather, progress_bars
from glasshouse_audit.cli import main
from glasshouse_audit.tcb import components
from support.image import EnclaveImage
from support.repository import ROOT
from support.synthetic_tree import make_tree


def test_every_file_of_the_image_is_in_one_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path, monkeypatch)
    with progress_bars(shown=False) as bars:
        parts = gather(tree.path, bars)
    found = {one.name: one for one in components(parts)}
    members = [member for member in parts.archive.members if member.kind is not Kind.DIRECTORY]
    assert sum(one.files for one in found.values()) == len(members) + 2
    outside = len(parts.kernel.data) + len(parts.stub.data)
    assert sum(one.size for one in found.values()) == sum(len(each.data) for each in members) + outside
    assert found["glasshouse_enclave (ours)"].lines == 2
    assert found["libsample"].version == "1.0-1"
    assert found["libsample"].lines == 0
    assert found["linux-image-9.9-cloud-amd64"].size == len(parts.kernel.data)


def test_the_document_is_that_of_the_real_image(
    enclave_image: EnclaveImage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enclave_image.path.is_file()
    assert main(["tcb"]) == 0
    written = (ROOT / "docs" / "tcb.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written, "run: python3 -m nox -s docs"
