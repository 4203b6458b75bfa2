"""Inputs: found by their hash wherever they are, and used only if it is theirs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from glasshouse_audit import mirror
from glasshouse_audit.build import progress_bars
from glasshouse_audit.errors import InputMismatchError, MissingInputError
from glasshouse_audit.inputs import Inputs
from glasshouse_audit.locks import Locked
from glasshouse_audit.recipe import PythonTarget
from support.synthetic_packages import entry, lock_deb, lock_wheel, make_deb, make_wheel

_PYTHON = PythonTarget(version="3.13", glibc="2.41", architecture="x86_64", target="lib", wheels=())
_DEB = make_deb([entry("./a", b"content")])
_LOCKED = lock_deb(_DEB)
_WHEEL = make_wheel({"sample.py": b"x"})
_LOCKED_WHEEL = lock_wheel(_WHEEL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that ``GLASSHOUSE_INPUTS`` names, empty; nothing else has any input."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    monkeypatch.setenv("GLASSHOUSE_INPUTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GLASSHOUSE_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    monkeypatch.setattr(mirror, "_ATTEMPTS", 1)
    return folder


class _Server(ThreadingHTTPServer):
    """Serves ``files`` by path, each after as many failures as ``failures`` says."""

    files: dict[str, bytes]
    failures: int
    cut_short: bool


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-1] if self.server.cut_short else content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base class's
        """Say nothing."""


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """A mirror that has the sample package, and is the only source of it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.files, server.failures, server.cut_short = {f"/debian/{_LOCKED.pool_path}": _DEB}, 0, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("GLASSHOUSE_DEBIAN_MIRROR", f"http://127.0.0.1:{server.server_port}/debian/")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _fetch(locked: Locked, tree: Path | None = None) -> bytes:
    inputs = Inputs(tree=tree or Path("/nowhere/tree"), python=_PYTHON)
    with progress_bars(shown=False) as progress:
        inputs.fetch([locked], progress)
    return inputs.read(locked)


@pytest.mark.parametrize(
    "name",
    [
        hashlib.sha256(_DEB).hexdigest(),
        f"sha256/{hashlib.sha256(_DEB).hexdigest()}",
        "sample_1.0-1_amd64.deb",
        "debs/sample_1.0-1_amd64.deb",
    ],
)
def test_a_package_is_found_by_its_hash_or_its_name(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_DEB)
    assert _fetch(_LOCKED) == _DEB


@pytest.mark.parametrize("name", ["zlib_1%3a1.3-1_amd64.deb", "zlib_1.3-1_amd64.deb"])
def test_an_epoch_is_found_as_apt_and_as_the_pool_write_it(folder: Path, name: str) -> None:
    (folder / name).write_bytes(_DEB)
    assert _fetch(lock_deb(_DEB, name="zlib", version="1:1.3-1")) == _DEB


def test_a_wheel_is_found_whatever_its_tags(folder: Path) -> None:
    (folder / "not-a-wheel.whl").write_bytes(b"")
    (folder / "Sample-1.0-py2.py3-none-any.whl").write_bytes(_WHEEL)
    assert _fetch(_LOCKED_WHEEL) == _WHEEL


def test_a_folder_beside_the_tree_serves_when_no_variable_is_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLASSHOUSE_INPUTS")
    beside = tmp_path / "shared" / "inputs"
    beside.mkdir(parents=True)
    (beside / _LOCKED.file_name).write_bytes(_DEB)
    (tmp_path / "tree").mkdir()
    assert _fetch(_LOCKED, tree=tmp_path / "tree") == _DEB


def test_what_was_found_once_is_cached(folder: Path) -> None:
    (folder / _LOCKED.file_name).write_bytes(_DEB)
    assert _fetch(_LOCKED) == _DEB
    (folder / _LOCKED.file_name).unlink()
    assert _fetch(_LOCKED) == _DEB


def test_a_damaged_cache_entry_is_replaced(folder: Path, tmp_path: Path) -> None:
    (folder / _LOCKED.file_name).write_bytes(_DEB)
    _fetch(_LOCKED)
    (cached,) = (tmp_path / "cache" / "glasshouse" / "inputs" / "sha256").iterdir()
    cached.write_bytes(_DEB[:-1] + b"X")
    assert _fetch(_LOCKED) == _DEB


def test_a_cache_entry_that_changes_after_it_was_checked_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / _LOCKED.file_name).write_bytes(_DEB)
    inputs = Inputs(tree=tmp_path, python=_PYTHON)
    with progress_bars(shown=False) as progress:
        inputs.fetch([_LOCKED], progress)
    (cached,) = (tmp_path / "cache" / "glasshouse" / "inputs" / "sha256").iterdir()
    cached.write_bytes(_DEB + b"X")
    with pytest.raises(InputMismatchError, match="sample_1"):
        inputs.read(_LOCKED)
    cached.unlink()
    with pytest.raises(MissingInputError, match="sample_1"):
        inputs.read(_LOCKED)


