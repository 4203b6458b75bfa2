"""Making a release: build a commit twice, compare, sign, log, and check the result as a client would.

Each function takes what the one before it returned, and :func:`release` is the whole of it. Nothing is
published: the caller writes the result where it is to be reviewed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from glasshouse import Policy
from glasshouse_attestations.bundle import LoggedStatement
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.release import Release, Source
from glasshouse_log.client import LogClient

from .build import MEASUREMENTS_NAME, Plan
from .clone import check_clean, check_version, clone, head
from .compare import compare
from .errors import NotReproducedError
from .measure import measure
from .provenance import provenance
from .publication import SBOM_NAME, Publication
from .rebuild import Surroundings, folder_of_inputs, rebuild
from .recipe import IMAGE_FOLDER
from .report import Report
from .sbom import bill_of_materials
from .verification import verify_publication

__all__ = [
    "Built",
    "Order",
    "Released",
    "build_twice",
    "check_identical",
    "check_source",
    "describe",
    "inspect",
    "publish_commands",
    "release",
    "sign_and_log",
]

# Two lock what is in the image; what the third locks is what its reference values were predicted from.
_LOCKS = ("debs.lock", "wheels.lock", "firmware.lock")

# Two builds that agree although everything around them differs; the folders differ too.
_FIRST = Surroundings(
    variables={"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    umask=0o022,
)
_SECOND = Surroundings(
    variables={"TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONHASHSEED": "2"},
    umask=0o077,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be released: ``version``, from the commit that ``tree`` has checked out, for a time."""

    version: str
    tree: Path
    repository: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image that two clones of ``commit`` gave, what it measures to, and what went in."""

    commit: bytes
    image: bytes
    measurements: Measurements
    plan: Plan
    locks: dict[str, bytes]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A release that is signed, logged and checked, and its image. ``report`` says what was checked."""

    release: Release
    publication: Publication
    image: bytes
    report: Report


def release(
    order: Order,
    *,
    keys: Sequence[SigningKey],
    policy: Policy,
    log: LogClient,
    now: datetime,
    tell: Callable[[str], None],
    with_progress: bool = False,
) -> Released:
    """Return the release that ``order`` asks for, signed with ``keys`` and logged.

    Raises a :class:`~.errors.SourceError` if the tree is not exactly a commit of that version,
    :class:`~.errors.NotReproducedError` if its two builds differ, and what signing, logging and verifying
    raise. What is released is a commit; the working tree is only looked at.
    """
    commit = check_source(order)
    built = build_twice(order.tree, commit, tell, with_progress=with_progress)
    statement, sbom = describe(order, built)
    tell("signing and logging")
    publication = sign_and_log(statement, sbom, built, keys=keys, log=log)
    tell("verifying as a client would")
    report = verify_publication(publication, policy, now=now, image=built.image, is_candidate=True)
    report.raise_first_failure()
    return Released(release=statement, publication=publication, image=built.image, report=report)


def check_source(order: Order) -> bytes:
    """Return the commit to release: the tree has no changes, and every distribution has the version."""
    commit = head(order.tree)
    check_clean(order.tree)
    check_version(order.tree, order.version)
    return commit


def build_twice(
    tree: Path, commit: bytes, tell: Callable[[str], None], *, with_progress: bool = False
) -> Built:
    """Build ``commit`` in two clones at different paths in different surroundings, and compare every byte."""
    inputs = folder_of_inputs(tree)
    with tempfile.TemporaryDirectory(prefix="glasshouse-release-") as folder:
        tell(f"building commit {commit.hex()[:12]}, first clone")
        first = clone(tree, commit, Path(folder, "first"))
        image = rebuild(first, surroundings=_FIRST, inputs=inputs, with_progress=with_progress).image
        tell(f"building commit {commit.hex()[:12]}, second clone")
        second = clone(tree, commit, Path(folder, "zweiter Klon – second"))
        again = rebuild(second, surroundings=_SECOND, inputs=inputs, with_progress=with_progress).image
        check_identical(image, again)
        return inspect(first, commit, image)


def inspect(tree: Path, commit: bytes, image: bytes) -> Built:
    """Return what ``image``, built from a clone ``tree`` of ``commit``, measures to, and what went in."""
    paths = [f"{IMAGE_FOLDER}/{name}" for name in _LOCKS]
    plan = Plan.load(tree)
    return Built(
        commit=commit,
        image=image,
        measurements=measure(image),
        plan=plan,
        locks={path: hashlib.sha256((tree / path).read_bytes()).digest() for path in paths},
        sources=tuple(Path(each.origin).name.replace("_", "-") for each in plan.recipe.sources),
    )


def check_identical(first: bytes, second: bytes) -> None:
    """Return if two images are the same; else :class:`NotReproducedError`, with the first difference."""
    comparison = compare(first, second)
    if not comparison.identical:
        place = comparison.differences[0]
        raise NotReproducedError(
            f"two builds of one commit differ in {len(comparison.differences)} places,"
            f" first {place.place}: {place.detail}"
        )


def describe(order: Order, built: Built) -> tuple[Release, bytes]:
    """Return the release statement and the bill of materials that it names."""
    sbom = bill_of_materials(
        version=order.version,
        image_sha256=built.measurements.sha256,
        debs=built.plan.debs,
        wheels=built.plan.wheels,
        sources=built.sources,
        suite=built.plan.recipe.debian.suite,
    )
    statement = Release(
        image_sha256=built.measurements.sha256,
        version=order.version,
        source=Source(repository=order.repository, commit=built.commit),
        locks=built.locks,
        builder=f"glasshouse-audit {order.version}",
        reference_values=built.measurements.reference_values,
        sbom_sha256=hashlib.sha256(sbom).digest(),
        not_before=order.not_before,
        not_after=order.not_after,
    )
    return statement, sbom


def sign_and_log(
    statement: Release, sbom: bytes, built: Built, *, keys: Sequence[SigningKey], log: LogClient
) -> Publication:
    """Return the release's files: its statements are signed with every key, and in the log."""
    measurements = built.measurements.encode()
    origin = provenance(
        statement,
        recipe=f"{IMAGE_FOLDER}/recipe.toml",
        debs=built.plan.debs,
        wheels=built.plan.wheels,
        suite=built.plan.recipe.debian.suite,
        byproducts={
            MEASUREMENTS_NAME: hashlib.sha256(measurements).digest(),
            SBOM_NAME: statement.sbom_sha256,
        },
    )
    envelopes = [each.sign(*keys).encode() for each in (statement.to_statement(), origin)]
    logged = [LoggedStatement(envelope=each, proof=log.add(each)) for each in envelopes]
    return Publication(
        release=logged[0],
        provenance=logged[1],
        sbom=sbom,
        measurements=measurements,
        bundle=log.build_bundle([envelopes[0]]).encode(),
    )


def publish_commands(order: Order, commit: bytes, *, folder: Path, image: Path) -> tuple[str, ...]:
    """Return the commands that publish a release, for a maintainer to read and run."""
    tag = f"v{order.version}"
    return (
        f"git tag --annotate {tag} {commit.hex()} --message 'Glasshouse {order.version}'",
        f"git add {_within(folder, order.tree)}",
        f"git commit --message 'Publish the statements of {order.version}'",
        f"git push origin HEAD {tag}",
        f"# then upload {_within(image, order.tree)} to the downloads of {tag}",
    )


def _within(path: Path, tree: Path) -> Path:
    resolved, root = path.resolve(), tree.resolve()
    return resolved.relative_to(root) if resolved.is_relative_to(root) else resolved
