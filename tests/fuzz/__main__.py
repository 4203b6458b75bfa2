"""Fuzz every parser, or those named, and say how many inputs each has stood: ``python -m fuzz --inputs N``.

Exit code 0 if every input was accepted or refused with a typed error, 1 if one was not (what atheris says
of it is shown, and the input kept in ``--keep``), 2 if the fuzzer itself did not run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.targets import TARGETS, captures_are_absent

_DONE = re.compile(r"^Done ([0-9]+) runs in ([0-9]+) second", re.MULTILINE)
_BROKEN = 77  # what libFuzzer exits with when an input broke the target


def main() -> int:
    """Run the fuzzer once for each target."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all if none is named")
    parser.add_argument("--inputs", type=int, default=30_000, help="for each target (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where findings are kept")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no such target: {min(unknown)}")
    if missing := captures_are_absent():
        print(f"fuzz: {missing}", file=sys.stderr)
    names = options.targets or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder:
        counts = [_fuzz(name, options.inputs, Path(folder), options.keep.resolve()) for name in names]
    tried = sum(count for count in counts if count is not None)
    print(f"{'all':<24}{tried:>10,} inputs, {counts.count(None)} targets broken")
    return 1 if None in counts else 0


def _fuzz(name: str, inputs: int, folder: Path, keep: Path) -> int | None:
    """Return how many inputs the target has stood, or ``None`` if one broke it."""
    work = folder / name
    work.mkdir()
    command = [sys.executable, "-m", "fuzz.one_target", name, "--inputs", str(inputs)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, "--corpus", str(work / "corpus")],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if found := _DONE.search(done.stderr) if done.returncode == 0 else None:
        print(f"{name:<24}{int(found[1]):>10,} inputs in {found[2]} s", flush=True)
        return int(found[1])
    print(f"{name:<24}    broken\n{done.stdout[-4000:]}{done.stderr[-4000:]}", flush=True)
    findings = [path for path in work.iterdir() if path.is_file()]
    if done.returncode != _BROKEN and not findings:
        raise SystemExit(2)
    keep.mkdir(exist_ok=True)
    for path in findings:
        path.rename(keep / f"{name}-{path.name}")
    return None


if __name__ == "__main__":
    sys.exit(main())
