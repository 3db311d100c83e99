"""JSON Patch, RFC 6902: what each operation does, what is refused, and what a hostile patch may cost."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import FhirServerError, Invalid, Malformed
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.patch import json_patch

DEFINITIONS = load_definitions()


def patched(document: Any, patch: Any) -> Any:
    """The document after the patch, both as values."""
    return orjson.loads(json_patch.apply(orjson.dumps(document), orjson.dumps(patch), DEFINITIONS))


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    """One operation; `source` is its `from`."""
    if "source" in more:
        more["from"] = more.pop("source")
    return {"op": name, "path": path, **more}


@pytest.mark.shared_data
def test_the_cases_of_hl7_pass(shared_data: Path) -> None:
    """Those of RFC 6902, appendix A, in HL7's collection."""
    cases = orjson.loads((shared_data / "fhir-test-cases/r4/patch/json-patch-tests.json").read_bytes())
    assert len(cases) == 16
    for case in cases:
        if "error" in case:
            with pytest.raises(FhirServerError):
                patched(case["doc"], case["patch"])
        else:
            assert patched(case["doc"], case["patch"]) == case["expected"], case["comment"]


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"a": 1}, op("add", "/b", value=2), {"a": 1, "b": 2}),
        ({"a": 1}, op("add", "/a", value=[2]), {"a": [2]}),
        ({"a": [1, 3]}, op("add", "/a/1", value=2), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/1", value=2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-", value=2), {"a": [1, 2]}),
        ({"a": 1}, op("add", "", value={"b": 2}), {"b": 2}),
        ({"a": 1, "b": 2}, op("remove", "/a"), {"b": 2}),
        ({"a": [1, 2]}, op("remove", "/a/0"), {"a": [2]}),
        ({"a": None}, op("remove", "/a"), {}),
        ({"a": 1}, op("replace", "/a", value=None), {"a": None}),
        ({"a": [1, 2]}, op("replace", "/a/1", value=3), {"a": [1, 3]}),
        ({"a": 1}, op("replace", "", value={"c": 1}), {"c": 1}),
        ({"a": {"b": 1}, "c": {}}, op("move", "/c/d", source="/a/b"), {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3]}, op("move", "/a/2", source="/a/0"), {"a": [2, 3, 1]}),
        ({"a": 1}, op("move", "/a", source="/a"), {"a": 1}),
        ({"a": [1]}, op("copy", "/b", source="/a"), {"a": [1], "b": [1]}),
        ({"a": {"b": 1}}, op("copy", "/a/c", source="/a"), {"a": {"b": 1, "c": {"b": 1}}}),
        ({"a": 1.0}, op("test", "/a", value=1), {"a": 1.0}),
        ({"a": {"b": 1, "c": 2}}, op("test", "/a", value={"c": 2, "b": 1}), {"a": {"b": 1, "c": 2}}),
        ({"a": None}, op("test", "/a", value=None), {"a": None}),
        ({"": 1, "~": 2}, op("replace", "/~0", value=3), {"": 1, "~": 3}),
        ({"": 1}, op("replace", "/", value=3), {"": 3}),
        ({"a/b": 1}, op("remove", "/a~1b"), {}),
        ({"é": 1, "01": 1}, op("remove", "/01"), {"é": 1}),
    ],
)
def test_an_operation_changes_what_it_names(document: Any, operation: Any, expected: Any) -> None:
    """RFC 6902 §4 and RFC 6901 §4, each rule once."""
    assert patched(document, [operation]) == expected


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        ({"a": 1}, op("add", "/b/c", value=1)),
        ({"a": 1}, op("add", "/a/b", value=1)),
        ({"a": [1]}, op("add", "/a/3", value=1)),
        ({"a": [1]}, op("add", "/a/01", value=1)),
        ({"a": [1]}, op("add", "/a/x", value=1)),
        ({"a": [1]}, op("add", "/a/-1", value=1)),
        ({"a": [1]}, op("add", "/a/²", value=1)),
        ({"a": [1]}, op("add", "/a/99999999999999999999", value=1)),
        ({"a": 1}, op("remove", "/b")),
        ({"a": [1]}, op("remove", "/a/-")),
        ({"a": [1]}, op("remove", "/a/1")),
        ({"a": 1}, op("remove", "")),
        ({"a": 1}, op("replace", "/b", value=1)),
        ({"a": {"b": 1}}, op("move", "/a/b/c", source="/a/b")),
        ({"a": 1}, op("move", "/b", source="/c")),
        ({"a": 1}, op("copy", "/b", source="/c")),
        ({"a": 1}, op("test", "/a", value=True)),
        ({"a": True}, op("test", "/a", value=1)),
        ({"a": 1}, op("test", "/a", value="1")),
        ({"a": [1, 2]}, op("test", "/a", value=[2, 1])),
        ({"a": {}}, op("test", "/a", value=[])),
        ({"a": {"b": 1}}, op("test", "/a", value={"b": 1, "c": 1})),
        ({"a": 1}, op("test", "/b", value=None)),
    ],
)
def test_an_operation_that_does_not_fit_is_invalid_and_names_itself(document: Any, operation: Any) -> None:
    """422, with the place of the operation in the patch."""
    with pytest.raises(Invalid) as refused:
        patched(document, [op("test", "", value=document), operation])
    assert refused.value.issues[0].expression == "patch[1]"


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "remove", "path": "/a"},
        ["remove"],
        [{"path": "/a"}],
        [op("delete", "/a")],
        [op("add", "/a")],
        [op("replace", "/a")],
        [op("test", "/a")],
        [{"op": "remove"}],
        [op("remove", "a")],
        [op("remove", "/a~2")],
        [op("remove", "/a~")],
        [{"op": "remove", "path": 1}],
        [{"op": ["remove"], "path": "/a"}],
        [{"op": "move", "path": "/b"}],
        [{"op": "copy", "path": "/b", "from": "a"}],
    ],
)
def test_what_is_no_json_patch_is_malformed(patch: Any) -> None:
    """400, before anything is changed."""
    with pytest.raises(Malformed):
        patched({"a": 1}, patch)


