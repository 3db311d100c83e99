"""Patches of the three kinds, and writes whose resource is named by criteria."""

from __future__ import annotations

import copy
from base64 import b64encode
from random import Random
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from tests.fuzz import nasty
from tests.fuzz.bodies import JSON, bundle_request
from tests.fuzz.damage import damage_text, damage_tree, dump, places
from tests.fuzz.queries import any_pair
from tests.fuzz.reading import criterion
from tests.fuzz.targets import SEARCHED, Resource, Targets

JSON_PATCH: Final = "application/json-patch+json"
XML_PATCH: Final = "application/xml-patch+xml"

_POINTERS: Final = (
    "",
    "/",
    "/nosuch",
    "/id",
    "/meta/versionId",
    "/-",
    "/01",
    "/99999999999",
    "/~2",
    "/~",
    "a",
    "/a~1b",
)
_PATHS: Final = (
    *("", "{}", "{}.id", "{}.meta", "{}.text.div", "{}.nosuch", "{}.name[0].family", "{}.identifier.where(system='x')"),
    *(
        "{}.name.where(",
        "1/0",
        "{}.descendants()",
        "{}.repeat(children())",
        "%resource.{}",
        "{}.name.given.aggregate(1)",
    ),
    *("(" * 500, "{}.name | {}.name", "@2024-02-30", "'\\u0000'", "{}.extension('x').value", "iif(true, {}.id)"),
    *("{}.identifier[99999999999]", "{}.name.select($this.repeat($this))", "{}.children().children().children()"),
)
_SELECTORS: Final = (
    *("f:{}/f:status/@value", "f:{}", "f:{}/f:id/@value", "f:{}/f:name[1]/f:family/@value", "*", "*/*[1]", "/f:{}/*"),
    *("f:{}/f:text/h:div", "f:{}/text()[1]", "f:{}/comment()[1]", "//f:id", "f:{}/f:name[", "f:{}/f:name[0]", "x:y/z"),
    *("f:{}/namespace::f", "f:{}/f:identifier[f:system/@value='x']", "id('x')", "f:{}/f:name[position()=1]", ""),
)
_MAY_WRITE: Final = dict.fromkeys(
    ("Practitioner", "PractitionerRole", "Organization", "Patient", "CareTeam"), "admin"
) | {
    **dict.fromkeys(("DocumentReference", "Observation", "Binary", "List"), "biologist"),
    "RelatedPerson": "representative",
}
# What no patch can do, at the end of one: most are judged as a whole, and refused.
_REFUSED: Final[Resource] = {"op": "test", "path": "/resourceType", "value": "Nosuch"}


def patch(random: Random, targets: Targets) -> dict[str, Any]:
    """A patch that does not fit, of something that is there, by its id or by criteria."""
    type_ = random.choice(targets.stored).partition("/")[0]
    media, body = _patch(random, targets, type_)
    if random.random() < 0.1:
        media = random.choice(
            ("application/json", "text/plain", "", JSON_PATCH, XML_PATCH, "application/merge-patch+json")
        )
    if random.random() < 0.15:
        body = damage_text(random, body)
    where = random.choice(targets.of(type_))
    if random.random() < 0.15:
        where = f"{type_}?{_criteria(random, targets, type_)}"
    headers = [("Content-Type", media)]
    if random.random() < 0.2:
        headers.append(("If-Match", random.choice(('W/"1"', 'W/"999"', "*", "x"))))
    actor = random.choice((_MAY_WRITE.get(type_, "patient"),) * 5 + targets.actors)
    target = f"/fhir/{where}"
    return {"actor": actor, "method": "PATCH", "target": target, "headers": tuple(headers), "body": body}


def patch_entry(random: Random, targets: Targets) -> Resource:
    """An entry of a Bundle that patches, or would."""
    stored = random.choice(targets.stored)
    type_ = stored.partition("/")[0]
    media, body = _patch(random, targets, type_)
    data = b64encode(body).decode() if random.random() < 0.9 else random.choice(("!", "YQ", "Y Q = ="))
    resource: Resource = {"resourceType": "Binary", "contentType": media, "data": data}
    if media == "application/fhir+json" and random.random() < 0.7:
        resource = _fhirpath_patch(random, type_)
    url = random.choice((stored, stored, f"{type_}?{_criteria(random, targets, type_)}", nasty.text(random)))
    return {"resource": resource, "request": {"method": "PATCH", "url": url}}


def bundle_patch(random: Random, targets: Targets) -> dict[str, Any]:
    """A Bundle with entries that patch among others."""
    return bundle_request(random, targets, patch_entry)


def conditional(random: Random, targets: Targets) -> dict[str, Any]:
    """An update or a deletion by criteria, of a resource that is damaged, or of a version that never was."""
    resource = targets.resource(random)
    type_ = random.choice((resource["resourceType"], random.choice(SEARCHED)))
    target = f"/fhir/{type_}?{_criteria(random, targets, type_)}"
    if random.random() < 0.4:
        # A deletion that could succeed would: the version it names is never the current one.
        return {"method": "DELETE", "target": target, "headers": (("If-Match", 'W/"999"'),)}
    if random.random() < 0.8:
        damage_tree(random, resource)
    headers = (JSON, ("If-Match", "x")) if random.random() < 0.1 else (JSON,)
    return {"method": "PUT", "target": target, "headers": headers, "body": dump(resource)}


