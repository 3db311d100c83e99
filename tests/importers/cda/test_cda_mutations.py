"""However a document is damaged, it is refused with one of our errors or converted for the subject that was asked for.

Nodes are dropped, doubled, moved, renamed, their attributes and texts corrupted; bytes are cut and overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fhir_server.errors import FhirServerError, Issue
from importers.cda.document import Conversion, convert, read
from importers.cda.patient import compare, verify
from importers.limits import Limits
from importers.xml import parse

SUBJECT = "Patient/p1"
IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
PATIENTS = {"277076322082910", "124018852493334"}
# An INS the documents give to guardian or legalAuthenticator, never to their patient.
STRANGERS = {"level1": "279035121518989", "level3": "277076322082910"}
# What R4 gives no patient.
WITHOUT_PATIENT = {"Medication", "Binary"}

Result = TypeVar("Result")
Mutation = tuple[str, int, int, str]
junk = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(["", " ", "0", "99999999999999999999", "1.2.3", "20231301", "NA", "\u00a0", "urn:oid:", "<&>"]),
)
operations = st.sampled_from(["drop", "double", "move", "rename", "attribute", "lose", "text", "nullify", "wrap"])
mutations = st.lists(st.tuples(operations, st.integers(0, 5000), st.integers(0, 5000), junk), min_size=1, max_size=6)


def mutate(root: etree._Element, mutation: Mutation) -> None:
    """Damage one node of a tree; the root stays."""
    name, first, second, text = mutation
    nodes = list(root.iterdescendants())
    node, other = nodes[first % len(nodes)], nodes[second % len(nodes)]
    parent = node.getparent()
    assert parent is not None
    keys = sorted(node.attrib)
    if name == "drop":
        parent.remove(node)
    elif name == "double":
        parent.insert(0, deepcopy(node))
    elif name == "move" and node not in other.iterancestors() and node is not other:
        other.append(node)
    elif name == "rename":
        node.tag = other.tag
    elif name == "attribute" and keys:
        node.set(keys[second % len(keys)], text)
    elif name == "lose" and keys:
        del node.attrib[keys[second % len(keys)]]
    elif name == "text":
        node.text = text
    elif name == "nullify":
        node.set("nullFlavor", "UNK")
    elif name == "wrap":
        wrapper = etree.SubElement(parent, other.tag)
        wrapper.append(node)


def attempt(call: Callable[[], Result]) -> tuple[Result | None, tuple[Issue, ...]]:
    """The result of a call, or the issues it was refused with; any other exception fails the test."""
    try:
        return call(), ()
    except FhirServerError as refused:
        return None, refused.issues


def outcome(document: bytes) -> Conversion | None:
    """The conversion of a document, or None if it was refused."""
    parsed, issues = attempt(lambda: read(document))
    assert all(each.coding and each.text for each in issues)
    if parsed is None:
        return None
    verified, issues = attempt(lambda: verify(parsed.identity))
    assert {each.coding[1] for each in issues if each.coding} <= {"903", "905", "906"}
    if verified is not None:
        assert compare(parsed.identity, parsed.identity.patient) == []
        assert verified.ins.value not in repr(parsed.notes)
    return convert(parsed, subject=SUBJECT, imported_at=IMPORTED_AT)


def assert_sound(found: Conversion, document: bytes, is_r4: Callable[[dict[str, Any]], None]) -> None:
    """The subject is the one asked for, the bytes are the ones given, everything is R4, every entry is counted."""
    assert found.document_reference["subject"] == {"reference": SUBJECT}
    for resource in (*found.discrete, *([found.composition] if found.composition else [])):
        about = {resource[name]["reference"] for name in ("subject", "patient") if name in resource}
        assert about == {SUBJECT} or resource["resourceType"] in WITHOUT_PATIENT
    assert found.attachments[0].data == document
    counts = found.report.entries
    assert counts.total == counts.mapped + counts.narrative_only + counts.failed == len(found.report.outcomes)
    assert counts.failed == 0 or "entry-failed" in {each.coding[1] for each in found.report.issues if each.coding}
    for resource in found.resources:
        is_r4(resource)


@pytest.mark.parametrize("name", ["level1", "level3", "wrapped", "synthesis"])
def test_a_damaged_tree_is_refused_or_sound(
    name: str, request: pytest.FixtureRequest, is_r4: Callable[[dict[str, Any]], None]
) -> None:
    """Up to six damages at once, anywhere."""
    original = request.getfixturevalue(name)

    @settings(max_examples=150)
    @given(mutations)
    def damaged(changes: list[Mutation]) -> None:
        root = parse(original, Limits())
        for change in changes:
            if len(root):
                mutate(root, change)
        document = etree.tostring(root, encoding="utf-8")
        found = outcome(document)
        if found is not None:
            assert_sound(found, document, is_r4)

    damaged()


@pytest.mark.parametrize("name", ["level1", "level3"])
def test_one_damage_never_makes_another_person_the_patient(name: str, request: pytest.FixtureRequest) -> None:
    """Every node dropped, nullified and renamed to each sibling name: nobody else's INS is ever the patient's."""
    original = request.getfixturevalue(name)
    root = parse(original, Limits())
    names = sorted({str(each.tag) for each in root.iter()})
    nodes = sum(1 for _ in root.iterdescendants())
    changes: list[Callable[[etree._Element], None]] = [
        *(partial(mutate, mutation=("drop", index, 0, "")) for index in range(nodes)),
        *(partial(mutate, mutation=("nullify", index, 0, "")) for index in range(nodes)),
        *(partial(_rename, index=index, name=names[(index * 7) % len(names)]) for index in range(nodes)),
    ]
    for change in changes:
        damaged = deepcopy(root)
        change(damaged)
        parsed, _ = attempt(partial(read, etree.tostring(damaged)))
        values = {each.value for each in parsed.identity.ins} if parsed else set()
        assert values <= PATIENTS - {STRANGERS[name]}


def _rename(root: etree._Element, index: int, name: str) -> None:
    list(root.iterdescendants())[index].tag = name


@pytest.mark.parametrize("name", ["level1", "level3"])
def test_damaged_bytes_are_refused_or_sound(
    name: str, request: pytest.FixtureRequest, is_r4: Callable[[dict[str, Any]], None]
) -> None:
    """A slice overwritten with anything."""
    original = request.getfixturevalue(name)

    @settings(max_examples=150)
    @given(st.integers(0, len(original)), st.integers(0, 40), st.binary(max_size=12))
    def damaged(start: int, length: int, noise: bytes) -> None:
        document = original[:start] + noise + original[start + length :]
        found = outcome(document)
        if found is not None:
            assert_sound(found, document, is_r4)

    damaged()


def test_a_stranger_who_is_put_in_the_place_of_the_patient_does_not_match(level1: bytes) -> None:
    """Whoever swaps the INS is stopped by the traits: 904 by the caller."""
    swapped = read(level1.replace(b"277076322082910", b"124018852493334")).identity
    assert compare(swapped, read(level1).identity.patient) == []
    other = {"resourceType": "Patient", "gender": "male", "birthDate": "2024-01-15"}
    assert compare(swapped, other) == ["birth_family", "first_given", "birth_date", "sex"]
