"""XML at the door: in and out for every interaction, refusals included; inside there is JSON only."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx
import pytest
from lxml import etree

from tests.conftest import Caller, House

F = "{http://hl7.org/fhir}"
XML = "application/fhir+xml"
OBSERVATION = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- written by hand -->
<Observation xmlns="http://hl7.org/fhir">
  <text>
    <status value="generated"/>
    <div xmlns="http://www.w3.org/1999/xhtml"><p>Poids : 70,00 kg</p></div>
  </text>
  <status value="final"/>
  <code><text value="Poids &amp; taille &quot;mesur&#233;s&quot;"/></code>
  <effectiveDateTime value="2024-02"><extension url="urn:x"><valueBoolean value="true"/></extension></effectiveDateTime>
  <valueQuantity id="q"><value value="70.00"/><unit value="kg"/></valueQuantity>
  <note><text value="un&#10;mot"/></note>
</Observation>"""


def tree(answer: httpx.Response) -> etree._Element:
    """The XML of an answer, which says that it is."""
    assert answer.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    return etree.fromstring(answer.content)


def value(root: etree._Element, path: str) -> str | None:
    """The value of an element of FHIR, by a path of names."""
    found = root.find("/".join(F + name for name in path.split("/")))
    return None if found is None else found.get("value")


def post(caller: Caller, url: str, body: bytes, kind: str = XML, **headers: str) -> httpx.Response:
    """A body in XML."""
    return caller.request("POST", url, content=body, headers={"Content-Type": kind, **headers})


@pytest.fixture(scope="module")
def observation(open_server: Caller) -> str:
    """The url of an Observation that was created in XML."""
    answer = post(open_server, "Observation", OBSERVATION)
    assert answer.status_code == 201, answer.text
    return "Observation/" + str(answer.json()["id"])


def test_what_was_sent_in_xml_reads_in_json(open_server: Caller, observation: str) -> None:
    """Every element, the decimal as written, comments gone."""
    read = json.loads(open_server.get(observation).content, parse_float=Decimal)
    assert read.pop("id") == observation.split("/")[1]
    assert read.pop("meta")["versionId"] == "1"
    assert str(read["valueQuantity"]["value"]) == "70.00"
    assert read == {
        "resourceType": "Observation",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Poids : 70,00 kg</p></div>',
        },
        "status": "final",
        "code": {"text": 'Poids & taille "mesurés"'},
        "effectiveDateTime": "2024-02",
        "_effectiveDateTime": {"extension": [{"url": "urn:x", "valueBoolean": True}]},
        "valueQuantity": {"id": "q", "value": Decimal("70.00"), "unit": "kg"},
        "note": [{"text": "un\nmot"}],
    }


def test_a_read_in_xml_says_the_same(open_server: Caller, observation: str) -> None:
    """Sent back, it makes the same resource."""
    answer = open_server.get(observation, Accept=XML)
    root = tree(answer)
    assert root.tag == F + "Observation"
    assert value(root, "valueQuantity/value") == "70.00"
    assert answer.headers["etag"] == 'W/"1"'
    again = post(open_server, "Observation", answer.content).json()
    given = open_server.get(observation).json()
    assert {k: v for k, v in again.items() if k not in ("id", "meta")} == {
        k: v for k, v in given.items() if k not in ("id", "meta")
    }


def test_head_says_how_long_the_xml_is(open_server: Caller, observation: str) -> None:
    """HEAD is GET without its body, in XML too."""
    head = open_server.request("HEAD", observation, headers={"Accept": XML})
    get = open_server.get(observation, Accept=XML)
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    ("accept", "xml"),
    [
        ("application/fhir+xml", True),
        ("application/xml", True),
        ("text/xml", True),
        ("application/fhir+xml; fhirVersion=4.0", True),
        ("application/xml;q=0.9, application/json", False),
        ("application/json;q=0.5, application/xml;q=0.8", True),
        ("application/fhir+xml, application/fhir+json", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/fhir+json;q=0, */*", True),
        ("application/fhir+xml; fhirVersion=5.0, application/fhir+json", False),
        ("application/*", False),
        ("*/*;q=0.1", False),
        ("application/fhir+xml;q=0, */*;q=0.5", False),
    ],
)
def test_accept_decides_with_its_weights(open_server: Caller, observation: str, accept: str, xml: bool) -> None:
    """The format liked best; JSON where both are liked alike."""
    kind = open_server.get(observation, Accept=accept).headers["content-type"]
    assert kind == f"application/fhir+{'xml' if xml else 'json'}; charset=utf-8"


