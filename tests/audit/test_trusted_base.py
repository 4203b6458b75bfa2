"""The trusted base is as small as can be: of the shared formats, the image has what the enclave imports."""

from __future__ import annotations

from collections.abc import Iterator

from glasshouse_audit.recipe import Recipe, SourcePackage
from glasshouse_audit.root import read_sources
from support.imports import imported_modules
from support.repository import ROOT


def test_the_image_has_exactly_those_of_the_shared_modules_that_the_enclave_imports() -> None:
    recipe = Recipe.load(ROOT)
    enclave, shared = (_package(recipe, name) for name in ("glasshouse_enclave", "glasshouse_attestations"))
    wanted = {name for _, names in _modules(enclave, recipe, ("*",)) for name in names}
    everything = dict(_modules(shared, recipe, ("*",)))
    listed = {module for module, _ in _modules(shared, recipe, shared.files)}
    needed = _reached(wanted, everything)
    assert needed - listed == set(), "add these files to glasshouse_attestations in recipe.toml"
    assert listed - needed == set(), "the enclave imports these no more: take them out of recipe.toml"


def test_no_shared_module_that_only_verifies_is_reached() -> None:
    recipe = Recipe.load(ROOT)
    listed = {
        module for module, _ in _modules(_package(recipe, "glasshouse_attestations"), recipe, ("*",))
    } & {f"glasshouse_attestations.{name}" for name in ("simulated", "release", "audit", "nitro")}
    assert len(listed) == 4
    shipped = _package(recipe, "glasshouse_attestations").files
    assert not [name for name in shipped if f"glasshouse_attestations.{name.partition('.')[0]}" in listed]


def test_an_import_of_a_module_brings_its_packages_along() -> None:
    everything = {"p": {"os"}, "p.a": {"p.b.thing"}, "p.b": set[str](), "p.c": {"p.a"}, "p.s": {"re"}}
    everything["p.s.inner"] = {"p.c.name"}
    assert _reached({"p.a.x", "json"}, everything) == {"p", "p.a", "p.b"}
    assert _reached({"p.s.inner"}, everything) == {"p", "p.s", "p.s.inner", "p.c", "p.a", "p.b"}


def _package(recipe: Recipe, name: str) -> SourcePackage:
    (found,) = (source for source in recipe.sources if source.target.endswith(f"/{name}"))
    return found


def _modules(source: SourcePackage, recipe: Recipe, files: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
    """Yield the dotted name of each Python file that matches, and what it imports."""
    chosen = SourcePackage(origin=source.origin, target=source.target, files=files)
    top = source.target.rpartition("/")[0]
    for member in read_sources(ROOT, chosen, recipe.suffixes):
        parts = member.path.removeprefix(f"{top}/").removesuffix(".py").split("/")
        if member.path.endswith(".py"):
            module = ".".join(parts).removesuffix(".__init__")
            yield module, set(imported_modules(member.data.decode("utf-8"), ".".join(parts[:-1])))


def _reached(wanted: set[str], everything: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = set(wanted)
    while waiting:
        # What is no module is a name in one, and importing a module runs every package that it is in.
        parent, _, _ = (name := waiting.pop()).rpartition(".")
        if parent:
            waiting.add(parent)
        if name in everything and name not in found:
            found.add(name)
            waiting |= everything[name]
    return found