def test_a_file_of_the_right_name_and_wrong_content_is_passed_over(folder: Path) -> None:
    (folder / _LOCKED.file_name).write_bytes(_DEB[:-1] + b"X")
    with pytest.raises(MissingInputError, match=r"sample_1.*is not to be had"):
        _fetch(_LOCKED)


def test_a_variable_that_names_no_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHOUSE_INPUTS", str(folder / "none"))
    with pytest.raises(MissingInputError, match="GLASSHOUSE_INPUTS"):
        _fetch(_LOCKED)


def test_a_package_is_downloaded_from_the_mirror(server: _Server) -> None:
    assert _fetch(_LOCKED) == _DEB


def test_a_failing_mirror_is_asked_again(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_ATTEMPTS", 3)
    server.failures = 2
    assert _fetch(_LOCKED) == _DEB


def test_an_error_stops_the_other_downloads(server: _Server) -> None:
    missing = lock_deb(_DEB, name="gone")
    inputs = Inputs(tree=Path("/nowhere/tree"), python=_PYTHON)
    with progress_bars(shown=False) as progress, pytest.raises(MissingInputError, match="gone"):
        inputs.fetch([missing, *[_LOCKED] * 8], progress)


def test_a_download_ends_when_it_is_told_to_stop(server: _Server) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(MissingInputError, match="was stopped"):
        mirror.get(f"{mirror.find_mirror()}/{_LOCKED.pool_path}", max_size=len(_DEB), stop=stop)


def test_a_mirror_that_has_moved_on_is_an_error_with_a_hint(server: _Server) -> None:
    server.files.clear()
    with pytest.raises(MissingInputError, match="status 404") as caught:
        _fetch(_LOCKED)
    assert "GLASSHOUSE_DEBIAN_MIRROR" in str(caught.value.hint)
    assert "GLASSHOUSE_INPUTS" in str(caught.value.hint)


def test_a_mirror_that_serves_another_file_is_refused(server: _Server, tmp_path: Path) -> None:
    server.files[f"/debian/{_LOCKED.pool_path}"] = _DEB[:-1] + b"X"
    with pytest.raises(InputMismatchError, match="the lock says"):
        _fetch(_LOCKED)
    assert not (tmp_path / "cache").exists()


def test_a_mirror_that_serves_too_much_is_cut_off(server: _Server) -> None:
    server.files[f"/debian/{_LOCKED.pool_path}"] = _DEB + bytes(1_000_000)
    with pytest.raises(MissingInputError, match="more than"):
        _fetch(_LOCKED)


def test_a_connection_that_ends_early_is_an_error(server: _Server) -> None:
    server.cut_short = True
    with pytest.raises(MissingInputError, match="closed after"):
        _fetch(_LOCKED)


def test_a_wheel_that_pip_cannot_find_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingInputError, match="sample==") as caught:
        _fetch(_LOCKED_WHEEL)
    assert "GLASSHOUSE_INPUTS" in str(caught.value.hint)


def test_pip_takes_a_wheel_only_with_the_locked_hash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = folder.parent / "links"
    links.mkdir()
    (links / "sample-1.0-py3-none-any.whl").write_bytes(_WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    other = lock_wheel(make_wheel({"sample.py": b"y"}))
    with pytest.raises(MissingInputError, match="sample=="):
        _fetch(other)
    assert _fetch(_LOCKED_WHEEL) == _WHEEL


def test_the_mirror_is_the_one_of_apts_own_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "apt"
    (apt / "sources.list.d").mkdir(parents=True)
    (apt / "sources.list").write_text(
        "# deb http://commented.invalid/debian x main\ndeb [arch=amd64] http://other.invalid/repo x main\n",
        encoding="utf-8",
    )
    (apt / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://mirror.invalid/debian-security http://mirror.invalid/debian/\nSuites: x\n",
        encoding="utf-8",
    )
    monkeypatch.delenv("GLASSHOUSE_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(mirror, "_APT", apt)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert mirror.find_mirror() == "http://mirror.invalid/debian"


def test_a_machine_without_a_debian_mirror_says_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLASSHOUSE_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(mirror, "_APT", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(MissingInputError, match="no debian mirror") as caught:
        mirror.find_mirror()
    assert "GLASSHOUSE_DEBIAN_MIRROR" in str(caught.value.hint)


def test_an_address_that_is_not_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHOUSE_DEBIAN_MIRROR", "file:///etc")
    with pytest.raises(MissingInputError):
        mirror.find_mirror()
