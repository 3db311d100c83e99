"""XML and JSON of FHIR say the same: both ways, digit for digit, and nothing that is not FHIR gets through."""

from __future__ import annotations

import contextlib
import json
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhir_server.errors import FhirServerError, Malformed, TooLarge, UnsupportedMediaType
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.json import MAX_DEPTH, MAX_PARTS
from fhir_server.fhir.xml.read import to_json
from fhir_server.fhir.xml.write import to_xml

R4 = load_definitions()
NUMBERS_AS_WRITTEN = msgspec.json.Decoder(float_hook=lambda text: ("number", text))
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def fhir(inner: str, type_: str = "Patient") -> bytes:
    """A resource in XML."""
    return f'<{type_} xmlns="http://hl7.org/fhir">{inner}</{type_}>'.encode()


def read(inner: str, type_: str = "Patient") -> Any:
    """What JSON says of a resource in XML, without its type."""
    value = orjson.loads(to_json(fhir(inner, type_), R4))
    assert value.pop("resourceType") == type_
    return value


def meaning(value: Any) -> Any:
    """The value with narratives in one spelling."""
    if isinstance(value, dict):
        return {
            key: etree.tostring(etree.fromstring(each), method="c14n", exclusive=True)
            if key == "div" and isinstance(each, str)
            else meaning(each)
            for key, each in value.items()
        }
    return [meaning(each) for each in value] if isinstance(value, list) else value


def assert_same(first: bytes, second: bytes) -> None:
    """Two resources in JSON say the same, with the same digits."""
    one, other = NUMBERS_AS_WRITTEN.decode(first), NUMBERS_AS_WRITTEN.decode(second)
    assert one == other or meaning(one) == meaning(other)


@pytest.mark.r4_package
def test_examples_of_every_type_come_back_from_xml(r4_package: Path) -> None:
    """Up to three of each type, and each twentieth of the 5,306."""
    paths = sorted(r4_package.glob("*-*.json"))
    by_type = groupby(paths, lambda path: path.name.split("-")[0])
    chosen = {*chain.from_iterable(islice(few, 3) for _, few in by_type), *paths[::20]}
    assert len(chosen) > 500
    for path in chosen:
        body = path.read_bytes()
        assert_same(to_json(to_xml(body, R4), R4), body)


@pytest.mark.shared_data
def test_files_of_hl7_come_back_from_json(shared_data: Path) -> None:
    """Real XML, comments and all: read, written, read; and in the order of R4 then."""
    paths = sorted((shared_data / "fhir-test-cases" / "r4").glob("*.xml"))
    assert len(paths) >= 7
    for path in paths:
        first = to_json(path.read_bytes(), R4)
        written = to_xml(first, R4)
        assert_same(to_json(written, R4), first)
        assert sorted(spelled(path.read_bytes())) == sorted(spelled(written))


def spelled(xml: bytes) -> list[str]:
    """Each element of FHIR with the way to it and its attributes."""
    root = etree.fromstring(xml, etree.XMLParser(remove_comments=True))
    return [
        "/".join([*(each.tag for each in reversed(list(element.iterancestors()))), element.tag])
        + str(sorted(item for item in element.items() if not item[0].startswith("{")))
        for element in root.iter("{http://hl7.org/fhir}*")
    ]


@pytest.mark.r4_package
@pytest.mark.parametrize("name", ["Patient-example", "Observation-f001", "Bundle-bundle-example", "Condition-f204"])
def test_another_implementation_reads_what_is_written(r4_package: Path, name: str) -> None:
    """fhir.resources takes the XML, the order of its elements included, and finds the JSON in it."""
    from fhir.resources.R4B import get_fhir_model_class

    body = (r4_package / f"{name}.json").read_bytes()
    model = get_fhir_model_class(name.split("-")[0])
    theirs = model.model_validate_xml(to_xml(body, R4))
    assert_same(theirs.model_dump_json().encode(), model.model_validate_json(body).model_dump_json().encode())


