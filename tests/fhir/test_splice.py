"""What is changed in a body is changed as if it had been parsed, and every other byte stays."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.splice import members, with_identity, with_links, with_members

NAMES = st.sampled_from(["reference", "url", "uri", "valueUri", "valueOid", "display", "value", 'a"b', "c\\"])
TEXTS = st.text(st.sampled_from('urn:1"\\é\n{}[],reference'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
LINKS = frozenset({"reference", "url", "uri", "valueUri", "valueOid"})


def _linked(value: Any) -> Any:
    """The value with every link that begins with u turned round, as its parsed form has it."""
    if isinstance(value, list):
        return [_linked(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: each[::-1] if name in LINKS and isinstance(each, str) and each.startswith("u") else _linked(each)
        for name, each in value.items()
    }


@given(OBJECTS)
def test_links_are_found_where_they_are_and_nowhere_else(value: dict[str, Any]) -> None:
    """A text that looks like a link, quotes and backslashes included, is none."""
    found = with_links(orjson.dumps(value), lambda key, uri: uri[::-1] if uri.startswith("u") else None)
    assert orjson.loads(found) == _linked(value)
    assert with_links(orjson.dumps(value), lambda key, uri: None) == orjson.dumps(value)


@given(OBJECTS, OBJECTS)
def test_members_are_set_in_their_place(value: dict[str, Any], changes: dict[str, Any]) -> None:
    """None takes a member out; a new one comes last."""
    expected = {name: each for name, each in {**value, **changes}.items() if changes.get(name, each) is not None}
    expected |= {name: each for name, each in value.items() if each is None and name not in changes}
    found = orjson.loads(with_members(orjson.dumps(value), changes))
    assert found == expected
    assert [name for name in found if name in value] == [name for name in value if name in found]


def test_what_is_not_changed_keeps_its_bytes() -> None:
    """A decimal keeps its zeros, a string its escapes, and blanks stay where they are inside of a value."""
    body = (
        rb'{ "meta": {"profile":["p"], "versionId":"9"}, "resourceType":"X", "v": {"n" : 1.00, "t":"\u00e9"}, "id":"o"}'
    )
    found, stamp = with_identity(body, "new", 2)
    assert members(found)["v"] == rb'{"n" : 1.00, "t":"\u00e9"}'
    assert found[stamp : stamp + 24] == b"0000-00-00T00:00:00.000Z"
    assert orjson.loads(found) == {
        "resourceType": "X",
        "id": "new",
        "meta": {"versionId": "2", "lastUpdated": "0000-00-00T00:00:00.000Z", "profile": ["p"]},
        "v": {"n": 1.0, "t": "é"},
    }
