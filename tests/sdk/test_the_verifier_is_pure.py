"""The verifier is a function of its arguments, and importing the client is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glasshouse
from glasshouse import errors
from glasshouse._hints import HINTS

SOURCE = Path(str(glasshouse.__file__)).parent
PURE = (
    *("_verifier", "_statements", "_log", "_quote", "_platforms", "_verdict", "_refusal", "_hints", "errors"),
    *("_evidence_verdict", "_deadlines", "_pccs"),
    *(f"_inspection/{path.stem}" for path in sorted((SOURCE / "_inspection").glob("*.py"))),
)
IMPURE = {
    "os",
    "pathlib",
    "socket",
    "ssl",
    "time",
    "random",
    "secrets",
    "tempfile",
    "threading",
    "logging",
    "sys",
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("module", PURE)
def test_a_module_of_the_verifier_touches_nothing_outside(module: str) -> None:
    path = SOURCE / f"{module}.py"
    assert imported(path) & (IMPURE | {"grpc", "numpy"}) == set()
    assert ".now(" not in path.read_text(encoding="utf-8")


def test_importing_the_client_imports_neither_grpc_nor_numpy_nor_torch() -> None:
    heavy = {"grpc", "numpy", "torch", "google.protobuf"}
    code = f"import sys, glasshouse; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="insecure"):
        _ = glasshouse.insecure  # type: ignore[attr-defined]


def test_every_error_is_drawn_in_the_tree_and_has_one_of_three_roots() -> None:
    tree = errors.__doc__ or ""
    roots = (errors.MalformedError, errors.VerificationError, errors.UnavailableError)
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, (errors.GlasshouseError, *roots))
        # The three that a step wraps into its own are the other distributions' trees.
        if name not in ("SignatureError", "ThresholdError", "UntrustedKeyError"):
            assert f" {name}" in tree or f"{name} " in tree, name


def test_no_name_of_the_client_offers_to_skip_verification() -> None:
    forbidden = ("insecure", "verify=False", "skip_verif", "no_verify", "trust_on_first")
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in forbidden if word in text], path


def test_every_error_of_a_step_has_a_hint() -> None:
    tree = (errors.__doc__ or "").splitlines()
    of_steps = [line.split("── ")[1].split()[0] for line in tree if re.search(r"\s\d{1,2}  ", line)]
    # These two name files of their own when they are raised.
    raised_with_one = {"SplitViewError", "MemoryUnusableError"}
    kinds = {name: getattr(errors, name) for name in of_steps}
    assert {name for name, kind in kinds.items() if not (kind.hint or kind in HINTS)} == raised_with_one
    assert len(kinds) > 20
