"""Fuzz one parser with atheris: ``python -m fuzz.one_target TARGET --inputs N --corpus DIRECTORY``.

``nox -s fuzz`` runs every target, each in a process of its own, since libFuzzer ends the process it runs in.
Coverage leads the search, and a fixed seed makes it the same search each time. Exit code 0 if all inputs
ended in an accepted value or a typed error; else libFuzzer's, and the input lies in the current directory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["glasshouse", "glasshouse_attestations"]):
    from fuzz.targets import TARGETS, captures_are_absent

_MAX_LENGTH = 16 << 10


def main() -> None:
    """Fuzz until the number of inputs is reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--inputs", type=int, required=True, help="how many to try")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="a directory for the seeds, made if need be"
    )
    options = parser.parse_args()
    target = TARGETS[options.target]
    if missing := captures_are_absent():
        print(f"fuzz: {missing}", file=sys.stderr)
    options.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        Path(options.corpus, f"seed-{number:03}").write_bytes(seed)

    def one(data: bytes) -> None:
        target.run(data)

    limits = [
        f"-runs={options.inputs}",
        "-seed=1",
        f"-max_len={_MAX_LENGTH}",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    atheris.Setup([sys.argv[0], *limits, "-verbosity=1", "-print_final_stats=1", str(options.corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
