"""Small Debian packages and wheels, good ones and bad ones, made without the code that reads them."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

from glasshouse_audit.locks import LockedDeb, LockedWheel


def entry(
    path: str, data: bytes = b"", *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one entry of a package's data, named as ``dpkg-deb`` names it."""
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.type, info.linkname = len(data), mode, kind, link
    return info, data


def make_deb(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]],
    *,
    name: str = "sample",
    version: str = "1.0-1",
    architecture: str = "amd64",
) -> bytes:
    """Return a ``.deb`` with the entries as its data."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n".encode()
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": _tar([entry("./control", control)]),
        "data.tar.xz": _tar(entries),
    }
    return b"!<arch>\n" + b"".join(_ar_member(part, content) for part, content in parts.items())


def lock_deb(data: bytes, *, name: str = "sample", version: str = "1.0-1") -> LockedDeb:
    """Return the lock's entry for a package."""
    return LockedDeb(
        name=name,
        version=version,
        pool_path=f"pool/main/s/sample/{name}_{version}_amd64.deb",
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
    )


def make_wheel(
    files: Mapping[str, bytes],
    *,
    name: str = "sample",
    version: str = "1.0",
    tag: str = "py3-none-any",
    record: Mapping[str, bytes] | None = None,
    unlisted: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a wheel; ``record`` lists other contents than the files have, ``unlisted`` are not in RECORD."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    rows = [
        f"{path},sha256={_record_hash(data)},{len(data)}"
        for path, data in {**contents, **(record or {})}.items()
    ]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**contents, **(unlisted or {})}.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return output.getvalue()


def lock_wheel(data: bytes, *, name: str = "sample", version: str = "1.0") -> LockedWheel:
    """Return the lock's entry for a wheel."""
    return LockedWheel(name=name, version=version, sha256=hashlib.sha256(data).digest())


def _tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:xz", format=tarfile.GNU_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


def _ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
