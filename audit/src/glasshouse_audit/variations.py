"""What a build must not depend on: every axis of the surroundings, and how to vary it on this machine.

An axis counts as varied only if a program that runs under its setting can see the difference; what cannot
be varied here is named with the reason, and is never a pass.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

__all__ = ["REFERENCE", "Setting", "Variation", "all_at_once", "available", "merge"]

_SHUFFLER = '''\
"""Gives the entries of every folder in another order each time, as some file systems do."""
import os, random

_listdir, _scandir, _random = os.listdir, os.scandir, random.SystemRandom()

class _Shuffled(list):
    def __enter__(self): return self
    def __exit__(self, *_): return None
    def close(self): pass
    def __next__(self): return self.pop()

def _shuffled(entries):
    entries = list(entries)
    _random.shuffle(entries)
    return entries

os.listdir = lambda *path: _shuffled(_listdir(*path))
os.scandir = lambda *path: _Shuffled(_shuffled(_scandir(*path)))
'''
_NAME_THE_HOST = (
    "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
)
_OTHER_HOST = "another-host.invalid"
_OTHER_USER = "65534"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a build runs under; the defaults are those of the reference build.

    ``wrapper`` is a command that runs another one, ``variables`` are set or, if ``None``, removed, and
    ``folder`` is where the tree lies below the folder of the build.
    """

    wrapper: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = field(default_factory=dict)
    umask: int = 0o022
    folder: str = "tree"
    base: Path | None = None
    python: Path = Path(sys.executable)
    is_reversed: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One axis with one other value. ``setting`` is ``None`` where ``reason`` says why it is not varied.

    ``shows`` is a Python expression that has another value under the setting than without it; empty where
    the difference is in the files of the tree, which the caller makes itself.
    """

    axis: str
    value: str
    shows: str = ""
    setting: Setting | None = None
    reason: str = ""


REFERENCE = Setting(variables={"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "LANG": None})


def merge(first: Setting, second: Setting) -> Setting:
    """Return both settings at once; where they contradict each other, the second one."""
    plain = Setting()
    return Setting(
        wrapper=first.wrapper + second.wrapper,
        variables={**first.variables, **second.variables},
        umask=first.umask if second.umask == plain.umask else second.umask,
        folder=first.folder if second.folder == plain.folder else second.folder,
        base=second.base or first.base,
        python=first.python if second.python == plain.python else second.python,
        is_reversed=first.is_reversed or second.is_reversed,
        modules={**first.modules, **second.modules},
    )


def available(work: Path) -> tuple[Variation, ...]:
    """Return the variations that need nothing but this machine; ``work`` is a folder for what they use.

    The last value of an axis is the one that takes part when everything varies at once.
    """
    return (*_places(), *_users(), *_environment(), *_locales(work), *_system())


def all_at_once(varied: Iterable[Variation]) -> Variation:
    """Return the variation in which every axis that can be varied is."""
    by_axis = {each.axis: each.setting for each in varied if each.setting is not None}
    # Another user may not name a host or leave a network, so that comes first. The clock comes last: where it
    # is preloaded, it must be into the interpreter alone.
    late = {"user": 1, "clock": 2}
    ordered = sorted(by_axis.items(), key=lambda item: late.get(item[0], 0))
    setting = reduce(merge, (setting for _, setting in ordered), Setting())
    return Variation(axis="all at once", value=f"{len(by_axis)} axes", setting=setting)


def _places() -> Iterator[Variation]:
    long = "a folder with spaces, ünïcödé 玻璃房 and a name as long as names get ".ljust(110, "x")
    where = Setting(folder=f"{long}/{long}/tree")
    yield Variation(axis="path", value="long, spaces, not ASCII", shows="os.getcwd()", setting=where)
    memory = Path("/dev/shm")  # noqa: S108 -- looked at for its file system; what is made there has a fresh name
    if memory.is_dir() and os.access(memory, os.W_OK):
        other = Setting(base=memory)
        yield Variation(axis="file system", value="in memory", shows="os.stat('.').st_dev", setting=other)
    else:
        yield Variation(axis="file system", value="in memory", reason="there is no /dev/shm to write to")
    yield Variation(axis="creation order", value="reversed", setting=Setting(is_reversed=True))
    shuffled = Setting(modules={"sitecustomize.py": _SHUFFLER})
    order = "os.listdir(os.path.dirname(os.__file__))"
    yield Variation(axis="folder order", value="shuffled at every read", shows=order, setting=shuffled)


def _users() -> Iterator[Variation]:
    if not hasattr(os, "getuid"):
        yield Variation(axis="user", value="another", reason="this system has no user numbers")
        return
    is_root = os.getuid() == 0
    other = ("--map-user", _OTHER_USER, "--map-group", _OTHER_USER) if is_root else ("--map-root-user",)
    value = f"user {_OTHER_USER}" if is_root else "root"
    yield _wrapped("user", value, "os.getuid()", ("unshare", "--user", *other))


def _environment() -> Iterator[Variation]:
    def variable(axis: str, value: str, shows: str, **variables: str | None) -> Variation:
        return Variation(axis=axis, value=value, shows=shows, setting=Setting(variables=variables))

    yield variable("HOME", "unset", "os.environ.get('HOME')", HOME=None)
    for umask in (0o000, 0o077):
        setting = Setting(umask=umask)
        yield Variation(axis="umask", value=f"{umask:03o}", shows="os.umask(0)", setting=setting)
    yield variable("time zone", "Pacific/Chatham", "time.localtime(0)[:5]", TZ="XXX-12:45")
    yield variable("hash seed", "4711", "hash('glasshouse')", PYTHONHASHSEED="4711")


def _locales(work: Path) -> Iterator[Variation]:
    shows = "locale.setlocale(locale.LC_ALL, '')"
    for name in ("C", "de_DE.UTF-8", "tr_TR.UTF-8"):
        variables: dict[str, str | None] = {"LC_ALL": name, "LOCPATH": str(work / "locales")}
        if name != "C" and not _compile_locale(name, work / "locales"):
            yield Variation(
                axis="locale", value=name, reason="localedef has no such locale, or is not installed"
            )
        else:
            yield Variation(axis="locale", value=name, shows=shows, setting=Setting(variables=variables))


def _compile_locale(name: str, folder: Path) -> bool:
    """Make the locale, so that it is there whatever this machine's administrator has generated."""
    localedef = shutil.which("localedef")
    if localedef is None:
        return False
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    language, _, encoding = name.partition(".")
    command = [localedef, "--quiet", "--inputfile", language, "--charmap", encoding, str(folder / name)]
    # It warns of much and ends with 1 all the same; what counts is whether the locale is there.
    subprocess.run(command, capture_output=True, check=False)
    return (folder / name / "LC_CTYPE").is_file()


