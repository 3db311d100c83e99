"""Whatever is broken in a valid resource is found, and whatever is sent is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Issue
from fhir_server.fhir.definitions import Definitions
from fhir_server.validation.validator import Validator
from tests.validation.samples import SAMPLES

Place = tuple[Any, Any]
"""(container, key or index)"""


def places(container: Any) -> Iterator[Place]:
    """Every place in the JSON."""
    for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
        yield container, key
        if isinstance(value, dict | list):
            yield from places(value)


def remove(place: Place) -> None:
    """Take the value out."""
    del place[0][place[1]]


def rename(place: Place) -> None:
    """Give an element a name R4 does not have."""
    container, key = place
    if isinstance(container, dict):
        container[f"{key}Zz"] = container.pop(key)
    else:
        container[key] = {"zz": 1}


def another_type(place: Place) -> None:
    """Put another JSON type in its place."""
    container, key = place
    value = container[key]
    if isinstance(value, dict):
        container[key] = "x"
    elif isinstance(value, list):
        container[key] = value[0]
    elif isinstance(value, bool):
        container[key] = "true"
    else:
        container[key] = {"zz": value}


def wrapped(place: Place) -> None:
    """Put an array around it."""
    container, key = place
    container[key] = [container[key]]


def put(value: Any) -> Callable[[Place], None]:
    """Put this in its place."""

    def mutation(place: Place) -> None:
        place[0][place[1]] = value

    return mutation


ALWAYS_WRONG: dict[str, Callable[[Place], None]] = {
    "renamed": rename,
    "of another type": another_type,
    "in an array": wrapped,
    "null": put(None),
    "an empty object": put({}),
    "an empty array": put([]),
    "an empty string": put(""),
    "white space": put(" \n"),
}


def copy(resource: dict[str, Any]) -> dict[str, Any]:
    """A deep copy, by JSON."""
    copied: dict[str, Any] = orjson.loads(orjson.dumps(resource))
    return copied


def is_harmless(place: Place, what: str) -> bool:
    """Null where null already stands in an array with a companion."""
    return what == "null" and place[0][place[1]] is None


@pytest.mark.parametrize("what", sorted(ALWAYS_WRONG))
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["resourceType"])
def test_any_damage_to_a_valid_resource_is_found(validator: Validator, sample: dict[str, Any], what: str) -> None:
    """Renamed, retyped, nulled, emptied: at every place there is, there is an issue."""
    for index in range(len(list(places(sample)))):
        resource = copy(sample)
        place = list(places(resource))[index]
        if not is_harmless(place, what):
            ALWAYS_WRONG[what](place)
            assert validator.validate(resource), place


def elements(
    definitions: Definitions, value: dict[str, Any], type_name: str
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(object, property, type of the object) of every element in the JSON."""
    properties = definitions.type(type_name).properties
    for name, child in value.items():
        if name not in properties:
            continue
        yield value, name, type_name
        child_type = properties[name][1]
        for item in child if isinstance(child, list) else [child]:
            if isinstance(item, dict):
                yield from elements(definitions, item, item.get("resourceType", child_type))


def test_any_required_element_that_is_missing_is_named(validator: Validator, definitions: Definitions) -> None:
    """Each required element of each sample, taken out, is one issue with its name."""
    tried = 0
    for sample in SAMPLES:
        for index in range(len(list(elements(definitions, sample, sample["resourceType"])))):
            resource = copy(sample)
            owner, name, type_name = list(elements(definitions, resource, resource["resourceType"]))[index]
            element = definitions.type(type_name).properties[name][0]
            if element.min and "_" + name not in owner:
                remove((owner, name))
                issues = validator.validate(resource)
                assert [i for i in issues if i.code == "required" and i.expression.endswith("." + element.name)]
                tried += 1
    assert tried > 20


def test_any_second_type_of_a_choice_is_named(validator: Validator, definitions: Definitions) -> None:
    """Each choice of each sample, given again as another type, is one issue with its name."""
    tried = 0
    for sample in SAMPLES:
        for index in range(len(list(elements(definitions, sample, sample["resourceType"])))):
            resource = copy(sample)
            owner, name, type_name = list(elements(definitions, resource, resource["resourceType"]))[index]
            element = definitions.type(type_name).properties[name][0]
            others = [other for other in element.json_names if other != name] if element.choice else []
            for other in others[:3]:
                owner[other] = "x"
                issues = validator.validate(resource)
                del owner[other]
                assert [i for i in issues if "one is given at most" in i.text and i.expression.endswith(element.name)]
                tried += 1
    assert tried > 20


SECRET = "Dupond-1850578006048"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(SECRET)
KEYS = st.text(max_size=8) | st.just(f"{SECRET} x")
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def assert_told(issues: list[Issue], root: str) -> None:
    """Every issue is an error, says something, is placed in the resource, and holds no value of it."""
    for issue in issues:
        assert issue.severity == "error"
        assert issue.text
        assert issue.expression.startswith(root)
        assert SECRET not in issue.text + issue.expression


@given(JSON)
def test_arbitrary_json_is_answered(validator: Validator, value: Any) -> None:
    """No JSON makes the validator raise."""
    assert_told(validator.validate(value), "")


@given(st.data(), JSON)
def test_arbitrary_json_inside_a_resource_is_answered_without_repeating_it(
    validator: Validator, data: st.DataObject, value: Any
) -> None:
    """Wherever it is grafted; no issue repeats a value, nor a key that is no name."""
    resource = copy(data.draw(st.sampled_from(SAMPLES)))
    container, key = data.draw(st.sampled_from(list(places(resource))))
    container[key] = value
    known = isinstance(resource.get("resourceType"), str) and key != "resourceType"
    assert_told(validator.validate(resource), resource["resourceType"] if known else "")


@given(st.sampled_from(SAMPLES))
def test_validating_changes_nothing(validator: Validator, sample: dict[str, Any]) -> None:
    """The resource is as it was."""
    resource = copy(sample)
    validator.validate(resource)
    assert resource == sample