@pytest.mark.parametrize(
    "number", ["1.00", "0.00000001", "-1E+2", "1e2", "100", "0", "-0.0", "12345678901234567890.10"]
)
def test_a_decimal_keeps_the_form_it_is_written_in(number: str) -> None:
    """Precision is part of the value (https://hl7.org/fhir/R4/datatypes.html#decimal)."""
    body = b'{"resourceType":"Observation","valueQuantity":{"value":%s}}' % number.encode()
    xml = to_xml(body, R4)
    assert f'<value value="{number}"/>'.encode() in xml
    assert to_json(xml, R4) == body


@pytest.mark.parametrize("text", ["a\tb\nc\rd", " a ", "\"<&>'", "é👩\u00a0", "a  b"])
def test_a_string_keeps_its_blanks_and_signs(text: str) -> None:
    """Attributes forget line ends that are not escaped."""
    body = orjson.dumps({"resourceType": "Patient", "language": text})
    assert to_json(to_xml(body, R4), R4) == body


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        ('<active value="true"/>', {"active": True}),
        ('<multipleBirthInteger value="+2"/>', {"multipleBirthInteger": 2}),
        ('<id value="a"/><active id="x" value="true"/>', {"id": "a", "active": True, "_active": {"id": "x"}}),
        (
            '<birthDate><extension url="u"><valueCode value="c"/></extension></birthDate>',
            {"_birthDate": {"extension": [{"url": "u", "valueCode": "c"}]}},
        ),
        (
            '<name id="n"><given value="a"/><given id="i"/><given value="b" id="j"/><given value="c"/></name>',
            {
                "name": [
                    {
                        "id": "n",
                        "given": ["a", None, "b", "c"],
                        "_given": [None, {"id": "i"}, {"id": "j"}, None],
                    }
                ]
            },
        ),
        ('<name><given id="i"/><given id="j"/></name>', {"name": [{"_given": [{"id": "i"}, {"id": "j"}]}]}),
        ('<name><family value="a"/></name><active value="true"/>', {"name": [{"family": "a"}], "active": True}),
        (
            '<contained><Patient><id value="c"/></Patient></contained>',
            {"contained": [{"resourceType": "Patient", "id": "c"}]},
        ),
        ("<!-- a --><?b c?><active value='true'><!-- d --></active>", {"active": True}),
        (
            f'<text><status value="empty"/>{DIV}<p>a &lt; b&#160;</p><td></td><br></br><!-- c --></div></text>',
            {"text": {"status": "empty", "div": f"{DIV}<p>a &lt; b\u00a0</p><td></td><br/><!-- c --></div>"}},
        ),
        (
            '<text xmlns:h="http://www.w3.org/1999/xhtml"><h:div id="a">b<h:p class="c">d</h:p></h:div>\n</text>',
            {"text": {"div": '<div xmlns="http://www.w3.org/1999/xhtml" id="a">b<p class="c">d</p></div>'}},
        ),
        ("", {}),
    ],
)
def test_xml_says_in_json(inner: str, value: Any) -> None:
    """Values, ids, extensions, contained resources, narratives."""
    assert read(inner) == value


def test_a_contained_questionnaire_and_an_extension_hold_themselves() -> None:
    """Types that refer to their own content: `contentReference` and Extension."""
    inner = '<item><linkId value="1"/><item><linkId value="1.1"/><item><linkId value="1.1.1"/></item></item></item>'
    assert read(inner, "Questionnaire") == {
        "item": [{"linkId": "1", "item": [{"linkId": "1.1", "item": [{"linkId": "1.1.1"}]}]}]
    }


def test_a_prefix_or_the_place_of_a_schema_does_not_matter() -> None:
    """Only namespaces do."""
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir fhir.xsd"'
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><f:Patient xmlns:f="http://hl7.org/fhir" {xsi}>'
    xml = f'{body}<f:active value="true"/></f:Patient>'.encode()
    assert to_json(xml, R4) == b'{"resourceType":"Patient","active":true}'


