"""The inputs of the build, found by their SHA-256: in a cache, in a folder, and at last over the network.

The order is the local content-addressed cache, ``GLASSHOUSE_INPUTS``, and the networks that this machine is
set up for: PyPI through pip, Debian through apt's mirror. Wherever bytes come from, they are used only if
they have the size and hash that the lock says.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from rich.progress import Progress

from .errors import InputMismatchError, MissingInputError, ToolError
from .locks import Locked, LockedDeb
from .mirror import find_mirror, get
from .recipe import PythonTarget
from .wheel import platforms

__all__ = ["INPUTS_VARIABLE", "Inputs", "cache_folder", "input_folders", "pip_download"]

INPUTS_VARIABLE = "GLASSHOUSE_INPUTS"
_MAX_WHEEL_SIZE = 256 * 2**20
_MAX_FOLDER_FILES = 100_000
_DOWNLOADS_AT_ONCE = 4


class Inputs:
    """Hands out locked inputs as bytes that have been checked, each time they are read.

    ``tree`` is the working tree: a folder ``shared/inputs`` beside it serves as ``GLASSHOUSE_INPUTS`` when
    that variable is not set.
    """

    def __init__(self, *, tree: Path, python: PythonTarget) -> None:
        self._cache = cache_folder()
        self._folders = input_folders(tree)
        self._python = python
        self._stop = Event()

    def fetch(self, wanted: Sequence[Locked], progress: Progress) -> None:
        """Bring every input into the cache; raise an error that names one that cannot be had."""
        missing = [locked for locked in wanted if not self._in_cache(locked)]
        missing = [locked for locked in missing if not self._take_from_folders(locked)]
        if not missing:
            return
        task = progress.add_task("downloading inputs", total=len(missing))
        mirror = _mirror_for(missing)
        with ThreadPoolExecutor(max_workers=_DOWNLOADS_AT_ONCE) as pool:
            downloads = [pool.submit(self._download, locked, mirror) for locked in missing]
            try:
                for download in as_completed(downloads):
                    download.result()
                    progress.advance(task)
            except BaseException:
                # What has not begun is not begun, and what has is not waited for to its end.
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def read(self, locked: Locked) -> bytes:
        """Return the bytes of an input that :meth:`fetch` has brought."""
        try:
            data = _read_capped(self._path(locked), _max_size(locked))
        except OSError as err:
            raise MissingInputError(
                f"{locked.file_name} is not in the cache any more: {err.strerror}", hint="run the build again"
            ) from err
        return _check(data, locked, "the cache")

    def _path(self, locked: Locked) -> Path:
        return self._cache / locked.sha256.hex()

    def _in_cache(self, locked: Locked) -> bool:
        path = self._path(locked)
        if not path.is_file():
            return False
        if _matches(_read_capped(path, _max_size(locked)), locked):
            return True
        path.unlink()
        return False

    def _take_from_folders(self, locked: Locked) -> bool:
        for path in _candidates(self._folders, locked):
            data = _read_capped(path, _max_size(locked))
            if _matches(data, locked):
                self._keep(locked, data)
                return True
        return False

    def _download(self, locked: Locked, mirror: str) -> None:
        if isinstance(locked, LockedDeb):
            data = _download_deb(locked, mirror, self._stop)
        else:
            with tempfile.TemporaryDirectory(prefix="glasshouse-") as folder:
                path = pip_download([locked.encode()], self._python, Path(folder))[0]
                data = _read_capped(path, _MAX_WHEEL_SIZE)
        self._keep(locked, _check(data, locked, "the network"))

    def _keep(self, locked: Locked, data: bytes) -> None:
        """Write to the cache at once or not at all: another build may be reading and writing there too."""
        self._cache.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=self._cache)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(self._path(locked))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _download_deb(locked: LockedDeb, mirror: str, stop: Event) -> bytes:
    try:
        return get(f"{mirror}/{locked.pool_path}", max_size=locked.size, stop=stop)
    except MissingInputError as err:
        hint = f"{err.hint}, or {INPUTS_VARIABLE} to a folder that has the file"
        raise MissingInputError(f"{locked.file_name} is not to be had: {err}", hint=hint) from err


def pip_download(requirements: Iterable[str], python: PythonTarget, folder: Path) -> list[Path]:
    """Return the wheels for the image that pip brings into ``folder`` for requirements with a version.

    pip finds its index as it always does on this machine. Where a requirement has hashes, so must the
    wheel. Nothing is built, installed or run. Raises :class:`MissingInputError`.
    """
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
    abi = f"cp{python.version.replace('.', '')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--implementation", "cp"]
    command += ["--python-version", python.version, "--abi", abi, "--abi", "abi3", "--abi", "none"]
    for platform in platforms(python):
        command += ["--platform", platform]
    command += ["--requirement", str(listed), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        names = ", ".join(line.split(" ")[0] for line in listed.read_text(encoding="utf-8").splitlines())
        raise MissingInputError(
            f"pip cannot download {names}: {_last_line(done.stderr)}",
            hint=f"configure pip's index, or set {INPUTS_VARIABLE} to a folder that has the file",
        )
    return wheels


def cache_folder() -> Path:
    """Return this user's content-addressed cache of inputs, which may not exist yet."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(named) if named else Path.home() / ".cache"
    except RuntimeError as err:
        raise ToolError("this user has no home folder for the cache", hint="set XDG_CACHE_HOME") from err
    return base / "glasshouse" / "inputs" / "sha256"