def test_bytes_that_are_no_json_or_say_a_thing_twice_are_malformed() -> None:
    """The patch is read as strictly as a resource."""
    for patch in (b"", b"[", b'[{"op":"remove","op":"add","path":"/a"}]', b"\xff", b"1"):
        with pytest.raises(Malformed):
            json_patch.apply(b'{"a":1}', patch, DEFINITIONS)


def test_digits_stay_as_they_are_written() -> None:
    """1.00 is 1.00, whether it was there, came with the patch or was copied."""
    body = b'{"a":1.00,"b":[2.50],"c":12345678901234567890.10}'
    patch = b'[{"op":"add","path":"/b/-","value":3.000},{"op":"copy","from":"/a","path":"/d"},'
    patch += b'{"op":"test","path":"/a","value":1}]'
    made = json_patch.apply(body, patch, DEFINITIONS)
    assert made == b'{"a":1.00,"b":[2.50,3.000],"c":12345678901234567890.10,"d":1.00}'


def test_what_is_copied_is_not_shared() -> None:
    """A later change of the one leaves the other alone."""
    patch = [op("copy", "/b", source="/a"), op("add", "/b/x", value=2)]
    assert patched({"a": {"y": 1}}, patch) == {"a": {"y": 1}, "b": {"y": 1, "x": 2}}


def test_copies_of_copies_are_stopped() -> None:
    """Forty doublings of ten characters would be ten terabytes."""
    patch = [op("copy", "/a/-", source="/a") for _ in range(40)]
    with pytest.raises(Invalid) as refused:
        patched({"a": ["0123456789"]}, patch)
    assert refused.value.issues[0].code == "too-costly"


def test_a_long_text_copied_often_is_stopped() -> None:
    """A thousand copies of a megabyte."""
    patch = [op("copy", f"/b{number}", source="/a") for number in range(1000)]
    with pytest.raises(Invalid):
        patched({"a": "x" * 1_000_000}, patch)


def test_nesting_by_copies_and_moves_is_stopped() -> None:
    """Each copy of the root into its own depth doubles the depth."""
    patch: list[Any] = []
    path = "/a"
    for _ in range(12):
        patch.append(op("copy", path, source=""))
        path += path
    with pytest.raises(Invalid):
        patched({"a": {}}, patch)
    steps = [op("add", "/b", value={}), op("move", "/b/a", source="/a"), op("move", "/a", source="/b")] * 300
    with pytest.raises(Invalid):
        patched({"a": {}}, steps)


