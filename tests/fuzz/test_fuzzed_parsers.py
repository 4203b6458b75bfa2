"""The parsers under hypothesis, from the same captures: quick, and part of every run of the tests.

``nox -s fuzz`` searches the same targets much further, led by coverage.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glasshouse_attestations
from support.vectors import needs_vectors

SOURCE = Path(str(glasshouse_attestations.__file__)).parent
TECHNOLOGIES = ("azure", "dcap", "nitro", "nvidia", "snp", "tpm")
# What its own tests fuzz, or what only ever sees a part that another parser has taken out.
PARTS_OF_OTHERS = {
    "EnclaveReport": "dcap-quote",
    "TdReport": "dcap-quote",
    "Certificate": "snp-endorsement-key",
    "Processor": "snp-policy",
    "Tcb": "snp-report",
}
# They go on until a step that their inputs cannot pass: collateral that is absent, a root that is nobody's.
NEVER_ACCEPT = {"dcap-sgx-steps", "dcap-tdx-steps", "nvidia-manifest"}


@st.composite
def edited(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with a few bytes changed, a piece cut out, doubled or put in elsewhere."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[start:end]) * 2)))
        data[start:end] = piece
    return bytes(data)


@needs_vectors
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_bytes_a_parser_is_given_it_raises_typed_errors_alone(name: str) -> None:
    target = TARGETS[name]
    seeds = tuple(target.seeds())
    assert seeds, "the target has nothing to start from"

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.one_of(edited(seeds), st.binary(max_size=256)))
    def run(data: bytes) -> None:
        target.run(data)

    run()


@needs_vectors
@pytest.mark.parametrize(
    "name", sorted(TARGETS.keys() - {"dcap-sgx-steps", "dcap-tdx-steps", "nvidia-manifest"})
)
def test_a_target_accepts_one_of_its_seeds_so_that_it_fuzzes_more_than_the_first_byte(name: str) -> None:
    assert any(TARGETS[name].run(seed) for seed in TARGETS[name].seeds())


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_every_class_with_a_parser_is_a_target(technology: str) -> None:
    targets = Path(__file__).with_name("targets.py").read_text(encoding="utf-8")
    for path in sorted((SOURCE / technology).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(each, ast.FunctionDef) and each.name == "parse" for each in node.body
            ):
                known = f"{node.name}.parse" in targets or f"{technology}.{node.name}" in targets
                assert known or PARTS_OF_OTHERS[node.name] in TARGETS, f"{technology}.{node.name}"