@pytest.mark.parametrize(
    ("format_", "kind"),
    [
        ("xml", "xml"),
        ("text/xml", "xml"),
        ("application/xml", "xml"),
        ("application/fhir%2Bxml", "xml"),
        ("application/fhir+xml", "xml"),
        ("json", "json"),
        ("application/fhir%2Bjson;fhirVersion=4.0", "json"),
    ],
)
def test_the_parameter_wins_over_the_header(open_server: Caller, observation: str, format_: str, kind: str) -> None:
    """`_format` names what a browser cannot say in a header."""
    accept = "application/fhir+json" if kind == "xml" else "application/fhir+xml"
    answer = open_server.get(f"{observation}?_format={format_}", Accept=accept)
    assert answer.headers["content-type"] == f"application/fhir+{kind}; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "accept", "place"),
    [
        ("?_format=html", "*/*", "_format"),
        ("?_format=ttl", "application/fhir+xml", "_format"),
        ("", "text/plain", "Accept"),
        ("", "application/fhir+xml; fhirVersion=3.0", "Accept"),
        ("", "*/*;q=0", "Accept"),
    ],
)
def test_another_format_is_not_acceptable(
    open_server: Caller, observation: str, query: str, accept: str, place: str
) -> None:
    """406, in JSON, naming what asked for it."""
    answer = open_server.get(observation + query, Accept=accept)
    assert answer.status_code == 406
    assert answer.json()["issue"][0]["expression"] == [place]


def test_pretty_is_the_same_on_many_lines(open_server: Caller, observation: str) -> None:
    """`_pretty` for both formats; decimals and narratives stay as they are."""
    plain, pretty = open_server.get(observation), open_server.get(f"{observation}?_pretty=true")
    assert pretty.json() == plain.json()
    assert b'\n    "value": 70.00' in pretty.content
    assert int(pretty.headers["content-length"]) == len(pretty.content)
    xml = open_server.get(f"{observation}?_pretty=true", Accept=XML)
    assert b'\n  <status value="final"/>\n' in xml.content
    assert b"<p>Poids : 70,00 kg</p></div>" in xml.content
    assert value(tree(xml), "valueQuantity/value") == "70.00"


def test_a_search_answers_in_xml(open_server: Caller, observation: str) -> None:
    """By GET and by POST, where the form may hold `_format`."""
    id_ = observation.split("/")[1]
    for answer in (
        open_server.get(f"Observation?_id={id_}", Accept=XML),
        open_server.get(f"Observation?_id={id_}&_format=xml"),
        open_server.request("POST", "Observation/_search", data={"_id": id_}, headers={"Accept": XML}),
        open_server.request("POST", "Observation/_search", data={"_id": id_, "_format": "xml"}),
    ):
        root = tree(answer)
        assert root.tag == F + "Bundle"
        assert value(root, "type") == "searchset"
        assert value(root, "entry/resource/Observation/id") == id_


def test_a_transaction_in_xml(open_server: Caller) -> None:
    """Entries in, entries out; what was stored is JSON."""
    bundle = (
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry>'
        b'<fullUrl value="urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"/><resource><Device><manufacturer value="M"/>'
        b'</Device></resource><request><method value="POST"/><url value="Device"/></request></entry></Bundle>'
    )
    root = tree(post(open_server, "", bundle, Accept=XML))
    assert value(root, "type") == "transaction-response"
    location = value(root, "entry/response/location")
    assert location is not None
    assert open_server.get(location).json()["manufacturer"] == "M"


