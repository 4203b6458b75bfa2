"""Where a machine forbids one way of isolation the next is taken, and whoever asks is told which."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from glasshouse_attestations import simulated
from glasshouse_attestations.evidence import Evidence
from support.launched import Launcher, descendants, launched, wait_until_gone

# A user namespace of our own is a machine in which we may forbid things.
FORBID_USER_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    *('echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"),
)
# Who is in a changed root directory gets no user namespace, as the kernel sees it: as in many a container.
CHANGED_ROOT = ("unshare", "--mount", "sh", "-c", 'mount --rbind / /mnt && exec chroot /mnt "$@"', "sh")
DROP_SYS_ADMIN = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
DROP_ALL = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def machine(*prefix: str) -> Launcher:
    """A launcher that runs under ``prefix``; skips if this machine does not let us forbid things."""
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not forbid itself the namespaces")
    return Launcher(prefix=prefix)


@pytest.mark.parametrize(
    ("prefix", "expected", "reasons"),
    [
        (FORBID_USER_NAMESPACES, "namespaces", ()),
        ((*CHANGED_ROOT, *DROP_SYS_ADMIN), "chroot", ("no isolation by namespaces: ",)),
        (
            (*FORBID_USER_NAMESPACES, *DROP_ALL),
            "loader",
            ("no isolation by namespaces: ", "no isolation by chroot: "),
        ),
    ],
    ids=["root without user namespaces", "root of a container", "no rights at all"],
)
def test_the_strongest_way_that_works_is_taken_and_named(
    probe_image_path: Path, prefix: tuple[str, ...], expected: str, reasons: tuple[str, ...]
) -> None:
    with launched(probe_image_path, launcher=machine(*prefix)) as running:
        assert running.ready["isolation"] == expected
        log = running.stderr.read_text()
        answer = bytes.fromhex(running.call("ask", data="00" * 64))
    evidence = Evidence.parse(answer[4:])
    claims = simulated.verify(evidence, launcher_keys=[running.launcher_key])
    assert ("isolation", expected) in claims.attributes
    assert all(reason in log for reason in reasons)
    assert f"started with isolation {expected}" in log


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_root_without_user_namespaces_runs_the_server_as_nobody_and_ends_it(
    probe_image_path: Path, number: signal.Signals, code: int
) -> None:
    with launched(probe_image_path, launcher=machine(*CHANGED_ROOT)) as running:
        seen = running.call("look")
        assert running.ready["isolation"] == "namespaces"
        assert (seen["uid"], seen["groups"], seen["pid"]) == (65534, [], 1)
        children = descendants(running.process.pid)
        assert running.stop(number) == code
        wait_until_gone(children)
        # Not a word of a failure on the way.
        assert "Error" not in running.stderr.read_text()


@pytest.mark.parametrize("isolation", ["namespaces", "chroot"])
def test_a_way_that_was_asked_for_and_does_not_work_is_an_error(
    probe_image_path: Path, isolation: str, tmp_path: Path
) -> None:
    launcher = machine(*FORBID_USER_NAMESPACES, *DROP_ALL)
    finished = subprocess.run(
        launcher.command(
            *("run", "--image", probe_image_path, "--platform", "simulated", "--isolation", isolation)
        ),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={"TMPDIR": str(tmp_path)},
    )
    assert (finished.returncode, finished.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert f"this machine does not allow it ({isolation}: " in finished.stderr
