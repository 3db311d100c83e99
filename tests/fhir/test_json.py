"""A body is parsed as FHIR means it, or refused with its place."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import Malformed, TooLarge
from fhir_server.fhir.json import MAX_DEPTH, MAX_PARTS, MAX_RESOURCE_PARTS, dump_exact, exact, most_parts, parse


def message(body: bytes, **options: Any) -> str:
    """What is said of a body that is refused."""
    with pytest.raises(Malformed) as error:
        parse(body, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"resourceType":"Patient"}', {"resourceType": "Patient"}),
        (b' [1, 2.50, "x", null, true]\n', [1, 2.5, "x", None, True]),
        ('{"é":"👩"}'.encode(), {"é": "👩"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a":{"x":1},"b":{"x":1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        (b'{"a\\"":"\\\\","a\\\\":"\\""}', {'a"': "\\", "a\\": '"'}),
        (b'{"a":"\\u0022\\u0022","b":"\\u005c\\u0022"}', {"a": '""', "b": '\\"'}),
        (b'{"n":18446744073709551616}', {"n": 1.8446744073709552e19}),
    ],
)
def test_json_is_parsed(body: bytes, value: object) -> None:
    """Objects and arrays, escapes and all."""
    assert parse(body) == value


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"a":1,}', "line 1, column 7"),
        (b'{\n  "a": tru\n}', "line 2, column 8"),
        (b'{"a":1}{', "line 1, column 8"),
        (b'{"a":NaN}', "line 1, column 6"),
        (b'{"a":Infinity}', "line 1, column 6"),
        (b'{"a":01}', "line 1, column"),
        (b'{"a":\n1e400}', "line 2, column 1"),
        (b'{"a":-1e400}', "line 1, column 6"),
        (b"{'a':1}", "line 1, column 2"),
        (b'{"a":"\t"}', "line 1, column 7"),
        (b'{"a":"\\ud800"}', "line 1, column 7"),
        (b'{"a":"\\udc00"}', "line 1, column 7"),
        (b'{"a":"\xff"}', "line 1, column 7"),
        (b'{"\xc3\xa9":\n "\xc3\xa9\xe9"}', "line 2, column 4"),
        (b'{"a":"\xed\xa0\x80"}', "line 1, column 7"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, place: str) -> None:
    """Syntax, numbers no double holds, halves of surrogate pairs, bytes that are not UTF-8."""
    assert place in message(body)


def test_a_byte_order_mark_is_refused_by_name() -> None:
    """RFC 8259 §8.1: JSON is sent without one."""
    assert "byte order mark" in message(b'\xef\xbb\xbf{"a":1}')
    assert "UTF-8" in message('{"a":1}'.encode("utf-16"))


@pytest.mark.parametrize("body", [b"1", b'"x"', b"null", b"true"])
def test_a_scalar_is_no_body(body: bytes) -> None:
    """An object or an array is expected."""
    assert "object or array" in message(body)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"subject":1,"subject":2}', "subject"),
        (b'{"a":{"subject":"x"},"b":[{"subject":"x","c":1,"subject":"x"}]}', "subject"),
        (b'{"subject":{"reference":"Patient/1"},"status":"x","subject":{}}', "subject"),
        (b'{"subject":1,"\\u0073ubject":2}', "subject"),
        (b'{"a":"\\u0022","subject":1,"subject":2}', "subject"),
        (b'{"a":"\\u0022\\u0022","subject":1,"subject":"\\\\"}', "subject"),
        (b'{"a":"\\\\","subject":"\\\\\\"","subject":"\\\\"}', "subject"),
        (b'{"n":' + b"9" * 300 + b',"subject":1,"subject":1}', "subject"),
    ],
)
def test_a_key_that_stands_twice_is_refused_and_named(body: bytes, key: str) -> None:
    """At any depth, with the same value or another, escaped or not, with quotes that try to even it out."""
    assert message(body) == f"The key {key} stands twice in one object."


def test_a_key_that_is_no_name_is_not_repeated() -> None:
    """It could be anybody's."""
    assert message(b'{"Jean Dupont":1,"Jean Dupont":2}') == "A key stands twice in one object."