def _system() -> Iterator[Variation]:
    year = "int(time.time()) // 31_000_000"
    for years in ("-10y", "+10y"):
        yield _wrapped("clock", f"{years[:-1]} years", year, ("faketime", "-f", years))
    privately = () if hasattr(os, "getuid") and os.getuid() == 0 else ("--user", "--map-root-user")
    name_it = (sys.executable, "-c", _NAME_THE_HOST, _OTHER_HOST)
    host = ("unshare", *privately, "--uts", *name_it)
    yield _wrapped("host name", _OTHER_HOST, "socket.gethostname()", host)
    yield _wrapped("network", "none", "socket.if_nameindex()", ("unshare", *privately, "--net"))
    yield _wrapped("processors", "1", "len(os.sched_getaffinity(0))", ("taskset", "--cpu-list", "0"))
    yield _wrapped("kernel version", "2.6", "os.uname().release", ("setarch", "--uname-2.6"))
    if platform.machine() == "x86_64":
        yield _wrapped("architecture", "i686", "os.uname().machine", ("setarch", "i686"))
    else:
        reason = f"no other name for {platform.machine()} is known here"
        yield Variation(axis="architecture", value="another", reason=reason)


def _wrapped(axis: str, value: str, shows: str, wrapper: tuple[str, ...]) -> Variation:
    if shutil.which(wrapper[0]) is None:
        return Variation(axis=axis, value=value, reason=f"{wrapper[0]} is not installed")
    return Variation(axis=axis, value=value, shows=shows, setting=Setting(wrapper=wrapper))
