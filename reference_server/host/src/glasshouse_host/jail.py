"""Between the launcher and the enclave: a fresh process that isolates itself, then becomes the server.

It imports the standard library only, so that it starts without site-packages. A failure before the server
starts is written as text to the status descriptor; that descriptor closing without a word means that the
image's Python is running.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from . import mounts, syscalls

__all__ = ["FAILURE", "Order", "main"]

FAILURE = 70
RUN_DIRECTORY = "run/glasshouse"
_PYTHON = "usr/bin/python3.13"
_LOADER = "lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
_NOBODY = 65534
_ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/bin"}
# Where nothing can be mounted: the character devices (major 1) that libraries open without asking for less.
_DEVICES = {"null": 3, "zero": 5, "random": 8, "urandom": 9}
# What onnxruntime reads of a machine before it chooses its code paths, where nothing can be mounted.
_MACHINE_FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "sys/devices/system/cpu/possible",
    "sys/devices/system/cpu/present",
    "sys/devices/system/cpu/online",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the launcher asks of the jail; it travels as JSON in one argument and holds no secret."""

    isolation: str
    root: str
    listen: str
    launcher: int
    status: int

    @classmethod
    def parse(cls, text: str) -> Order:
        """Return the order in ``text``."""
        return cls(**json.loads(text))

    def encode(self) -> str:
        """Write the order as :meth:`parse` reads it."""
        return json.dumps(asdict(self))

    def server(self, root: str = "", run_directory: str = f"/{RUN_DIRECTORY}") -> list[str]:
        """The command line of the server whose root file system appears at ``root``."""
        arguments = ["-I", "-B", "-m", "glasshouse_enclave", "--platform", "simulated"]
        return [
            *(f"{root}/{_PYTHON}", *arguments),
            *("--listen", self.listen, "--run-dir", run_directory),
        ]


def main() -> NoReturn:
    """Start the server as ordered, or say why not on the status descriptor and exit with ``FAILURE``."""
    order = Order.parse(sys.argv[1])
    os.set_inheritable(order.status, False)
    try:
        _die_with_launcher(order.launcher)
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _ENTRANCES[order.isolation](order)
    except OSError as err:
        os.write(order.status, str(err).encode("utf-8", "replace"))
    os._exit(FAILURE)


def _enter_namespaces(order: Order) -> None:
    """Become the server in namespaces of its own; the network alone is shared, to be reached on loopback."""
    is_root_of_host = _unshare()
    alive, keeper = os.pipe()
    child = os.fork()
    if child:
        os.close(alive)
        # The same user as its child: whoever has no capability may signal no other.
        if is_root_of_host:
            _become_nobody()
        _give_up_privileges()
        _die_with_launcher(order.launcher)
        os.close(order.status)
        _wait_for(child)
    os.close(keeper)
    syscalls.die_with_parent(signal.SIGKILL)
    mounts.enter(order.root)
    syscalls.set_host_name("glasshouse")
    if is_root_of_host:
        _become_nobody()
    _give_up_privileges()
    # A change of user forgets it.
    syscalls.die_with_parent(signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        raise OSError(errno.ESRCH, "the launcher is gone")
    _execute(order.server())


def _unshare() -> bool:
    """Leave the host's namespaces; return whether the privileges are still those of the host's root."""
    others = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    user, group = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | others)
    except OSError:
        if user != 0:
            raise
        # User namespaces can be forbidden where root may still make the other ones.
        syscalls.unshare(others)
        return True
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    return False


def _enter_chroot(order: Order) -> None:
    """Become the server in a changed root directory, as nobody where that user exists."""
    for name in _MACHINE_FILES:
        _copy_machine_file(name, Path(order.root, name))
    for name, minor in _DEVICES.items():
        _make_device(Path(order.root, "dev", name), minor)
    os.chroot(order.root)
    os.chdir("/")
    _become_nobody()
    _give_up_privileges()
    _die_with_launcher(order.launcher)
    _execute(order.server())


def _copy_machine_file(name: str, target: Path) -> None:
    source = Path("/", name)
    if source.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o644)


def _make_device(path: Path, minor: int) -> None:
    path.unlink(missing_ok=True)
    os.mknod(path, stat.S_IFCHR, os.makedev(1, minor))
    path.chmod(0o666)
    # Where devices are not allowed, they can often be made but not opened.
    os.close(os.open(path, os.O_RDONLY))


def _enter_loader(order: Order) -> None:
    """Become the server through the image's own dynamic loader, in the host's file system."""
    loader = os.path.realpath(f"{order.root}/{_LOADER}")
    if not loader.startswith(f"{order.root}/"):
        raise OSError(errno.ENOENT, "the image has no dynamic loader of its own")
    libraries = ":".join(f"{order.root}/{path}" for path in _LIBRARIES)
    os.chdir(order.root)
    _give_up_privileges()
    _die_with_launcher(order.launcher)
    # Relative to the current directory: the address of a socket has at most 107 bytes.
    server = order.server(order.root, RUN_DIRECTORY)
    _execute([loader, "--inhibit-cache", "--library-path", libraries, *server])


_ENTRANCES: dict[str, Callable[[Order], None]] = {
    "namespaces": _enter_namespaces,
    "chroot": _enter_chroot,
    "loader": _enter_loader,
}


def _die_with_launcher(launcher: int) -> None:
    syscalls.die_with_parent(signal.SIGKILL)
    if os.getppid() != launcher:
        raise OSError(errno.ESRCH, "the launcher is gone")


def _become_nobody() -> None:
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        # A container may have no other user than root; it still loses every capability below.
        return


def _give_up_privileges() -> None:
    """Lose every capability for good: for this process and whatever it executes."""
    try:
        for number in range(_last_capability() + 1):
            syscalls.drop_bounding_capability(number)
        syscalls.lock_root_without_capabilities()
    except PermissionError:
        # Only who holds CAP_SETPCAP needs these two; no_new_privs holds for everybody.
        pass
    syscalls.clear_ambient_capabilities()
    syscalls.capset_none()
    syscalls.forbid_new_privileges()


def _last_capability() -> int:
    """The highest capability that this kernel knows, asked of the kernel itself."""
    number = 0
    while syscalls.knows_capability(number + 1):
        number += 1
    return number


def _wait_for(child: int) -> NoReturn:
    """Pass SIGTERM on to ``child``, and end as it ends."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def _execute(command: list[str]) -> NoReturn:
    os.execve(command[0], command, _ENVIRONMENT)
