"""A source tree with a recipe of its own, whose image builds in milliseconds from inputs made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from glasshouse_audit import locks
from support.synthetic_packages import entry, lock_deb, lock_wheel, make_deb, make_wheel
from support.synthetic_pe import make_pe

_RECIPE = """\
version = 1
mtime = 1767225600
compressor = "zstandard==0.25.0"
libzstd = "1.5.7"
compression_level = 3
command_line = "console=ttyS0"
kernel = "boot/vmlinuz-*"
stub = "usr/lib/stub.efi"
os_release = "usr/lib/os-release"

[debian]
suite = "trixie"
component = "main"
architecture = "amd64"
packages = ["libsample", "sample-boot"]
metapackages = ["linux-image-cloud-amd64"]

[python]
version = "3.13"
glibc = "2.41"
architecture = "x86_64"
target = "usr/lib/python3/dist-packages"
wheels = ["sample_wheel"]

[sources]
suffixes = [".py", ".typed"]

[[sources.packages]]
origin = "reference_server/enclave/src/glasshouse_enclave"
target = "usr/lib/python3/dist-packages/glasshouse_enclave"
files = ["*"]

[root]
directories = ["proc"]
keep = []
exclude = ["boot/*", "usr/lib/stub.efi", "usr/share/doc/*"]

[root.links]
lib = "usr/lib"

[root.files]
"usr/lib/os-release" = "ID=sample\\n"

[root.executables]
init = "#!/usr/bin/sample\\n"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticTree:
    """The tree, the folder that ``GLASSHOUSE_INPUTS`` names, and the cache; each empty of anything else."""

    path: Path
    inputs: Path
    cache: Path

    @property
    def recipe(self) -> Path:
        return self.path / "reference_server" / "image" / "recipe.toml"

    @property
    def source(self) -> Path:
        return self.path / "reference_server" / "enclave" / "src" / "glasshouse_enclave" / "server.py"

    def replace_in_recipe(self, old: str, new: str) -> None:
        """Change the recipe; ``old`` must be there."""
        text = self.recipe.read_text(encoding="utf-8")
        assert old in text
        self.recipe.write_text(text.replace(old, new), encoding="utf-8")


def make_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticTree:
    """Write the tree below ``folder`` and point the environment at its inputs."""
    tree = SyntheticTree(path=folder / "tree", inputs=folder / "inputs", cache=folder / "cache")
    for path in (tree.recipe.parent, tree.source.parent, tree.inputs, tree.cache):
        path.mkdir(parents=True)
    tree.recipe.write_text(_RECIPE, encoding="utf-8")
    tree.source.write_text("PORT = 50051\nLIMIT = 1\n", encoding="utf-8")
    _write_inputs(tree)
    monkeypatch.setenv("GLASSHOUSE_INPUTS", str(tree.inputs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.cache))
    # Nothing in a test of the synthetic tree may reach for a real mirror.
    monkeypatch.setenv("GLASSHOUSE_DEBIAN_MIRROR", "http://127.0.0.1:9")
    return tree


def _write_inputs(tree: SyntheticTree) -> None:
    kernel = make_pe({".text": b"kernel code"})
    stub = make_pe({".text": b"stub code", ".sbat": b"sbat,1\n"})
    packages = {
        "libsample": make_deb(
            [
                entry("./lib/libsample.so.1", b"\x7fELF"),
                entry("./lib/libsample.so", kind=b"2", link="libsample.so.1"),
                entry("./usr/share/doc/sample", b"text"),
            ],
            name="libsample",
        ),
        "sample-boot": make_deb([entry("./usr/lib/stub.efi", stub)], name="sample-boot"),
        "linux-image-9.9-cloud-amd64": make_deb(
            [entry("./boot/vmlinuz-9.9-cloud-amd64", kernel)], name="linux-image-9.9-cloud-amd64"
        ),
    }
    debs = [lock_deb(data, name=name) for name, data in packages.items()]
    for deb, data in zip(debs, packages.values(), strict=True):
        (tree.inputs / deb.file_name).write_bytes(data)
    wheel = make_wheel({"sample_wheel.py": b"x = 1\n"}, name="sample_wheel")
    (tree.inputs / "sample_wheel-1.0-py3-none-any.whl").write_bytes(wheel)
    wheels = [lock_wheel(wheel, name="sample-wheel")]
    (tree.recipe.parent / "debs.lock").write_text(locks.encode(debs), encoding="ascii")
    (tree.recipe.parent / "wheels.lock").write_text(locks.encode(wheels), encoding="ascii")
    firmware = [lock_deb(b"no input of the build", name="sample-firmware")]
    (tree.recipe.parent / "firmware.lock").write_text(locks.encode(firmware), encoding="ascii")
