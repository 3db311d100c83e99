"""CDA documents of the patient of the house, with as many versions and entries as a test wants."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import httpx

from tests.conftest import Caller
from tests.scenarios.test_the_patient_decides import CDA, pushed

_OPAQUE = b'<nonXMLBody><text mediaType="text/plain" representation="B64">Qm9uam91cg==</text></nonXMLBody>'
_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()


def document(
    number: int,
    entries: Mapping[str, str] | None = None,
    *,
    set_id: int = 0,
    version: int = 1,
    replaces: int = 0,
    kind: str = "34749-2",
    picture: bool = False,
) -> bytes:
    """A document `2.25.<number>`; `entries`: LOINC code to value, an observation each; None: it is of level 1."""
    names = f'<setId root="2.25.{set_id}"/><versionNumber value="{version}"/>' if set_id else ""
    parent = f'<parentDocument><id root="2.25.{replaces}"/></parentDocument>'
    related = f'<relatedDocument typeCode="RPLC">{parent}</relatedDocument>' if replaces else ""
    made = CDA.replace(b"2.25.77001", b"2.25.%d" % number).replace(b'code="34749-2"', b'code="%s"' % kind.encode())
    made = made.replace(b"  <recordTarget>", f"{names}  <recordTarget>".encode(), 1)
    made = made.replace(b"  <component>", f"  {related}<component>".encode(), 1)
    if entries is None:
        return made
    return made.replace(_OPAQUE, _body(entries, picture).encode())


def _body(entries: Mapping[str, str], picture: bool) -> str:
    found = "".join(_observation(code, value) for code, value in entries.items())
    text = "<text>Rien à signaler<renderMultiMedia referencedObject='m1'/></text>" if picture else "<text>Vu</text>"
    found += _picture() if picture else ""
    section = f'<code code="30954-2" codeSystem="2.16.840.1.113883.6.1"/><title>Examens</title>{text}{found}'
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    return f"<structuredBody {xsi}><component><section>{section}</section></component></structuredBody>"


def _observation(code: str, value: str) -> str:
    return (
        '<entry><observation classCode="OBS" moodCode="EVN">'
        f'<id root="2.25.9" extension="{code}"/><code code="{code}" codeSystem="2.16.840.1.113883.6.1"/>'
        '<statusCode code="completed"/><effectiveTime value="20260401"/>'
        f'<value xsi:type="PQ" value="{value}" unit="g/L"/></observation></entry>'
    )


def _picture() -> str:
    return (
        '<entry><observationMedia classCode="OBS" moodCode="EVN" ID="m1">'
        '<templateId root="1.2.250.1.213.1.1.3.18"/><id root="2.25.8"/>'
        f'<value mediaType="image/png" representation="B64">{_PIXEL}</value></observationMedia></entry>'
    )


def push(caller: Caller, body: bytes, query: str = "", kind: str = "application/xml") -> httpx.Response:
    """Push a document."""
    return caller.request("POST", f"$import-document{query}", content=body, headers={"Content-Type": kind})


def stored(caller: Caller, body: bytes, query: str = "") -> str:
    """Push a document that is taken; its DocumentReference."""
    answer = push(caller, body, query)
    assert answer.status_code == 201, answer.text
    return pushed(answer.json())


def found(caller: Caller, type_: str, patient: str, more: str = "") -> list[dict[str, Any]]:
    """What a caller's search of that type finds in the record."""
    answer = caller.get(f"{type_}?patient={patient}&_count=200{more}")
    assert answer.status_code == 200, answer.text
    return [each["resource"] for each in answer.json().get("entry", ()) if each["resource"]["resourceType"] == type_]


def values(resources: list[dict[str, Any]]) -> dict[str, str]:
    """Observations by code, each with its value as it is written."""
    return {each["code"]["coding"][0]["code"]: str(each["valueQuantity"]["value"]) for each in resources}
