"""``python -m demo``: plays the story and the attacks, and exits with 0 only if all went as it must."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_audit.inputs import INPUTS_VARIABLE
from glasshouse_audit.rebuild import folder_of_inputs
from glasshouse_log.local import run_local_log

from .auditors import Opinion
from .people import introduce
from .refusals import CASES, Refusal, attempt
from .server import serving
from .stage import DemoError, Stage, interruptible, work_folder
from .story import Answer, World, ask, audit, build_image, check_out, publish

ROOT = Path(__file__).resolve().parent.parent
_WITNESSES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the demonstration and return its exit code: 0, 1 if something went wrong, 2, or 130."""
    parsed = _parser().parse_args(arguments)
    try:
        with interruptible(), work_folder(parsed.keep) as folder:
            stage = Stage(folder, sys.stderr if parsed.json else sys.stdout)
            return play(stage, as_json=parsed.json)
    except KeyboardInterrupt:
        print("demo: interrupted; everything it started has been ended", file=sys.stderr)
        return 130
    except (GlasshouseError, DemoError) as err:
        print(f"demo: {type(err).__name__}: {err}", file=sys.stderr)
        hint = getattr(err, "hint", None)
        if hint:
            print(f"hint: {hint}", file=sys.stderr)
        return 1 if isinstance(err, DemoError) else 2


def play(stage: Stage, *, as_json: bool) -> int:
    """Play every act on ``stage``, show how it went, and return the exit code."""
    inputs = folder_of_inputs(ROOT)
    if inputs is not None:
        # The clones lie elsewhere, so they would not find what lies beside this repository.
        os.environ.setdefault(INPUTS_VARIABLE, str(inputs))
    stage.act("1. A maintainer checks out a commit and builds the image")
    source = check_out(ROOT, stage)
    build_image(source, stage)
    people = introduce(stage.folder / "keys")
    stage.act(f"2. A transparency log starts, and {_WITNESSES} witnesses")
    with run_local_log(stage.folder / "log", witnesses=_WITNESSES, admitted=people.signers) as log:
        stage.tell(f"log {log.key.name}, quorum 2 of {_WITNESSES}")
        stage.act("3. The maintainer builds it twice more, compares, signs and logs the release")
        world = publish(source, people, log, stage)
        stage.act("4. Three auditors rebuild the commit and say what they found")
        opinions = audit(world, stage)
        stage.act("5. An operator boots the image; a client verifies it, and only then talks to it")
        bundle = world.release / "bundle.json"
        with serving(world.image, bundle, people, log=stage.folder / "server.log") as server:
            stage.tell(f"serving at {server.address}, isolation {server.isolation}")
            answer = ask(world, server, stage)
            stage.act("6. What the client refuses")
            refusals = []
            for case in CASES:
                refusal = attempt(case, world, server, stage)
                refusals.append(refusal)
                show(refusal, stage)
    return end(stage, world, opinions, answer, refusals, as_json=as_json)


def show(refusal: Refusal, stage: Stage) -> None:
    """Show how one attack ended."""
    stage.tell(f"({refusal.letter}) {refusal.title}")
    stage.tell(f"    {refusal.error or 'ACCEPTED'}: {refusal.message}")
    if not refusal.is_right:
        stage.tell(f"    WRONG: expected {refusal.expected}")


def end(
    stage: Stage,
    world: World,
    opinions: Sequence[Opinion],
    answer: Answer,
    refusals: Sequence[Refusal],
    *,
    as_json: bool,
) -> int:
    """Show the end and return the exit code."""
    refused = sum(refusal.is_right for refusal in refusals)
    is_right = answer.is_right and refused == len(refusals)
    stage.act("The end" if is_right else "This went WRONG")
    stage.tell(
        f"prediction {'right' if answer.is_right else 'WRONG'}; {refused} of {len(refusals)} attacks refused"
    )
    if as_json:
        document = {
            "schema": "glasshouse/demo/v1",
            "ok": is_right,
            "commit": world.source.commit.hex(),
            "audits": [
                {"name": each.name, "verdict": each.verdict, "with": each.surroundings} for each in opinions
            ],
            "prediction": {
                "digits": answer.count,
                "accuracy": answer.accuracy,
                "largestDifference": answer.difference,
            },
            "verdict": json.loads(answer.verdict.to_json()),
            "refusals": [asdict(refusal) for refusal in refusals],
            "seconds": round(stage.seconds, 1),
        }
        print(json.dumps(document, ensure_ascii=False))
    return 0 if is_right else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Build, release, log, audit, boot, verify and predict on this machine, then attack it.",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder, and keep it")
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON, and the story to stderr"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
