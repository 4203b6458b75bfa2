"""Building under every variation of the surroundings, and saying for each whether the bytes are the same.

The first build is the reference. Each further one runs in a process of its own, on its own copy of the tree
and of the builder, with the inputs that the first one found: what differs is the setting and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import glasshouse
import glasshouse_attestations
import glasshouse_log
from glasshouse_attestations.canonical_json import JSON

from .build import MEASUREMENTS_NAME
from .compare import Difference, compare
from .errors import RebuildError
from .inputs import INPUTS_VARIABLE, cache_folder, input_folders
from .recipe import IMAGE_FOLDER, Recipe
from .variations import REFERENCE, Setting, Variation, all_at_once

__all__ = ["Outcome", "Row", "Table", "Workshop", "reproducible", "workshop"]

_SCHEMA = "glasshouse/reproducible/v1"
_IMAGE_NAME = "enclave.efi"
_BUILD_SECONDS = 900.0
_PROBE_SECONDS = 60.0
_MAX_DIFFERENCES = 5
_RUN = "import sys; from glasshouse_audit.cli import main; sys.exit(main(sys.argv[1:]))"
_MODULES = "hashlib, locale, os, socket, sys, time, zlib"


class Outcome(Enum):
    """What became of one variation; only ``SAME`` is a pass, and ``NOT_VARIED`` is neither."""

    SAME = "same"
    DIFFERENT = "different"
    FAILED = "failed"
    NOT_VARIED = "not varied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``detail`` says why there is no digest, or where the image differs."""

    axis: str
    value: str
    outcome: Outcome
    sha256: bytes | None = None
    seconds: float = 0.0
    detail: str = ""

    def to_json(self) -> JSON:
        """Return the row as a JSON value; a time is in milliseconds."""
        return {
            "axis": self.axis,
            "value": self.value,
            "outcome": self.outcome.value,
            "sha256": None if self.sha256 is None else self.sha256.hex(),
            "milliseconds": round(self.seconds * 1000),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The reference build's digest, and what every variation gave."""

    sha256: bytes
    rows: tuple[Row, ...]

    @property
    def exit_code(self) -> int:
        """0 if every build that was made is the same, 1 if one differs, 2 if one failed or none was made."""
        outcomes = {row.outcome for row in self.rows} - {Outcome.NOT_VARIED}
        if Outcome.DIFFERENT in outcomes:
            return 1
        return 0 if outcomes == {Outcome.SAME} else 2

    def to_json(self) -> JSON:
        """Return the table as a JSON value with a schema."""
        rows: list[JSON] = [row.to_json() for row in self.rows]
        return {"schema": _SCHEMA, "sha256": self.sha256.hex(), "exitCode": self.exit_code, "builds": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where builds are made: the tree to copy, and a folder that every user can read.

    ``inputs`` is the folder in which the first build looks for what the cache does not have.
    """

    tree: Path
    folder: Path
    origins: tuple[str, ...]
    inputs: Path | None

    @property
    def variables(self) -> dict[str, str]:
        """What every build is told: where the inputs are, and nothing of this process's own Python."""
        found = {} if self.inputs is None else {INPUTS_VARIABLE: str(self.inputs)}
        plain = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
        return {"XDG_CACHE_HOME": str(self.folder / "cache"), **plain, **found}


def workshop(tree: Path, folder: Path) -> Workshop:
    """Return a workshop for ``tree`` in ``folder``, which does not exist yet, with the cached inputs."""
    folder.mkdir()
    folder.chmod(0o755)
    locked = {name for lock in (tree / IMAGE_FOLDER).glob("*.lock") for name in _digests(lock)}
    cache = folder / "cache" / "glasshouse" / "inputs" / "sha256"
    cache.mkdir(parents=True)
    for name in locked:
        if (kept := cache_folder() / name).is_file():
            shutil.copyfile(kept, cache / name)
    return Workshop(
        tree=tree,
        folder=folder,
        origins=(IMAGE_FOLDER, *sorted(source.origin for source in Recipe.load(tree).sources)),
        inputs=next(iter(input_folders(tree)), None),
    )


def _digests(lock: Path) -> list[str]:
    return re.findall(r"\b[0-9a-f]{64}\b", lock.read_text(encoding="ascii"))


def reproducible(
    shop: Workshop, variations: Iterable[Variation], *, jobs: int = 1, tell: Callable[[Row], None]
) -> Table:
    """Build once, then under every variation and under all at once; raises if the first build fails.

    ``tell`` is given each row as it is finished.
    """
    confirmed = [_confirmed(shop, variation) for variation in variations]
    image, measurements = _build(shop, Setting())
    _open_cache(shop)
    if len([each for each in confirmed if each.setting is not None]) > 1:
        confirmed.append(all_at_once(confirmed))

    def row_of(variation: Variation) -> Row:
        row = _row(shop, variation, image, measurements)
        tell(row)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        rows = tuple(pool.map(row_of, confirmed))
    return Table(sha256=hashlib.sha256(image).digest(), rows=rows)


def _row(shop: Workshop, variation: Variation, image: bytes, measurements: bytes) -> Row:
    axis, value = variation.axis, variation.value
    if variation.setting is None:
        return Row(axis=axis, value=value, outcome=Outcome.NOT_VARIED, detail=variation.reason)
    began = time.monotonic()
    try:
        built, measured = _build(shop, variation.setting)
    except RebuildError as err:
        return Row(axis=axis, value=value, outcome=Outcome.FAILED, detail=str(err))
    is_same = (built, measured) == (image, measurements)
    return Row(
        axis=axis,
        value=value,
        outcome=Outcome.SAME if is_same else Outcome.DIFFERENT,
        sha256=hashlib.sha256(built).digest(),
        seconds=time.monotonic() - began,
        detail="" if is_same else "; ".join(_differences(image, built)),
    )


def _differences(image: bytes, built: bytes) -> Iterator[str]:
    found = compare(image, built).differences or (Difference(place=MEASUREMENTS_NAME, detail="differs"),)
    yield from (f"{one.place}: {one.detail}" for one in found[:_MAX_DIFFERENCES])
    if len(found) > _MAX_DIFFERENCES:
        yield f"and {len(found) - _MAX_DIFFERENCES} more"


def _build(shop: Workshop, setting: Setting) -> tuple[bytes, bytes]:
    """Return the image and the measurements that one build writes."""
    with ExitStack() as stack:
        tree, builder = _lay_out(shop, setting, stack)
        _copy(shop.tree, tree, shop.origins, is_reversed=setting.is_reversed)
        for package in (glasshouse_attestations, glasshouse_log, glasshouse):
            _copy_package(package.__file__, builder, setting)
        _copy_package(__file__, builder, setting)
        output = tree / "dist" / _IMAGE_NAME
        arguments = ["-c", _RUN, "build", "--tree", str(tree), "--output", str(output)]
        try:
            done = _run(shop, setting, arguments, tree, builder, _BUILD_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise RebuildError(str(err)) from err
        if done.returncode:
            raise RebuildError(_reason(done))
        return output.read_bytes(), output.with_name(MEASUREMENTS_NAME).read_bytes()


def _lay_out(shop: Workshop, setting: Setting, stack: ExitStack) -> tuple[Path, Path]:
    """Make the folders of one build, which are gone at the end: where the tree goes, and the builder."""
    base = shop.folder if setting.base is None else setting.base
    own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glasshouse-", dir=base)))
    own.chmod(0o755)
    tree, builder = own / setting.folder, _builder_beside(own, setting)
    for folder in (tree, builder):
        folder.mkdir(parents=True)
    for name, text in setting.modules.items():
        (builder / name).write_text(text, encoding="utf-8")
    return tree, builder


def _builder_beside(own: Path, setting: Setting) -> Path:
    """Return where the builder's own code goes: beside the tree, below whatever the tree is below."""
    return (own / setting.folder).with_name("builder")


def _copy_package(module: str | None, builder: Path, setting: Setting) -> None:
    if module is None:
        raise RebuildError("the builder is not installed as files")
    package = Path(module).parent
    _copy(package.parent, builder, (package.name,), is_reversed=setting.is_reversed)


def _copy(source: Path, target: Path, folders: Iterable[str], *, is_reversed: bool) -> None:
    """Copy the files of some folders in the order of their paths, or against it, without their times."""
    for folder in sorted(folders, reverse=is_reversed):
        paths = sorted((source / folder).rglob("*"), reverse=is_reversed)
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                copied = target / path.relative_to(source)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copied)


def _open_cache(shop: Workshop) -> None:
    """Let every user read the inputs that the reference build has left in the cache."""
    for path in (shop.folder / "cache").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _confirmed(shop: Workshop, variation: Variation) -> Variation:
    """Return ``variation``, without its setting and with the reason where nothing of it can be seen."""
    if variation.setting is None or not variation.shows:
        return variation
    try:
        before = _observe(shop, Setting(), variation.shows)
        seen = _observe(shop, variation.setting, variation.shows)
    except RebuildError as err:
        return replace(variation, setting=None, reason=str(err))
    if seen == before:
        return replace(variation, setting=None, reason=f"it shows no effect: {seen[:60]}")
    return variation


def _observe(shop: Workshop, setting: Setting, expression: str) -> str:
    with ExitStack() as stack:
        tree, builder = _lay_out(shop, setting, stack)
        program = f"import {_MODULES}; print(ascii({expression}))"
        try:
            done = _run(shop, setting, ["-c", program], tree, builder, _PROBE_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise RebuildError(str(err)) from err
    if done.returncode:
        raise RebuildError(_reason(done))
    return done.stdout.strip()


def _run(
    shop: Workshop, setting: Setting, arguments: Iterable[str], tree: Path, builder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    variables: Mapping[str, str | None] = {
        **os.environ,
        **shop.variables,
        **REFERENCE.variables,
        **setting.variables,
        "PYTHONPATH": str(builder),
    }
    return subprocess.run(
        [*setting.wrapper, str(setting.python), *arguments],
        cwd=tree,
        env={name: value for name, value in variables.items() if value is not None},
        umask=setting.umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    messages = [line for line in lines if not line.startswith("hint: ")]
    return messages[-1] if messages else f"it ended with exit status {done.returncode}"