def test_a_refusal_is_in_the_format_that_was_asked_for(open_server: Caller, house: House) -> None:
    """Whatever refused it: the interaction, the router, the token, what reads the body."""
    asked = {"Accept": XML}
    answers = {
        404: open_server.get("Observation/never", **asked),
        401: house.nobody.get("Observation/never", **asked),
        415: post(open_server, "Observation", b"x", "text/plain", **asked),
        400: post(open_server, "Observation", b"<", **asked),
        405: open_server.request("DELETE", "", headers=asked),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        root = tree(answer)
        assert root.tag == F + "OperationOutcome"
        assert value(root, "issue/severity") == "error"
    assert tree(open_server.get("Nothing/1?_format=xml")).tag == F + "OperationOutcome"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'<Observation xmlns="http://hl7.org/fhir"><foo value="1"/></Observation>', "Observation.foo"),
        (
            b'<Patient xmlns="http://hl7.org/fhir"><name><given value="a"/></name><name><foo/></name></Patient>',
            "Patient.name[1].foo",
        ),
        (b'<Patient xmlns="http://hl7.org/fhir"><active value="yes"/></Patient>', "Patient.active"),
        (
            b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/><active value="true"/></Patient>',
            "Patient.active",
        ),
        (b'<Patient xmlns="http://hl7.org/fhir">text</Patient>', "Patient"),
    ],
)
def test_a_body_that_is_no_fhir_is_refused_with_its_place(open_server: Caller, body: bytes, place: str) -> None:
    """400, the place as a FHIRPath."""
    answer = post(open_server, "Patient", body)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [place]


def test_a_doctype_is_refused(open_server: Caller) -> None:
    """No entity, no file, no bomb."""
    bomb = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><Patient xmlns="http://hl7.org/fhir"/>'
    answer = post(open_server, "Patient", bomb)
    assert answer.status_code == 400
    assert "DOCTYPE" in answer.json()["issue"][0]["details"]["text"]


@pytest.mark.parametrize("kind", ["application/xml", "text/xml", "application/fhir+xml; charset=UTF-8"])
def test_xml_goes_by_three_names(open_server: Caller, kind: str) -> None:
    """As JSON does."""
    body = b'<Device xmlns="http://hl7.org/fhir"><manufacturer value="M"/></Device>'
    assert post(open_server, "Device", body, kind).status_code == 201


def test_another_encoding_or_version_is_not_supported(open_server: Caller) -> None:
    """FHIR is in UTF-8, and this one is R4."""
    body = b'<Device xmlns="http://hl7.org/fhir"><manufacturer value="M"/></Device>'
    declared = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + body
    for kind, sent in ((XML, declared), (XML + "; charset=iso-8859-1", body), (XML + "; fhirVersion=5.0", body)):
        answer = post(open_server, "Device", sent, kind)
        assert answer.status_code == 415
        assert answer.json()["issue"][0]["expression"] == ["Content-Type"]
        assert "application/xml-patch+xml" in answer.headers["accept-patch"]


