"""What systemd's EFI stub, version 257, hands to the kernel, byte for byte: the kernel measures it once more.

See systemd-stub(7): the command line becomes UTF-16, and the section ``.osrel`` is put behind the initrd as
the file ``/.extra/os-release``, in a cpio archive of the stub's own making.
"""

from __future__ import annotations

from collections.abc import Mapping

from glasshouse_attestations.errors import MalformedError

__all__ = ["behind_initrd", "load_options"]

_DIRECTORY, _FILE = 0o040555, 0o100444


def load_options(sections: Mapping[str, bytes]) -> bytes:
    """Return the command line as the kernel's EFI load options; raises :class:`MalformedError`.

    The stub trims white space and replaces control characters, so only a command line without them arrives
    as it is: another one is refused.
    """
    try:
        text = sections[".cmdline"].decode("ascii")
    except UnicodeDecodeError as err:
        raise MalformedError("the command line is not ascii") from err
    if not text.isprintable() or text != text.strip():
        raise MalformedError("the command line has control characters, or spaces around it")
    return (text + "\0").encode("utf-16-le")


def behind_initrd(sections: Mapping[str, bytes]) -> bytes:
    """Return what follows the content of ``.initrd`` in the initrd that the kernel gets."""
    archive = _entry(".extra", inode=1, mode=_DIRECTORY)
    archive += _entry(".extra/os-release", inode=2, mode=_FILE, content=sections[".osrel"])
    # The stub writes this one number of the trailer in capitals, and all others in small letters.
    trailer = _entry("TRAILER!!!", inode=0, mode=0).replace(b"0000000b", b"0000000B")
    return _padding(len(sections[".initrd"])) + archive + trailer


def _entry(name: str, *, inode: int, mode: int, content: bytes = b"") -> bytes:
    """Return an entry of a "newc" archive, as Linux describes it in early-userspace/buffer-format."""
    numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode("ascii") + b"\0"
    return head + _padding(len(head)) + content + _padding(len(content))


def _padding(size: int) -> bytes:
    return bytes(-size % 4)