@pytest.mark.parametrize(
    ("xml", "place"),
    [
        (b"", None),
        (b"{}", None),
        (b"<Patient/>", "Patient"),
        (b'<Patient xmlns="urn:x"/>', "Patient"),
        (b'<Nothing xmlns="http://hl7.org/fhir"/>', None),
        (fhir("<foo/>"), "Patient.foo"),
        (b'<Patient xmlns="http://hl7.org/fhir" id="a"/>', "Patient.id"),
        (fhir('<name/><name xmlns="urn:x"/>'), "Patient.name[0]"),
        (fhir('<active value="true"/><name xmlns="urn:x"/>'), "Patient"),
        (fhir('<active value="1"/>'), "Patient.active"),
        (fhir('<active value="true"/><active value="true"/>'), "Patient.active"),
        (fhir('<active value="true"/><active value="no"/>'), "Patient.active"),
        (fhir('<active value="true"/><active id="a"/>'), "Patient.active"),
        (fhir('<active id="a"/><active value="true"/>'), "Patient.active"),
        (fhir("<active/>"), "Patient.active"),
        (fhir('<active value="true" other="a"/>'), "Patient.active.other"),
        (fhir('<active value="true"><foo/></active>'), "Patient.active.foo"),
        (fhir('<multipleBirthInteger value="1.0"/>'), "Patient.multipleBirth.ofType(integer)"),
        (fhir('<multipleBirthInteger value="١"/>'), "Patient.multipleBirth.ofType(integer)"),
        (
            fhir('<valueQuantity><value value="1,5"/></valueQuantity>', "Observation"),
            "Observation.value.ofType(Quantity).value",
        ),
        (
            fhir('<valueQuantity><value value="1e999"/></valueQuantity>', "Observation"),
            "Observation.value.ofType(Quantity).value",
        ),
        (fhir('<name><given value="a"/><given value="b"/><given/></name>'), "Patient.name[0].given[2]"),
        (fhir("<contained/>"), "Patient.contained[0]"),
        (fhir("<contained><Patient/><Patient/></contained>"), "Patient.contained[0]"),
        (fhir("<contained><Patient><foo/></Patient></contained>"), "Patient.contained[0].foo"),
        (fhir('<contained id="a"><Patient/></contained>'), "Patient.contained[0].id"),
        (fhir("<name>text</name>"), "Patient.name"),
        (fhir('<name><given value="a"/>text</name>'), "Patient.name"),
        (fhir("<contained><Patient><name>text</name></Patient></contained>"), "Patient.contained.name"),
        (fhir("<text><div>a</div></text>"), "Patient.text.div"),
        (fhir("<é/>"), "Patient"),
        (fhir("&nbsp;"), None),
        (b"<!DOCTYPE Patient>" + fhir(""), None),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + fhir('<id value="&b;"/>'), None),
        (fhir('<extension url="u">' * 70 + "</extension>" * 70), "Patient" + ".extension[0]" * 64),
        (fhir('<id value="a"/>').decode().encode("utf-16"), None),
    ],
)
def test_what_is_no_fhir_is_refused_with_its_place(xml: bytes, place: str | None) -> None:
    """A FHIRPath, as far as there is one."""
    with pytest.raises(Malformed) as error:
        to_json(xml, R4)
    assert error.value.issues[0].expression == (place or "")
    assert error.value.issues[0].text


