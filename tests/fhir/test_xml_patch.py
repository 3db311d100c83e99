"""XML Patch: the cases of HL7, what is refused, and that a resource comes out as one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhir_server.errors import FhirServerError, Invalid, Malformed
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.patch.xml_patch import apply, patched

R4 = load_definitions()
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "text": {"status": "generated", "div": f"{DIV}<p>One <b>two</b> three</p><p>Four</p></div>"},
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    "active": True,
    "name": [{"id": "n1", "family": "A", "given": ["B", "C"]}],
    "birthDate": "1970-01-01",
}


def change(*operations: str, root: str = 'patch xmlns="http://hl7.org/fhir"') -> Any:
    """The patient after a patch."""
    patch = f"<{root}>{''.join(operations)}</{root.split()[0]}>"
    return orjson.loads(apply(orjson.dumps(PATIENT), patch.encode(), R4))


def canonical(root: etree._Element) -> bytes:
    """The document without white space between elements, in one spelling."""
    for element in root.iter():
        if element.text and not element.text.strip():
            element.text = None
        if element.tail and not element.tail.strip():
            element.tail = None
    return etree.tostring(root, method="c14n", with_comments=True)


@pytest.mark.shared_data
def test_the_cases_of_hl7(shared_data: Path) -> None:
    """Each case gives its document, or the refusal it asks for."""
    cases = etree.parse(str(shared_data / "fhir-test-cases/r4/patch/xml-patch-tests.xml")).getroot().findall("case")
    assert len(cases) == 29
    wrong = []
    for case in cases:
        inner = case.find("target")[0:1]
        document = etree.tostring(inner[0], with_tail=False) if inner else b""
        patch = etree.tostring(case.find("{http://hl7.org/fhir}patch"), with_tail=False)
        expected = case.find("patched")
        try:
            result = canonical(patched(document, patch))
        except FhirServerError as error:
            result = error
        if expected is None:
            right = isinstance(result, FhirServerError)
        else:
            right = result == canonical(etree.fromstring(etree.tostring(expected[0], with_tail=False)))
        if not right:
            wrong.append((case.get("name"), result))
    assert not wrong


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ('<replace sel="/Patient/birthDate/@value">1980</replace>', {"birthDate": "1980"}),
        ('<replace sel="Patient/active/@value">false</replace>', {"active": False}),
        ('<remove sel="Patient/active"/>', {"active": None}),
        ('<remove sel="Patient/active" ws="both"/>', {"active": None}),
        ('<add sel="Patient"><gender value="male"/></add>', {"gender": "male"}),
        ('<add sel="Patient" pos="prepend"><gender value="male"/></add>', {"gender": "male"}),
        ('<add sel="Patient/birthDate" type="@id">b</add>', {"_birthDate": {"id": "b"}}),
        (
            '<add sel="Patient/name/given[1]" pos="before"><given value="X"/></add>',
            {"name": [{"id": "n1", "family": "A", "given": ["X", "B", "C"]}]},
        ),
        (
            "<add sel='Patient/name[@id=\"n1\"]/given[@value=\"B\"]' pos='after'>"
            "\n <given value='X'/>\n <given value='Y'/></add>",
            {"name": [{"id": "n1", "family": "A", "given": ["B", "X", "Y", "C"]}]},
        ),
        ('<remove sel="Patient/name/given[2]"/>', {"name": [{"id": "n1", "family": "A", "given": ["B"]}]}),
        ('<remove sel="Patient/name/@id"/>', {"name": [{"family": "A", "given": ["B", "C"]}]}),
        ("<remove sel=\"Patient/identifier[system/@value='urn:a']\"/>", {"identifier": [PATIENT["identifier"][1]]}),
        ("<remove sel=\"Patient/*[value/@value='2']\"/>", {"identifier": [PATIENT["identifier"][0]]}),
        (
            '<replace sel="Patient/identifier[2]"><identifier><value value="3"/></identifier></replace>',
            {"identifier": [PATIENT["identifier"][0], {"value": "3"}]},
        ),
        (
            '<replace sel="Patient/text/h:div/h:p[1]/h:b/text()">2</replace>',
            {"text": {"status": "generated", "div": f"{DIV}<p>One <b>2</b> three</p><p>Four</p></div>"}},
        ),
        (
            '<remove sel="Patient/text/h:div/h:p[1]/h:b"/>',
            {"text": {"status": "generated", "div": f"{DIV}<p>One  three</p><p>Four</p></div>"}},
        ),
        (
            "<remove sel=\"Patient/text/h:div/h:p[.='Four']\"/>",
            {"text": {"status": "generated", "div": f"{DIV}<p>One <b>two</b> three</p></div>"}},
        ),
        (
            "<replace sel=\"Patient/text/h:div/h:p[h:b='two']/text()[2]\"> drei</replace>",
            {"text": {"status": "generated", "div": f"{DIV}<p>One <b>two</b> drei</p><p>Four</p></div>"}},
        ),
        (
            '<add sel="Patient/text/h:div/h:p[1]/text()[2]" pos="before"><i xmlns="http://www.w3.org/1999/xhtml">and</i></add>',
            {"text": {"status": "generated", "div": f"{DIV}<p>One <b>two</b><i>and</i> three</p><p>Four</p></div>"}},
        ),
        (
            '<add sel="Patient/text/h:div" pos="prepend">Zero <br xmlns="http://www.w3.org/1999/xhtml"/></add>',
            {"text": {"status": "generated", "div": f"{DIV}Zero <br/><p>One <b>two</b> three</p><p>Four</p></div>"}},
        ),
    ],
)
def test_an_operation_changes_what_its_selector_leads_to(operation: str, expected: dict[str, Any]) -> None:
    """And nothing else."""
    whole = {key: value for key, value in {**PATIENT, **expected}.items() if value is not None}
    assert change(operation) == whole


@pytest.mark.parametrize(
    "root",
    [
        'patch xmlns="http://hl7.org/fhir"',
        'diff xmlns:f="http://hl7.org/fhir"',
        'p:patch xmlns:p="urn:ietf:rfc:7351"',
    ],
)
def test_a_patch_is_known_by_the_name_of_its_root(root: str) -> None:
    """Names without prefix are of FHIR unless the patch says otherwise; `f` is its usual prefix."""
    prefix = root.partition("patch")[0] if root.startswith("p:") else ""
    operation = f'<{prefix}replace sel="f:Patient/birthDate/@value">1980</{prefix}replace>'
    assert change(operation, root=root)["birthDate"] == "1980"


def test_operations_follow_one_another() -> None:
    """Each on what the one before has left."""
    changed = change(
        '<remove sel="Patient/identifier[1]"/>',
        '<replace sel="Patient/identifier[1]/value/@value">9</replace>',
        '<add sel="Patient/identifier[1]" pos="after"><identifier><value value="10"/></identifier></add>',
    )
    assert changed["identifier"] == [{"system": "urn:b", "value": "9"}, {"value": "10"}]


@pytest.mark.parametrize(
    "operation",
    [
        '<remove sel="Patient/gender"/>',
        '<remove sel="Patient/name/given"/>',
        '<remove sel="Patient"/>',
        '<replace sel="Patient"><Patient/></replace>',
        '<add sel="Patient" pos="after"><Patient/></add>',
        '<add sel="Patient/birthDate/@value" pos="before">x</add>',
        '<add sel="Patient/birthDate/@value">x</add>',
        '<add sel="Patient/birthDate" type="@value">1980</add>',
        '<add sel="Patient"><foo/></add>',
        '<add sel="Patient">text</add>',
        '<add sel="Patient"><birthDate value="1980"/></add>',
        '<add sel="Patient"><gender xmlns="urn:x" value="male"/></add>',
        '<remove sel="Patient/birthDate/@value"/>',
        '<replace sel="Patient/active/@value">yes</replace>',
    ],
)
def test_what_does_not_fit_the_resource_is_invalid(operation: str) -> None:
    """422: several nodes or none, the root, what R4 does not know."""
    with pytest.raises(Invalid):
        change(operation)


@pytest.mark.parametrize(
    "operation",
    [
        "",
        "<move sel='Patient/active'/>",
        "<add/>",
        "<remove/>",
        '<remove sel="Patient/active" pos="before"/>',
        '<add sel="Patient" pos="inside"><gender value="male"/></add>',
        '<add sel="Patient" type="gender">male</add>',
        '<add sel="Patient" type="namespace::1">urn:x</add>',
        '<add sel="Patient" type="@x:y">male</add>',
        '<add sel="Patient" type="@y"><a/></add>',
        '<replace sel="Patient/active">true</replace>',
        '<replace sel="Patient/active"><!-- a --></replace>',
        '<replace sel="Patient/active"><active value="true"/><active value="true"/></replace>',
        '<replace sel="Patient/active/@value"><active/></replace>',
        *(
            f'<remove sel="{selector}"/>'
            for selector in (
                "//active",
                "/",
                "Patient/",
                "Patient//active",
                "Patient/active | Patient/name",
                "Patient/child::active",
                "Patient/name[last()]",
                "Patient/name[position()=1]",
                "Patient/name[1 or 1]",
                "Patient/../Patient",
                "Patient/active/@value/x",
                "Patient/text()/x",
                "Patient/text()[.='a']",
                "@value",
                "text()",
                "id('n1')",
                "document('file:///etc/hostname')",
                "Patient/x:active",
                "Patient/active[@x:y='1']",
                "Patient/" + "a/" * 600 + "b",
            )
        ),
    ],
)
def test_what_is_no_patch_is_malformed(operation: str) -> None:
    """400: other operations, other XPath than RFC 5261 has."""
    with pytest.raises(Malformed):
        change(operation)


@pytest.mark.parametrize("patch", [b"", b"{}", b'<Patient xmlns="http://hl7.org/fhir"/>', b"<!DOCTYPE a><patch/>"])
def test_other_bytes_are_no_patch(patch: bytes) -> None:
    """400."""
    with pytest.raises(Malformed):
        apply(orjson.dumps(PATIENT), patch, R4)


def test_the_operation_that_failed_is_named() -> None:
    """By its place in the patch; the resource is not quoted."""
    with pytest.raises(Invalid) as error:
        change('<remove sel="Patient/active"/>', '<remove sel="Patient/active"/>')
    assert error.value.issues[0].expression == "patch[1]"


def test_the_work_of_a_patch_is_bounded() -> None:
    """Operations are counted, and the nodes that selectors look at."""
    with pytest.raises(Invalid) as error:
        change(*['<add sel="Patient"/>'] * 1_001)
    assert error.value.issues[0].code == "too-costly"
    many = {**PATIENT, "identifier": [{"id": "x"}, *({"value": str(number)} for number in range(2_000))]}
    for selector in ("Patient/identifier[@id='x']", "Patient[identifier/@id='x']"):
        operations = f'<add sel="{selector}"/>' * 400
        with pytest.raises(Invalid) as error:
            apply(orjson.dumps(many), f'<patch xmlns="http://hl7.org/fhir">{operations}</patch>'.encode(), R4)
        assert error.value.issues[0].code == "too-costly"


def test_decimals_and_narratives_stay_as_they_are() -> None:
    """What a patch does not touch says the same after it."""
    body = b'{"resourceType":"Observation","status":"final","valueQuantity":{"value":1.00}}'
    patch = b'<patch xmlns="http://hl7.org/fhir"><replace sel="Observation/status/@value">amended</replace></patch>'
    assert apply(body, patch, R4) == body.replace(b"final", b"amended")


SELECTORS = st.text(st.sampled_from("/@*[]()='\".1:ft "), max_size=6) | st.sampled_from(
    ["Patient", "f:Patient/", "name", "/given", "[1]", "text()", "comment()", "@value", "[.='a']", "h:div/"]
)


@given(
    st.lists(SELECTORS, max_size=5), st.sampled_from(["add", "replace", "remove"]), st.sampled_from(["", "<a/>", "x"])
)
def test_no_selector_breaks_the_patch(pieces: list[str], name: str, content: str) -> None:
    """An error of ours, or a resource."""
    patch = f'<patch xmlns="http://hl7.org/fhir"><{name} sel={quoteattr("".join(pieces))}>{content}</{name}></patch>'
    with contextlib.suppress(FhirServerError):
        apply(orjson.dumps(PATIENT), patch.encode(), R4)
