"""Building a clone with the builder of its own commit, in surroundings that the caller chooses.

The commit decides everything, its builder included, so an old release is rebuilt by the code that made it.
The libraries that the builder imports come from the caller's environment; the recipe says which compressor
they must have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glasshouse_attestations.measurements import Measurements

from .build import MEASUREMENTS_NAME
from .errors import RebuildError
from .inputs import INPUTS_VARIABLE
from .keygen import PASSWORD_VARIABLE
from .measure import read_image

__all__ = ["Rebuilt", "Surroundings", "folder_of_inputs", "rebuild"]

_TIMEOUT = 3600.0
_SOURCES = ("attestations", "transparency_log", "sdk", "audit")
_RUN = "import sys; from glasshouse_audit.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a build must not depend on: environment variables, beside the caller's own, and the umask."""

    variables: Mapping[str, str] = field(default_factory=dict)
    umask: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The image that a commit's builder made, and what that builder measured of it."""

    image: bytes
    measurements: Measurements


def folder_of_inputs(source: str | Path) -> Path | None:
    """Return the folder of inputs that lies beside a local repository, where the build looks on its own."""
    beside = Path(source).resolve().parent / "shared" / "inputs"
    return beside if beside.is_dir() else None


def rebuild(
    clone: Path, *, surroundings: Surroundings, inputs: Path | None = None, with_progress: bool = False
) -> Rebuilt:
    """Return the image that the builder in ``clone`` makes of ``clone``; raises :class:`RebuildError`.

    Inputs are looked for in ``inputs`` too, unless the environment names a folder. ``with_progress`` leaves
    standard error, which should be a terminal then, to the builder and its progress bars.
    """
    with tempfile.TemporaryDirectory(prefix="glasshouse-image-") as folder:
        output = Path(folder) / "enclave.efi"
        command = [sys.executable, "-c", _RUN, "build", "--tree", str(clone), "--output", str(output)]
        _run(command, clone, _environment(clone, surroundings, inputs), surroundings.umask, with_progress)
        measurements = Measurements.parse(output.with_name(MEASUREMENTS_NAME).read_bytes())
        return Rebuilt(image=read_image(output), measurements=measurements)


def _run(
    command: list[str], clone: Path, environment: dict[str, str], umask: int, with_progress: bool
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=clone,
            env=environment,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if with_progress else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise RebuildError(f"the build took longer than {_TIMEOUT:.0f} s") from err
    if done.returncode:
        message, hint = ("see above", None) if with_progress else _message(done.stderr)
        raise RebuildError(f"the build of the clone failed: {message}", hint=hint)


def _environment(clone: Path, surroundings: Surroundings, inputs: Path | None) -> dict[str, str]:
    # The builder is the commit's code, and not for it to know is what unlocks the auditor's key.
    environment = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if inputs is not None:
        environment.setdefault(INPUTS_VARIABLE, str(inputs))
    environment |= surroundings.variables
    environment["PYTHONPATH"] = os.pathsep.join(str(clone / folder / "src") for folder in _SOURCES)
    return environment


def _message(stderr: str) -> tuple[str, str | None]:
    """Return the builder's last message and its hint."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    messages = [line for line in lines if not line.startswith("hint: ")]
    message = messages[-1].removeprefix("glasshouse-audit: ") if messages else "it gave no reason"
    return message, hints[-1] if hints else None