def test_size_depth_and_encoding_are_bounded() -> None:
    """413 for a million tags, 400 for depth, 415 for what is not UTF-8."""
    with pytest.raises(TooLarge):
        to_json(b"<" * (MAX_PARTS + 1), R4)
    deep = '<extension url="u">' * 5_000
    with pytest.raises(Malformed):
        to_json(fhir(deep + "</extension>" * 5_000), R4)
    levels = (MAX_DEPTH - 1) // 2
    assert to_json(fhir('<extension url="u">' * levels + "</extension>" * levels), R4).count(b"[") == levels
    with pytest.raises(UnsupportedMediaType):
        to_json(b'<?xml version="1.0" encoding="ISO-8859-1"?>' + fhir(""), R4)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"resourceType":"Nothing"}', ""),
        (b'{"resourceType":[]}', ""),
        (b'{"resourceType":"Patient","foo":1}', "Patient.foo"),
        (b'{"resourceType":"Patient","_name":[]}', "Patient"),
        (b'{"resourceType":"Patient","name":{}}', "Patient.name"),
        (b'{"resourceType":"Patient","name":[{}]}', "Patient.name[0]"),
        (b'{"resourceType":"Patient","name":[{"given":["a",null]}]}', "Patient.name[0].given[1]"),
        (b'{"resourceType":"Patient","gender":{}}', "Patient.gender"),
        (b'{"resourceType":"Patient","_gender":[]}', "Patient.gender"),
        (b'{"resourceType":"Patient","gender":"a\\u0001"}', "Patient.gender"),
        (b'{"resourceType":"Patient","gender":"a\\ufffe"}', "Patient.gender"),
        (b'{"resourceType":"Patient","_gender":{"foo":1}}', "Patient.gender.foo"),
        (b'{"resourceType":"Patient","contained":[{}]}', "Patient.contained[0]"),
        (b'{"resourceType":"Patient","text":{"div":"<p/>"}}', "Patient.text.`div`"),
        (b'{"resourceType":"Patient","text":{"div":"<div>"}}', "Patient.text.`div`"),
        (b'{"resourceType":"Patient","a":' + b"[" * 5_000 + b"]" * 5_000 + b"}", ""),
    ],
)
def test_json_that_xml_cannot_say_is_refused_with_its_place(body: bytes, place: str) -> None:
    """Nothing is left out without a word."""
    with pytest.raises(Malformed) as error:
        to_xml(body, R4)
    assert error.value.issues[0].expression == place


def test_xml_can_be_indented_without_a_change() -> None:
    """Blanks between elements say nothing; a narrative keeps its own."""
    body = orjson.dumps(
        {
            "resourceType": "Patient",
            "text": {"status": "generated", "div": f"{DIV}<p>a</p> <p>b</p></div>"},
            "contained": [{"resourceType": "Patient", "id": "c"}],
            "name": [{"given": ["a"]}],
        }
    )
    pretty = to_xml(body, R4, pretty=True)
    assert to_json(pretty, R4) == body
    assert pretty.decode().splitlines()[1:] == [
        '<Patient xmlns="http://hl7.org/fhir">',
        "  <text>",
        '    <status value="generated"/>',
        f"    {DIV}<p>a</p> <p>b</p></div>",
        "  </text>",
        "  <contained>",
        "    <Patient>",
        '      <id value="c"/>',
        "    </Patient>",
        "  </contained>",
        "  <name>",
        '    <given value="a"/>',
        "  </name>",
        "</Patient>",
    ]


def test_members_are_written_in_the_order_of_r4() -> None:
    """Whatever their order in JSON; extensions before what a type has of its own."""
    body = b'{"birthDate":"1970","name":[{"family":"a"}],"id":"x","_birthDate":{"id":"b"},"resourceType":"Patient"}'
    assert to_xml(body, R4) == b'<?xml version="1.0" encoding="UTF-8"?>' + fhir(
        '<id value="x"/><name><family value="a"/></name><birthDate id="b" value="1970"/>'
    )


# --- resources of any kind -------------------------------------------------------------------------------------------

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters=[*map(chr, range(32)), "\ufffe", "\uffff"])
)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "decimal": st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(
        msgspec.Raw
    ),
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), st.integers(-(2**31), 2**31)),
}