@pytest.mark.parametrize("accept", [XML, "application/fhir+json"])
def test_the_outcome_of_a_write_comes_in_either_format(open_server: Caller, accept: str) -> None:
    """`Prefer: return=minimal` gives none; the representation is in the format asked for."""
    body = b'<Device xmlns="http://hl7.org/fhir"><manufacturer value="M"/></Device>'
    minimal = post(open_server, "Device", body, Accept=accept, Prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (201, b"")
    whole = post(open_server, "Device", body, Accept=accept, Prefer="return=representation")
    assert whole.headers["content-type"].startswith(accept)
    outcome = post(open_server, "Device", body, Accept=accept, Prefer="return=OperationOutcome")
    assert outcome.status_code == 201
    assert b"OperationOutcome" in outcome.content
    assert outcome.headers["content-type"].startswith(accept)


def test_an_update_in_xml(open_server: Caller, observation: str) -> None:
    """What was read in XML, changed and put back."""
    body = b'<Device xmlns="http://hl7.org/fhir"><manufacturer value="M"/></Device>'
    url = "Device/" + post(open_server, "Device", body).json()["id"]
    changed = open_server.get(url, Accept=XML).content.replace(b'value="M"', b'value="N"')
    answer = open_server.request("PUT", url, content=changed, headers={"Content-Type": XML, "Accept": XML})
    assert answer.status_code == 200
    assert value(tree(answer), "manufacturer") == "N"
    assert open_server.get(url).json()["meta"]["versionId"] == "2"


def test_a_binary_in_xml(open_server: Caller) -> None:
    """A Binary resource is stored as one; XML that is something else is content, and comes back byte for byte."""
    binary = b'<Binary xmlns="http://hl7.org/fhir"><contentType value="text/plain"/><data value="aGVsbG8="/></Binary>'
    made = post(open_server, "Binary", binary)
    assert made.status_code == 201, made.text
    url = "Binary/" + made.headers["location"].split("/Binary/")[1].split("/")[0]
    assert open_server.get(url).content == b"hello"
    assert value(tree(open_server.get(url, Accept=XML)), "data") == "aGVsbG8="
    assert value(tree(open_server.get(url + "?_format=xml")), "contentType") == "text/plain"
    assert open_server.get(url, Accept="application/fhir+json").json()["data"] == "aGVsbG8="
    for kind, content in ((XML, OBSERVATION), ("text/xml", b"<ClinicalDocument/>"), ("application/fhir+json", b"{}")):
        stored = post(open_server, "Binary", content, kind)
        assert stored.status_code == 201, stored.text
        url = "Binary/" + stored.headers["location"].split("/Binary/")[1].split("/")[0]
        for accept in ("", "*/*", "text/xml", "text/html, */*;q=0.5", "application/pdf"):
            got = open_server.get(url, Accept=accept)
            assert (got.content, got.headers["content-type"]) == (content, kind)
        assert open_server.get(url + "?_pretty=true").content == content
    refused = open_server.get("Binary/never", Accept="text/xml")
    assert refused.status_code == 404
    assert tree(refused).tag == F + "OperationOutcome"


def test_the_statement_comes_in_xml_and_names_it(open_server: Caller) -> None:
    """Without a token, from the cache too."""
    for url in ("metadata?_format=xml", "metadata?_format=xml", "metadata?_format=xml&_pretty=true"):
        root = tree(open_server.get(url))
        assert root.tag == F + "CapabilityStatement"
        assert XML in [each.get("value") for each in root.findall(F + "format")]
    assert open_server.get("metadata").json()["resourceType"] == "CapabilityStatement"


def test_what_xml_cannot_say_is_not_acceptable_in_xml(open_server: Caller) -> None:
    """A character that XML 1.0 does not know: 406 in XML, 200 in JSON."""
    url = "Device/" + open_server.post("Device", {"resourceType": "Device", "manufacturer": "a\ufffeb"}).json()["id"]
    assert open_server.get(url).json()["manufacturer"] == "a\ufffeb"
    refused = open_server.get(url, Accept=XML)
    assert refused.status_code == 406
    assert tree(refused).tag == F + "OperationOutcome"


def test_a_patch_in_xml(open_server: Caller) -> None:
    """XML Patch, and the Parameters of a FHIRPath Patch in XML; anything else is 415 and says what is taken."""
    body = b'<Device xmlns="http://hl7.org/fhir"><manufacturer value="M"/></Device>'
    url = "Device/" + post(open_server, "Device", body).json()["id"]
    steps = (
        (
            "application/xml-patch+xml",
            b'<patch xmlns="http://hl7.org/fhir"><replace sel="Device/manufacturer/@value">N</replace></patch>',
            "N",
        ),
        (
            XML,
            b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
            b'<part><name value="type"/><valueCode value="replace"/></part>'
            b'<part><name value="path"/><valueString value="Device.manufacturer"/></part>'
            b'<part><name value="value"/><valueString value="O"/></part></parameter></Parameters>',
            "O",
        ),
    )
    for kind, patch, expected in steps:
        answer = open_server.request("PATCH", url, content=patch, headers={"Content-Type": kind, "Accept": XML})
        assert answer.status_code == 200, answer.text
        assert value(tree(answer), "manufacturer") == expected
    refused = open_server.request("PATCH", url, content=b"<a/>", headers={"Content-Type": "application/xml"})
    assert refused.status_code == 415
    assert refused.headers["accept-patch"].startswith("application/json-patch+json, application/xml-patch+xml")
