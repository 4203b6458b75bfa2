"""Who may import whom: the table of the design, and the third parties each distribution has chosen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.imports import imported_modules
from support.repository import DISTRIBUTIONS, Distribution

# Python 3.10 does not count what came later as its own.
STANDARD_LIBRARY = sys.stdlib_module_names | {"tomllib"}

SIBLINGS = {
    "glasshouse_attestations": set(),
    "glasshouse_log": {"glasshouse_attestations"},
    "glasshouse": {"glasshouse_attestations", "glasshouse_log"},
    "glasshouse_enclave": {"glasshouse_attestations"},
    "glasshouse_host": {"glasshouse_attestations"},
    "glasshouse_audit": {"glasshouse_attestations", "glasshouse_log", "glasshouse"},
}

THIRD_PARTIES = {
    "glasshouse_attestations": {"cryptography", "google", "pefile", "zstandard"},
    "glasshouse_log": {"cryptography", "httpx", "starlette", "uvicorn"},
    # A tensor of the caller's own torch is taken and given; torch is never a dependency.
    "glasshouse": {"cryptography", "google", "grpc", "numpy", "tomli", "torch"},
    "glasshouse_enclave": {"cryptography", "google", "grpc", "numpy", "onnxruntime"},
    "glasshouse_host": {"cryptography"},
    "glasshouse_audit": {"cryptography", "debian", "packaging", "pefile", "rich", "tomli", "zstandard"},
}

# The only module of the shared formats that needs an extra, and the only two who ask for that extra.
IMAGE_READERS = {"glasshouse_attestations", "glasshouse_host", "glasshouse_audit"}

# Verification is given bytes, keys, a policy and the time; it looks for nothing itself.
IMPURE = {
    *(
        "asyncio",
        "http",
        "logging",
        "os",
        "pathlib",
        "random",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "subprocess",
    ),
    *("tempfile", "threading", "time", "urllib"),
}


def modules(distribution: Distribution) -> Iterator[tuple[Path, set[str]]]:
    for path in sorted(distribution.source.rglob("*.py")):
        package = ".".join(path.parent.relative_to(distribution.source.parent).parts)
        yield path, set(imported_modules(path.read_text(encoding="utf-8"), package))


def each_distribution() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)


@each_distribution()
def test_a_distribution_imports_only_what_the_table_allows(distribution: Distribution) -> None:
    allowed = SIBLINGS[distribution.package] | THIRD_PARTIES[distribution.package] | STANDARD_LIBRARY
    forbidden = {
        f"{path.name}: {name}"
        for path, names in modules(distribution)
        for name in names
        if name.split(".")[0] not in allowed | {distribution.package}
    }
    assert forbidden == set()


@each_distribution()
def test_the_reader_of_images_is_imported_only_where_its_extra_is_installed(
    distribution: Distribution,
) -> None:
    imported = {name for _, names in modules(distribution) for name in names}
    readers = {name for name in imported if name.startswith("glasshouse_attestations.image")}
    assert not readers or distribution.package in IMAGE_READERS


def test_what_the_sdk_reaches_of_the_log_checks_proofs_and_does_nothing_else() -> None:
    by_package = {each.package: each for each in DISTRIBUTIONS}
    log = by_package["glasshouse_log"]
    imports: dict[str, set[str]] = {}
    for path, names in modules(log):
        imports.setdefault(path.relative_to(log.source).with_suffix("").parts[0], set()).update(names)
    used = {name for _, names in modules(by_package["glasshouse"]) for name in names}
    allowed = {"glasshouse_attestations", "cryptography"} | (sys.stdlib_module_names - IMPURE)
    for module in reached(used, imports):
        outside = {name for name in imports[module] if name.split(".")[0] not in allowed | {log.package}}
        assert outside == set(), f"glasshouse_log.{module} is reached by the SDK"


def reached(used: set[str], imports: dict[str, set[str]]) -> set[str]:
    """The log's modules that come with ``used``: the package itself, what it imports, and so on."""
    found: set[str] = set()
    waiting = {"__init__"} | {name.split(".")[1] for name in used if name.startswith("glasshouse_log.")}
    while waiting:
        # What is not a module is a name that the package itself offers.
        module = waiting.pop()
        if module in imports and module not in found:
            found.add(module)
            waiting |= {name.split(".")[1] for name in imports[module] if name.startswith("glasshouse_log.")}
    return found


def test_what_is_reached_through_another_module_counts() -> None:
    imports = {"__init__": {"glasshouse_log.a.x"}, "a": {"glasshouse_log.b"}, "b": {"os"}, "server": {"http"}}
    assert reached({"glasshouse_log.verify", "json"}, imports) == {"__init__", "a", "b"}
    assert reached({"glasshouse_log.server.serve"}, imports) == {"__init__", "a", "b", "server"}


def test_the_shared_formats_import_nothing_that_touches_the_outside() -> None:
    attestations = next(each for each in DISTRIBUTIONS if each.package == "glasshouse_attestations")
    touching = {
        f"{path.name}: {name}"
        for path, names in modules(attestations)
        for name in names
        # The reader of images also unpacks them, into a folder that its caller made.
        if name.split(".")[0] in IMPURE and path.name != "image.py"
    }
    assert touching == set()


def test_every_distribution_has_a_row_and_some_source() -> None:
    packages = {each.package for each in DISTRIBUTIONS}
    assert packages == SIBLINGS.keys() == THIRD_PARTIES.keys()
    assert all((each.source / "__init__.py").is_file() for each in DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b as c", {"a.b"}),
        ("from a import b, c", {"a.b", "a.c"}),
        ("def f():\n    import hidden", {"hidden"}),
        ("from . import near", {"top.inner.near"}),
        ("from .near import thing", {"top.inner.near.thing"}),
        ("from ..other import thing", {"top.other.thing"}),
    ],
)
def test_an_import_is_found_wherever_it_hides(source: str, expected: set[str]) -> None:
    assert set(imported_modules(source, "top.inner")) == expected
