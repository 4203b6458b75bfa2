"""What holds for each format alike: parse inverts encode, and raises nothing but MalformedError."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import MalformedError
from support.attestation_formats import FORMATS, Format
from support.hypothesis_strategies import json_values, mutated

every_format = pytest.mark.parametrize("form", FORMATS, ids=str)
quick = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def assert_parses_exactly_or_not_at_all(form: Format, data: bytes) -> None:
    try:
        value = form.parse(data)
    except MalformedError:
        return
    assert form.encode(value) == data


@every_format
def test_parse_gives_back_what_encode_wrote(form: Format) -> None:
    assert form.parse(form.document) == form.sample
    assert form.encode(form.parse(form.document)) == form.document


@every_format
@given(data=st.data())
@quick
def test_parse_gives_back_any_value_that_encode_wrote(form: Format, data: st.DataObject) -> None:
    value = data.draw(form.values)
    assert form.parse(form.encode(value)) == value


@every_format
@given(data=st.binary(max_size=200))
@quick
def test_arbitrary_bytes_are_malformed(form: Format, data: bytes) -> None:
    assert_parses_exactly_or_not_at_all(form, data)


@every_format
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_changed_document_is_malformed_or_says_something_else_exactly(
    form: Format, data: st.DataObject
) -> None:
    assert_parses_exactly_or_not_at_all(form, data.draw(mutated(form.document)))


@every_format
@given(value=json_values)
@quick
def test_any_other_json_is_malformed(form: Format, value: JSON) -> None:
    assert_parses_exactly_or_not_at_all(form, canonical_json.encode(value))


@every_format
def test_every_truncation_is_malformed(form: Format) -> None:
    for size in range(len(form.document)):
        with pytest.raises(MalformedError):
            form.parse(form.document[:size])


@every_format
@pytest.mark.parametrize("extra", [b"\0", b" ", b"\n", b"x", b"{}", b","])
def test_trailing_bytes_are_malformed(form: Format, extra: bytes) -> None:
    with pytest.raises(MalformedError):
        form.parse(form.document + extra)


@every_format
@pytest.mark.parametrize("prefix", [b" ", b"\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_byte_order_mark_or_space_in_front_is_malformed(form: Format, prefix: bytes) -> None:
    with pytest.raises(MalformedError):
        form.parse(prefix + form.document)


# A value of each type that JSON has, and of the types that Python takes for each other.
ODD_VALUES: tuple[JSON, ...] = (None, True, False, 0, 1, -1, 2**53 - 1, "", "1", "é", "\u202e", "\0", [], {})

Place = tuple[Any, ...]


def places(value: JSON, place: Place = ()) -> Iterator[Place]:
    """The way to each value inside ``value``."""
    yield place
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for step, item in items:
        yield from places(item, (*place, step))


def changed(value: JSON, place: Place, change: Callable[[Any, Any], None]) -> JSON:
    """A copy of ``value`` on whose member at ``place`` ``change(container, name)`` was done."""
    result = copy.deepcopy(value)
    container: Any = result
    for step in place[:-1]:
        container = container[step]
    change(container, place[-1])
    return result


def put(item: JSON, container: Any, name: Any) -> None:
    container[name] = item


def add_unknown_field(container: Any, _name: Any) -> None:
    container["unknown"] = 1


def encode_as(form: Format, value: JSON) -> bytes:
    return canonical_json.encode(value) + (b"\n" if form.name == "measurements" else b"")


@every_format
def test_a_value_of_another_type_in_any_place_is_malformed_or_says_something_else_exactly(
    form: Format,
) -> None:
    value = canonical_json.parse(form.document.rstrip(b"\n"), max_size=1 << 20)
    for place in places(value):
        for odd in ODD_VALUES:
            document = changed(value, place, partial(put, odd)) if place else odd
            assert_parses_exactly_or_not_at_all(form, encode_as(form, document))


# In these objects the names are data, or the content is somebody else's.
OPEN_OBJECTS = {
    "statement": ("predicate",),
    "release": ("predicate", "locks"),
    "evidence": ("endorsements",),
}


def is_open(form: Format, place: Place) -> bool:
    path = tuple(step for step in place if isinstance(step, str))
    if form.name == "json" or "referenceValues" in path:
        return True
    return form.name in OPEN_OBJECTS and path[: len(OPEN_OBJECTS[form.name])] == OPEN_OBJECTS[form.name]


@every_format
def test_a_missing_field_anywhere_is_malformed(form: Format) -> None:
    value = canonical_json.parse(form.document.rstrip(b"\n"), max_size=1 << 20)
    for place in places(value):
        if not place or not isinstance(place[-1], str) or is_open(form, place[:-1]):
            continue
        without = changed(value, place, operator.delitem)
        with pytest.raises(MalformedError, match=r"missing|is not|are there unless"):
            form.parse(encode_as(form, without))


@every_format
def test_an_unknown_field_anywhere_is_malformed(form: Format) -> None:
    value = canonical_json.parse(form.document.rstrip(b"\n"), max_size=1 << 20)
    for place in places(value):
        if not place or not isinstance(place[-1], str) or is_open(form, place[:-1]):
            continue
        more = changed(value, place, add_unknown_field)
        with pytest.raises(MalformedError):
            form.parse(encode_as(form, more))


@every_format
def test_a_duplicate_of_any_field_is_malformed_however_its_name_is_escaped(form: Format) -> None:
    document = form.document
    assert document.startswith(b'{"')
    end_of_name = document.index(b'"', 2)
    name = document[2:end_of_name].decode("ascii")
    for spelling in (name, name.replace(name[0], f"\\u{ord(name[0]):04x}", 1)):
        twice = b'{"%b":0,' % spelling.encode("ascii") + document[1:]
        with pytest.raises(MalformedError):
            form.parse(twice)
