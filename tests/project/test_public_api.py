"""What a distribution offers is listed, in order, and says what it does."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

from support.repository import DISTRIBUTIONS, Distribution


def listing_modules(distribution: Distribution) -> Iterator[ModuleType]:
    """Every public module of a distribution that lists what it offers."""
    package = importlib.import_module(distribution.package)
    found = pkgutil.walk_packages(package.__path__, f"{distribution.package}.")
    names = [info.name for info in found if not info.name.split(".")[-1].startswith("_")]
    for module in (package, *map(importlib.import_module, names)):
        if hasattr(module, "__all__"):
            yield module


def order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions: the order that the linter keeps, too."""
    return (not name.isupper(), not name[:1].isupper(), name)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
def test_what_is_offered_is_sorted_and_exists(distribution: Distribution) -> None:
    for module in listing_modules(distribution):
        assert list(module.__all__) == sorted(set(module.__all__), key=order), module.__name__
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], module.__name__


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
def test_every_class_and_function_on_offer_says_what_it_guarantees(distribution: Distribution) -> None:
    silent = {
        f"{module.__name__}.{name}"
        for module in listing_modules(distribution)
        for name in module.__all__
        # By its own type: on Python 3.10 a type alias passes for a class.
        if issubclass(type(value := getattr(module, name)), type) or inspect.isfunction(value)
        # A dataclass without a docstring is given its signature for one.
        if not value.__doc__ or value.__doc__.startswith(f"{name}(")
    }
    assert silent == set()


def test_the_sdk_lists_what_it_offers() -> None:
    assert "Connection" in importlib.import_module("glasshouse").__all__


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
def test_a_package_carries_its_types(distribution: Distribution) -> None:
    assert (distribution.source / "py.typed").is_file()