def _criteria(random: Random, targets: Targets, type_: str) -> str:
    known = type_ if type_ in SEARCHED else random.choice(SEARCHED)
    pairs = [criterion(random, targets, known) for _ in range(random.choice((0, 1, 1, 2)))]
    if not pairs or random.random() < 0.3:
        pairs.append(any_pair(random, targets))
    if random.random() < 0.4:
        pairs.append(f"patient={targets.people['patient']}")
    return "&".join(pairs)


def _patch(random: Random, targets: Targets, type_: str) -> tuple[str, bytes]:
    """Media type and body of a patch in one of the languages."""
    kind = random.randrange(3)
    if kind == 0:
        return JSON_PATCH, dump(_json_patch(random, targets, type_))
    if kind == 1:
        return "application/fhir+json", dump(_fhirpath_patch(random, type_))
    return XML_PATCH, _xml_patch(random, type_).encode("utf-8", "surrogatepass")


def _json_patch(random: Random, targets: Targets, type_: str) -> Any:
    resource = random.choice([each for each in targets.resources if each["resourceType"] == type_])
    pointers = (*_POINTERS, *_pointers(resource) * 2)
    operations: list[Any] = []
    for _ in range(random.choice((1, 2, 3, 8))):
        operation = {"op": random.choice(("add", "add", "remove", "replace", "replace", "move", "copy", "test"))}
        operation |= {"path": random.choice(pointers), "from": random.choice(pointers)}
        value = random.choice((nasty.value(random), dict(resource), random.choice(list(places(resource)))[0]))
        operations.append({**operation, "value": copy.deepcopy(value)})
        if random.random() < 0.02:
            operations[-1]["op"] = "nosuch"
    if random.random() < 0.03:
        operations = [{"op": "copy", "from": "", "path": "/text"}, {"op": "copy", "from": "/text", "path": "/x"}] * 400
    if random.random() < 0.8:
        operations.append(dict(_REFUSED))
    if random.random() < 0.3:
        damage_tree(random, operations)
    return operations


def _pointers(resource: Resource) -> list[str]:
    """A JSON Pointer to every place of a resource."""
    found: list[str] = []

    def visit(part: Any, pointer: str) -> None:
        for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            found.append(f"{pointer}/{key}")
            visit(value, found[-1])

    visit(resource, "")
    return found


def _fhirpath_patch(random: Random, type_: str) -> Resource:
    operations = []
    for _ in range(random.choice((1, 2, 4))):
        value = random.choice(({"valueString": nasty.text(random)}, {"valueCode": "x"}, {"valueInteger": 1}))
        value = random.choice((value, {"valueHumanName": {"family": "X"}}, {"valueReference": {"reference": "#"}}))
        parts: list[Resource] = [
            {"name": "type", "valueCode": random.choice(("add", "insert", "delete", "replace", "move", "nosuch"))},
            {"name": "path", "valueString": random.choice(_PATHS).replace("{}", type_)},
            {"name": "name", "valueString": random.choice(("name", "status", "id", "extension", "nosuch", "value"))},
            {"name": "value", **value},
            *({"name": each, "valueInteger": random.choice((0, 1, -1, 2**31 - 1))} for each in ("index", "source")),
        ]
        operations.append({"name": "operation", "part": random.sample(parts, random.randrange(2, len(parts) + 1))})
    if random.random() < 0.8:
        never = ({"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"{type_}.nosuch"})
        operations.append({"name": "operation", "part": [*never, {"name": "value", "valueString": "x"}]})
    parameters: Resource = {"resourceType": "Parameters", "parameter": operations}
    if random.random() < 0.3:
        damage_tree(random, parameters)
    return parameters


def _xml_patch(random: Random, type_: str) -> str:
    parts = []
    for _ in range(random.choice((1, 2, 4))):
        name = random.choice(("add", "replace", "remove", "nosuch"))
        selector = quoteattr(random.choice((*_SELECTORS, *_SELECTORS, nasty.text(random))).replace("{}", type_))
        more = random.choice(("", "", ' pos="before"', ' pos="after"', ' pos="x"', ' type="@id"', ' ws="both"'))
        content = random.choice(("", "x", "<f:id value='x'/>", "<nosuch/>", "<f:text/>", escape(nasty.text(random))))
        parts.append(f"<{name} sel={selector}{more}>{content}</{name}>")
    if random.random() < 0.8:
        parts.append('<remove sel="nosuch"/>')
    before = random.choice(("", "", '<?xml version="1.0"?>', '<!DOCTYPE x [<!ENTITY a "b">]>', '<?xml encoding="x"?>'))
    return f'{before}<diff xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">{"".join(parts)}</diff>'
