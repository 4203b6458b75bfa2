"""Building ``enclave.efi``: recipe, locks and sources in, the same bytes out, on any machine.

Read from top to bottom: inputs are fetched and checked, unpacked in memory into one root file system, which
is archived, compressed, and laid out behind systemd's stub. Nothing that the machine, its user, its clock or
its file system contribute is part of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from glasshouse_attestations.cpio import Archive, Member
from glasshouse_attestations.measurements import Measurements

from .deb import read_deb
from .errors import RecipeError
from .initrd import check_compressor, compress
from .inputs import Inputs
from .locks import LockedDeb, LockedWheel, parse_debs, parse_wheels
from .measure import measure
from .recipe import IMAGE_FOLDER, Recipe
from .root import Root, read_sources
from .uki import assemble
from .wheel import read_wheel

__all__ = [
    "MEASUREMENTS_NAME",
    "Parts",
    "Plan",
    "build",
    "build_image",
    "gather",
    "progress_bars",
    "write_atomically",
    "write_together",
]

MEASUREMENTS_NAME = "measurements.json"
_MAX_LOCK_SIZE = 1 << 20
_L = TypeVar("_L")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a working tree says the image is: its recipe and both locks."""

    recipe: Recipe
    debs: tuple[LockedDeb, ...]
    wheels: tuple[LockedWheel, ...]

    @classmethod
    def load(cls, tree: Path) -> Plan:
        """Return the plan of ``tree``; raises :class:`RecipeError`, also where lock and recipe disagree."""
        plan = cls(
            recipe=Recipe.load(tree),
            debs=_read_lock(tree, "debs.lock", parse_debs),
            wheels=_read_lock(tree, "wheels.lock", parse_wheels),
        )
        plan._check()
        return plan

    def _check(self) -> None:
        wheels = {wheel.name for wheel in self.wheels}
        expected = {name.replace("_", "-") for name in self.recipe.python.wheels}
        debs = {deb.name for deb in self.debs}
        # A metapackage stands for one package whose name only the lock knows.
        packages, metapackages = set(self.recipe.debian.packages), self.recipe.debian.metapackages
        if wheels != expected or not packages <= debs or len(debs - packages) != len(metapackages):
            raise RecipeError("the locks do not have exactly the packages of the recipe; lock anew")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an image is made of. ``origins`` says for each path where it comes from.

    The kernel and the stub have a path and an origin too, but are not in the archive.
    """

    recipe: Recipe
    archive: Archive
    kernel: Member
    stub: Member
    origins: Mapping[str, str]

    def put_together(self, progress: Progress) -> bytes:
        """Return the image: the archive compressed, and everything laid out behind the stub."""
        task = progress.add_task("compressing and assembling", total=2)
        initrd = compress(self.archive, self.recipe)
        progress.advance(task)
        release = self.kernel.path.rpartition("/")[2].partition("-")[2]
        image = assemble(
            self.stub.data,
            {
                ".osrel": _content(self.archive, self.recipe.os_release),
                ".cmdline": self.recipe.command_line.encode("ascii"),
                ".uname": release.encode("ascii"),
                ".initrd": initrd,
                ".linux": self.kernel.data,
            },
        )
        progress.advance(task)
        return image


def build(tree: Path, output: Path, *, progress: Progress | None = None) -> Measurements:
    """Write the image of the working tree at ``tree`` to ``output``, ``measurements.json`` beside it.

    Both files appear complete or not at all. Raises a :class:`GlasshouseError` that names the input, file
    or tool if the image cannot be built. Without ``progress`` nothing is shown.
    """
    with progress or progress_bars(shown=False) as bars:
        image = build_image(tree, bars)
        measurements = measure(image)
    output.parent.mkdir(parents=True, exist_ok=True)
    # The image last: who sees it sees its own measurements beside it.
    write_together({output.with_name(MEASUREMENTS_NAME): measurements.encode(), output: image})
    return measurements


def build_image(tree: Path, progress: Progress) -> bytes:
    """Return the image of the working tree at ``tree``."""
    return gather(tree, progress).put_together(progress)


def gather(tree: Path, progress: Progress) -> Parts:
    """Return what the image of the working tree at ``tree`` is made of, every input checked."""
    plan = Plan.load(tree)
    check_compressor(plan.recipe)
    inputs = Inputs(tree=tree, python=plan.recipe.python)
    inputs.fetch([*plan.debs, *plan.wheels], progress)
    root = _unpack(plan, inputs, tree, progress)
    return Parts(
        recipe=plan.recipe,
        archive=root.archive(),
        kernel=root.boot_file(plan.recipe.kernel),
        stub=root.boot_file(plan.recipe.stub),
        origins=root.origins(),
    )


def progress_bars(*, shown: bool) -> Progress:
    """Return bars on standard error, drawn only if ``shown`` and only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not (shown and console.is_terminal))


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``path``, readable by all, completely or not at all."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write every file, readable by all, and only then put them in place, in their order.

    A failure while writing leaves what was there before, and nothing else.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            staged[path] = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            staged[path].chmod(0o644)
        for path, temporary in staged.items():
            temporary.replace(path)
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def _unpack(plan: Plan, inputs: Inputs, tree: Path, progress: Progress) -> Root:
    recipe, root = plan.recipe, Root(plan.recipe)
    task = progress.add_task("unpacking", total=len(plan.debs) + len(plan.wheels) + len(recipe.sources))
    for deb in plan.debs:
        members = read_deb(inputs.read(deb), deb, architecture=recipe.debian.architecture)
        root.add(members, origin=f"deb {deb.name} {deb.version}")
        progress.advance(task)
    for wheel in plan.wheels:
        members = read_wheel(inputs.read(wheel), wheel, recipe.python)
        root.add(members, origin=f"wheel {wheel.name} {wheel.version}")
        progress.advance(task)
    for source in recipe.sources:
        root.add(read_sources(tree, source, recipe.suffixes), origin=f"source {source.origin}")
        progress.advance(task)
    return root


def _content(archive: Archive, path: str) -> bytes:
    for member in archive.members:
        if member.path == path:
            return member.data
    raise RecipeError(f"{path} is not in the image")


def _read_lock(tree: Path, name: str, parse: Callable[[str], tuple[_L, ...]]) -> tuple[_L, ...]:
    try:
        with (tree / IMAGE_FOLDER / name).open("rb") as file:
            data = file.read(_MAX_LOCK_SIZE + 1)
        if len(data) > _MAX_LOCK_SIZE:
            raise RecipeError(f"{name} has more than {_MAX_LOCK_SIZE} bytes")
        return parse(data.decode("ascii"))
    except OSError as err:
        raise RecipeError(f"cannot read {IMAGE_FOLDER}/{name}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise RecipeError(f"{name} is not plain ascii") from err