def _mirror_for(missing: Iterable[Locked]) -> str:
    debs = [locked.file_name for locked in missing if isinstance(locked, LockedDeb)]
    try:
        return find_mirror() if debs else ""
    except MissingInputError as err:
        hint = f"{err.hint}, or {INPUTS_VARIABLE} to a folder that has the file"
        raise MissingInputError(f"{debs[0]} is needed, and {err}", hint=hint) from err


def input_folders(tree: Path) -> list[Path]:
    """Return the folders to look for inputs in; raises :class:`MissingInputError` for one that is none."""
    named = os.environ.get(INPUTS_VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise MissingInputError(
                f"{INPUTS_VARIABLE} names {named!r}, which is not a folder",
                hint=f"correct or unset {INPUTS_VARIABLE}",
            )
        return [folder]
    beside = tree.resolve().parent / "shared" / "inputs"
    return [beside] if beside.is_dir() else []


def _candidates(folders: Iterable[Path], locked: Locked) -> Iterator[Path]:
    """Yield the files whose name is the input's hash, or what the package would be called."""
    for folder in folders:
        for count, path in enumerate(folder.rglob("*")):
            if count >= _MAX_FOLDER_FILES:
                raise MissingInputError(
                    f"{folder} has more than {_MAX_FOLDER_FILES} files",
                    hint=f"set {INPUTS_VARIABLE} to a smaller one",
                )
            if path.is_file() and (path.name == locked.sha256.hex() or _is_named(path.name, locked)):
                yield path


def _is_named(file_name: str, locked: Locked) -> bool:
    if isinstance(locked, LockedDeb):
        # The epoch's colon is written %3a by apt, and left out with the epoch in the pool.
        name, _, rest = unquote(file_name).partition("_")
        version = rest.rpartition("_")[0]
        return name == locked.name and version in (locked.version, locked.version.partition(":")[2])
    try:
        name, wheel_version, _, _ = parse_wheel_filename(file_name)
    except InvalidWheelFilename:
        return False
    return (name, str(wheel_version)) == (locked.name, locked.version)


def _max_size(locked: Locked) -> int:
    return locked.size if isinstance(locked, LockedDeb) else _MAX_WHEEL_SIZE


def _read_capped(path: Path, max_size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(max_size + 1)


def _matches(data: bytes, locked: Locked) -> bool:
    return len(data) <= _max_size(locked) and hmac.compare_digest(
        hashlib.sha256(data).digest(), locked.sha256
    )


def _check(data: bytes, locked: Locked, place: str) -> bytes:
    if not _matches(data, locked):
        raise InputMismatchError(
            f"{locked.file_name} from {place} has sha-256 {hashlib.sha256(data).hexdigest()}, "
            f"the lock says {locked.sha256.hex()}"
        )
    return data


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "WARNING" not in line]
    return lines[-1] if lines else "no message"
