"""Canonical JSON: one value, one encoding, within limits that hold before anything is built."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import MalformedError
from support.repository import ROOT


def parse(data: bytes, max_depth: int = 16) -> JSON:
    return canonical_json.parse(data, max_size=1 << 20, max_depth=max_depth)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (None, b"null"),
        (True, b"true"),
        (0, b"0"),
        (-1, b"-1"),
        (2**53 - 1, b"9007199254740991"),
        (1 - 2**53, b"-9007199254740991"),
        ("", b'""'),
        ('"\\/', b'"\\"\\\\/"'),
        ("\b\t\n\f\r\0\x1f\x7f", b'"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f"'),
        ("é€😀\u2028", '"é€😀\u2028"'.encode()),
        ([], b"[]"),
        ({}, b"{}"),
        ({"b": [1, {"d": None, "c": False}], "a": ""}, b'{"a":"","b":[1,{"c":false,"d":null}]}'),
        # By code point, as UTF-8 sorts; UTF-16 would put the last two the other way round.
        ({"\uffff": 1, "😀": 2, "B": 3, "a": 4}, '{"B":3,"a":4,"\uffff":1,"😀":2}'.encode()),
    ],
)
def test_a_value_has_the_encoding_that_its_reader_accepts(value: JSON, encoding: bytes) -> None:
    assert canonical_json.encode(value) == encoding
    assert parse(encoding) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"]",
        b"[1,]",
        b"{,}",
        b"nul",
        b"'a'",
        b"[1 ]",
        b'{"a": 1}',
        b'{"a":1}\n',
        b"\t1",
        b"1//x",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":1}',
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u000a"',
        b'"\\u000B"',
        b'"\\u00e9"',
        b'"\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\n"',
        b'"\0"',
        b'"\\x"',
        b'"\\u12"',
        b'"unterminated',
        b'"unterminated\\"',
        b"\xef\xbb\xbf1",
        b"1\0",
        b"1 1",
        b"[1][1]",
        "{}".encode("utf-16"),
    ],
)
def test_what_encode_would_not_write_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data)


@pytest.mark.parametrize(
    "number",
    [
        b"1.0",
        b"0.0",
        b"-0",
        b"-0.0",
        b"1e2",
        b"1E2",
        b"1e400",
        b"01",
        b"+1",
        b"0x10",
        b"1_000",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"18446744073709551616",
        b"9" * 5000,
        b"-" + b"9" * 100_000,
        "١".encode(),
    ],
)
def test_a_number_that_is_not_an_integer_every_reader_can_hold_is_malformed(number: bytes) -> None:
    for document in (number, b"[" + number + b"]", b'{"a":' + number + b"}"):
        with pytest.raises(MalformedError):
            parse(document)


@pytest.mark.parametrize(
    "value", [1.0, 2**53, -(2**53), b"bytes", (1,), {1: 2}, {"a": float("nan")}, "\ud800", ["\udfff"]]
)
def test_a_value_without_an_encoding_is_the_callers_mistake(value: JSON) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json.encode(value)


def test_a_document_over_the_size_is_malformed_and_one_at_it_is_not() -> None:
    assert canonical_json.parse(b'"xx"', max_size=4) == "xx"
    with pytest.raises(MalformedError, match="at most 3"):
        canonical_json.parse(b'"xx"', max_size=3)


@pytest.mark.parametrize("depth", [1, 2, 16])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_refused_one_level_past_the_limit(depth: int, opening: bytes, closing: bytes) -> None:
    innermost = b"1"
    parse(opening * depth + innermost + closing * depth, max_depth=depth)
    with pytest.raises(MalformedError, match="nested deeper"):
        parse(opening * (depth + 1) + innermost + closing * (depth + 1), max_depth=depth)


def test_brackets_in_strings_are_no_nesting() -> None:
    for text in ("[" * 50, '"[{' * 50, "\\[" * 50, '\\"[' * 50, "]" * 50, '\\\\"{'):
        value: JSON = {"a": [text, text], text: 1}
        assert parse(canonical_json.encode(value), max_depth=2) == value


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_refused_on_the_small_stack_of_a_thread(opening: str) -> None:
    # Another process, because what would go wrong is a crash.
    program = f"""
import sys, threading
from glasshouse_attestations import canonical_json
from glasshouse_attestations.errors import MalformedError

def refuse():
    try:
        canonical_json.parse({opening!r}.encode() * 50_000, max_size=1 << 20)
    except MalformedError:
        print("refused")

sys.setrecursionlimit(1_000_000)
threading.stack_size(256 << 10)
thread = threading.Thread(target=refuse)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize(
    "document",
    [
        b"[" + b"0," * (1 << 18) + b"0]",
        b"[" + b'"",' * (1 << 17) + b"0]",
        b"[" + b"[]," * (1 << 17) + b"0]",
        b"[" + b"{}," * (1 << 17) + b"0]",
        b'"' * (1 << 19),
        b'"' + b'\\"' * (1 << 19) + b'"',
    ],
)
def test_a_document_of_very_many_values_is_malformed_before_it_is_read(document: bytes) -> None:
    started = time.process_time()
    with pytest.raises(MalformedError, match="too many values"):
        canonical_json.parse(document, max_size=4 << 20)
    assert time.process_time() - started < 0.3


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no such limit")
def test_a_very_long_number_is_refused_without_the_interpreters_own_limit() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        started = time.process_time()
        with pytest.raises(MalformedError):
            canonical_json.parse(b"9" * (4 << 20), max_size=4 << 20)
        assert time.process_time() - started < 0.3
    finally:
        sys.set_int_max_str_digits(limit)


def test_encode_keeps_the_size_that_it_is_given() -> None:
    assert canonical_json.encode("xx", max_size=4) == b'"xx"'
    with pytest.raises(ValueError, match="at most 3"):
        canonical_json.encode("xx", max_size=3)


def test_a_document_with_as_many_values_as_allowed_is_read() -> None:
    items = (1 << 18) - 1
    value = canonical_json.parse(b"[" + b"0," * items + b"0]", max_size=4 << 20)
    assert isinstance(value, list)
    assert len(value) == items + 1


def test_an_error_names_no_content() -> None:
    for data in (b'{"secret":1.5}', b'{"secret":', b'["secret","secret" ]', b'{"secret":1,"secret":1}'):
        with pytest.raises(MalformedError) as caught:
            parse(data)
        assert "secret" not in str(caught.value)


def test_another_json_library_reads_what_encode_writes() -> None:
    value: JSON = {"é": [1, True, None, "\u2028\x7f\0"], "": {"b": -1}}
    assert json.loads(canonical_json.encode(value)) == value