def test_depth_is_bounded() -> None:
    """At the bound, beyond it, far beyond what any parser recurses into, closed or not."""
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert str(MAX_DEPTH) in message(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    assert str(3) in message(b'{"a":{"b":{"c":{}}}}', max_depth=3)
    assert parse(b'{"a":{"b":{"c":1}},"d":[{},{},{}]}', max_depth=3)
    for body in (b"[" * 1_000_000, b"[" * 1_000_000 + b"]" * 1_000_000, b'{"a":' * 500_000):
        assert "deep" in message(body, max_parts=MAX_PARTS)
    # What the parser still reads and the writer of the same library does not write.
    for depth in (253, 254, 255, 256, 500, 1_000):
        assert str(MAX_DEPTH) in message(b'{"a":' * depth + b"1" + b"}" * depth)
        large = b'{"b":"' + b"x" * (1 << 20) + b'","a":[' + b'{"a":' * depth + b"1" + b"}" * depth + b"]}"
        assert str(MAX_DEPTH) in message(large)


def test_brackets_in_strings_are_not_depth() -> None:
    """Only containers count."""
    assert parse(orjson.dumps({"a": "[{" * 1000})) == {"a": "[{" * 1000}


def test_no_message_repeats_the_body() -> None:
    """Whatever is wrong with it."""
    for body in (b'{"a":"Dupond",}', b'{"a":Dupond}', b'{"a":"Dupond\xff"}', b'"Dupond"', b'{"a":"Dupond'):
        assert "Dupond" not in message(body)


def test_json_is_written() -> None:
    """Compact, or with two blanks."""
    assert dump_exact({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
    assert dump_exact({"a": 1}, pretty=True) == b'{\n  "a": 1\n}'


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_a_decimal_keeps_the_precision_it_was_sent_with(number: Decimal) -> None:
    """1.00 is not 1.0, and neither becomes the other on its way through."""
    body = b'{"value":%s,"of":[%s]}' % (str(number).encode(), b"1.00")
    assert exact(body) == {"value": number, "of": [Decimal("1.00")]}
    assert dump_exact(exact(body)) == body


def in_hex(body: bytes) -> bytes:
    """The same JSON with the quotes in its strings written as numbers."""
    return re.sub(rb"\\(.)", lambda escape: b"\\u0022" if escape[1] == b'"' else escape[0], body)


BLANKS = b" " * (1 << 20)
KEYS = st.sampled_from(["a", "b", 'q"', "\\", "\\\\", '\\"', "u0022", "é"])
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(alphabet='a"\\{}[]:,u02é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_what_is_written_is_read_back(value: dict[str, Any], ascii_only: bool) -> None:
    """No string, however full of quotes and backslashes, looks like a repeated key."""
    body = dump_exact(value)
    if ascii_only:
        body = in_hex(body.replace("é".encode(), b"\\u00e9"))
    assert parse(body) == value


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), VALUES, st.data())
def test_a_repeated_key_is_always_found(value: dict[str, Any], again: Any, data: st.DataObject) -> None:
    """Wherever it stands and whatever its values are made of."""
    key = data.draw(st.sampled_from(sorted(value)))
    repeated = dump_exact(value)[:-1] + b"," + dump_exact({key: again})[1:]
    if data.draw(st.booleans()):
        repeated = in_hex(repeated)
    assert "twice" in message(b'{"outer":[' + repeated + b"]}")


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:ae1\\', max_size=40).map(str.encode))
def test_any_bytes_are_parsed_or_malformed(body: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(Malformed):
        assert isinstance(parse(body), dict | list)


@given(
    st.one_of(
        st.dictionaries(KEYS, VALUES, max_size=4).map(dump_exact),
        st.dictionaries(KEYS, VALUES, max_size=4).map(lambda value: dump_exact(value)[:-1] + b',"a":[{"a":1,"a":2}]}'),
        st.text(alphabet='{}[]",:ae1\\', max_size=40).map(str.encode),
    )
)
@settings(max_examples=100)
def test_a_large_body_is_read_as_a_small_one(body: bytes) -> None:
    """Beyond a megabyte it is read member by member; what it holds, and what is wrong with it, stays the same."""

    def outcome(text: bytes) -> Any:
        try:
            return parse(text)
        except Malformed as error:
            # Where a text that ends too soon ends is another place.
            return [each.text.partition(" at line")[0] for each in error.issues]

    assert outcome(body + BLANKS) == outcome(body + b" ")


@pytest.mark.parametrize("body", [b'{"entry":[' + b"{}," * MAX_PARTS + b"{}]}", b"[" * (MAX_PARTS + 1)])
def test_a_bundle_of_a_million_parts_is_refused_before_it_is_built(body: bytes) -> None:
    """413 for what would cost a hundred times its bytes."""
    with pytest.raises(TooLarge):
        parse(body, max_parts=most_parts("Bundle"))


def test_any_other_resource_has_a_tenth_of_the_parts_of_a_bundle() -> None:
    """What it costs to judge and to index them is bounded by how many there are; the limit is named."""
    body = b'{"a":[' + b"{}," * (MAX_RESOURCE_PARTS - 2) + b"%s]}"
    assert len(parse(body % b"1")["a"]) == MAX_RESOURCE_PARTS - 1
    with pytest.raises(TooLarge) as refused:
        parse(body % b"{}")
    assert str(MAX_RESOURCE_PARTS) in refused.value.issues[0].text
    assert len(parse(body % b"{}", max_parts=most_parts("Bundle"))["a"]) == MAX_RESOURCE_PARTS - 1