@st.composite
def objects(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """An object of a type with some of its members, of the right shape and with any values."""
    definition = R4.type(name)
    made: dict[str, Any] = {"resourceType": name} if definition.kind == "resource" else {"id": draw(TEXTS)}
    choices = list(definition.elements.values())
    for element in draw(st.lists(st.sampled_from(choices), max_size=4, unique_by=lambda each: each.name)):
        key, type_name = draw(st.sampled_from(sorted(element.json_names.items())))
        if element.xml_attribute:
            made[key] = draw(TEXTS)
        elif type_name == "xhtml":
            made[key] = f"{DIV}<p>x</p></div>"
        elif type_name == "Resource" or not R4.type(type_name).is_primitive:
            if depth < 3:
                inner = objects("Basic" if type_name == "Resource" else type_name, depth + 1)
                made[key] = draw(st.lists(inner, min_size=1, max_size=2) if element.many else inner)
        else:
            made |= draw(primitives(key, type_name, element.many, depth))
    return made


@st.composite
def primitives(draw: st.DrawFn, key: str, type_name: str, many: bool, depth: int) -> dict[str, Any]:
    """The members of a primitive: value, companion, or both."""
    values = PRIMITIVES.get(type_name, TEXTS)
    beside = objects("Element", depth + 1) if depth < 3 else st.just({"id": "i"})
    pair = st.one_of(values.map(lambda v: (v, None)), beside.map(lambda b: (None, b)), st.tuples(values, beside))
    pairs = draw(st.lists(pair, min_size=1, max_size=3)) if many else [draw(pair)]
    columns = {key: [each[0] for each in pairs], "_" + key: [each[1] for each in pairs]}
    kept = {name: column for name, column in columns.items() if any(each is not None for each in column)}
    return kept if many else {name: column[0] for name, column in kept.items()}


@given(st.data())
def test_resources_of_any_type_come_back_from_xml(data: st.DataObject) -> None:
    """Generated from the definitions, values as odd as they can be."""
    name = data.draw(st.sampled_from(sorted(R4.resource_types)))
    body = msgspec.json.encode(data.draw(objects(name)))
    xml = to_xml(body, R4)
    assert NUMBERS_AS_WRITTEN.decode(to_json(xml, R4)) == NUMBERS_AS_WRITTEN.decode(body)
    assert to_json(to_xml(body, R4, pretty=True), R4) == to_json(xml, R4)


@given(st.binary())
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """An error of ours, or a resource."""
    with contextlib.suppress(FhirServerError):
        to_json(body, R4)


WHOLE = fhir(
    f'<id value="a"/><text><status value="empty"/>{DIV}<p>a</p></div></text><contained><Basic><code><text value="c"/>'
    '</code></Basic></contained><extension url="u"><valueDecimal value="1.50"/></extension><active value="true"/>'
    '<name><given value="x"/><given id="i"/></name><multipleBirthInteger value="2"/>'
).decode()
PIECES = [
    "<",
    ">",
    "/",
    '"',
    "=",
    "&#1;",
    "&#xD800;",
    "value",
    "-",
    "<!--",
    "-->",
    "<?a?>",
    "<![CDATA[x]]>",
    ' xmlns=""',
]
TAGS = ["<name/>", "<div/>", "<contained>", "</contained>", "<Patient>", ' value="1e999"', ' id=""', "\ufeff", "é"]


@given(st.integers(0, len(WHOLE)), st.integers(0, 40), st.lists(st.sampled_from(PIECES + TAGS), max_size=3))
def test_no_damage_breaks_the_reader(start: int, cut: int, pieces: list[str]) -> None:
    """A resource with a part of it gone or replaced is refused in words, or is one that can be written again."""
    damaged = WHOLE[:start] + "".join(pieces) + WHOLE[start + cut :]
    with contextlib.suppress(FhirServerError):
        body = to_json(damaged.encode(), R4)
        assert_same(to_json(to_xml(body, R4), R4), body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(
                st.sampled_from(
                    ["resourceType", "name", "_given", "given", "contained", "text", "div", "id", "extension", "url"]
                ),
                s,
            )
        ),
    )
)
def test_no_json_breaks_the_writer(value: Any) -> None:
    """An error of ours, or XML that is well-formed."""
    body = json.dumps({"resourceType": "Patient", **value} if isinstance(value, dict) else value).encode()
    with contextlib.suppress(FhirServerError):
        etree.fromstring(to_xml(body, R4))