def test_a_patch_of_more_than_a_thousand_operations_is_refused() -> None:
    """And one of a thousand is not."""
    assert patched({"a": 1}, [op("test", "/a", value=1)] * 1000) == {"a": 1}
    with pytest.raises(Invalid):
        patched({"a": 1}, [op("test", "/a", value=1)] * 1001)


# Random documents, random patches

NAMES = st.sampled_from(["a", "b", "/", "~", "", "0", "-", "é"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "0"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
POINTERS = st.lists(NAMES | st.sampled_from(["1", "2", "01"]), max_size=3).map(
    lambda steps: "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
)
OPERATIONS = st.one_of(
    st.builds(op, st.sampled_from(["add", "replace", "test"]), POINTERS, value=VALUES),
    st.builds(op, st.just("remove"), POINTERS),
    st.builds(op, st.sampled_from(["move", "copy"]), POINTERS, source=POINTERS),
)


@settings(max_examples=150)
@given(DOCUMENTS, DOCUMENTS)
def test_applying_the_difference_gives_the_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    """apply ∘ diff, in both directions."""
    assert _same(patched(one, difference("", one, other)), other)
    assert _same(patched(other, difference("", other, one)), one)


@settings(max_examples=200)
@given(DOCUMENTS, st.lists(OPERATIONS, max_size=4))
def test_it_agrees_with_a_naive_implementation(document: dict[str, Any], patch: list[dict[str, Any]]) -> None:
    """One that copies the whole document at each step and follows the text of the RFC."""
    try:
        expected = naive(document, patch)
    except LookupError:
        with pytest.raises(Invalid):
            patched(document, patch)
    else:
        assert _same(patched(document, patch), expected)


def difference(path: str, one: Any, other: Any) -> list[dict[str, Any]]:
    """Operations that make `other` of `one`."""
    if isinstance(one, dict) and isinstance(other, dict):
        at = {name: f"{path}/{name.replace('~', '~0').replace('/', '~1')}" for name in {**one, **other}}
        gone = [op("remove", at[name]) for name in one if name not in other]
        kept = [each for name in one if name in other for each in difference(at[name], one[name], other[name])]
        return gone + kept + [op("add", at[name], value=other[name]) for name in other if name not in one]
    if isinstance(one, list) and isinstance(other, list):
        shared = min(len(one), len(other))
        kept = [each for i in range(shared) for each in difference(f"{path}/{i}", one[i], other[i])]
        gone = [op("remove", f"{path}/{shared}") for _ in one[shared:]]
        return kept + gone + [op("add", f"{path}/-", value=each) for each in other[shared:]]
    return [] if _same(one, other) else [op("replace", path, value=other)]


def naive(document: Any, patch: list[dict[str, Any]]) -> Any:
    """RFC 6902 step by step; LookupError for what does not fit."""
    for operation in patch:
        document = deepcopy(document)
        path, name = _steps(operation["path"]), operation["op"]
        if name == "test":
            if not _same(_get(document, path), operation["value"]):
                raise LookupError
        elif name == "add":
            document = _add(document, path, operation["value"])
        elif name == "remove":
            document = _remove(document, path)
        elif name == "replace":
            _get(document, path)
            document = operation["value"] if not path else _add(_remove(document, path), path, operation["value"])
        else:
            source = _steps(operation["from"])
            value = deepcopy(_get(document, source))
            if name == "move" and path[: len(source)] == source and path != source:
                raise LookupError
            if name == "move" and path != source:
                document = _remove(document, source)
            document = document if name == "move" and path == source else _add(document, path, value)
    return document


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _index(step: str, below: int) -> int:
    if not step.isascii() or not step.isdigit() or str(int(step)) != step or int(step) >= below:
        raise LookupError
    return int(step)


def _get(document: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(document, dict):
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(step, len(document))]
        else:
            raise LookupError
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    owner = _get(document, path[:-1])
    if isinstance(owner, dict):
        owner[path[-1]] = value
    elif isinstance(owner, list):
        owner.insert(len(owner) if path[-1] == "-" else _index(path[-1], len(owner) + 1), value)
    else:
        raise LookupError
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise LookupError
    _get(document, path)
    owner = _get(document, path[:-1])
    del owner[path[-1] if isinstance(owner, dict) else int(path[-1])]
    return document


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: the text tells true from 1."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
