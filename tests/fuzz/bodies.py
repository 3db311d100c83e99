"""Requests with a body that a server must refuse: resources, directives, Bundles, documents."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.fuzz import nasty
from tests.fuzz.damage import damage_text, damage_tree, dump, places
from tests.fuzz.queries import any_pair
from tests.fuzz.targets import Targets

JSON: Final = ("Content-Type", "application/fhir+json")


def resource_tree(random: Random, targets: Targets) -> dict[str, Any]:
    """A write whose resource is damaged in one to three places."""
    resource = targets.resource(random)
    type_ = resource["resourceType"]
    _damage(random, resource)
    if random.random() < 0.25:
        stored = random.choice(targets.of(type_) or [f"{type_}/nosuch"])
        return {"method": "PUT", "target": f"/fhir/{stored}", **_body(random, resource)}
    return {"method": "POST", "target": f"/fhir/{type_}", **_body(random, resource)}


def resource_text(random: Random, targets: Targets) -> dict[str, Any]:
    """A write whose body is damaged as text."""
    resource = targets.resource(random)
    headers = [JSON] + ([("Content-Encoding", "gzip")] if random.random() < 0.1 else [])
    body = damage_text(random, dump(resource))
    target = f"/fhir/{resource['resourceType']}"
    return {"method": "POST", "target": target, "headers": tuple(headers), "body": body}


def stored_tree(random: Random, targets: Targets) -> dict[str, Any]:
    """An update of what is there, damaged in one to three places."""
    resource = copy.deepcopy(random.choice(targets.resources))
    target = f"/fhir/{resource['resourceType']}/{resource['id']}"
    _damage(random, resource)
    return {"method": "PUT", "target": target, **_body(random, resource)}


def consent(random: Random, targets: Targets) -> dict[str, Any]:
    """A directive outside the closed set of shapes, mostly from the patient."""
    consent = targets.consent(random)
    _damage(random, consent)
    actor = random.choice(("patient", "patient", "patient", "representative", "medecin_traitant", "app"))
    if random.random() < 0.2:
        stored = random.choice(targets.of("Consent"))
        return {"actor": actor, "method": "PUT", "target": f"/fhir/{stored}", **_body(random, consent)}
    return {"actor": actor, "method": "POST", "target": "/fhir/Consent", **_body(random, consent)}


def bundle(random: Random, targets: Targets) -> dict[str, Any]:
    """A Bundle damaged in its envelope, its requests or its resources."""
    bundle = targets.bundle(random)
    if random.random() < 0.8:
        _damage(random, bundle)
        body = dump(bundle)
    else:
        body = damage_text(random, dump(bundle))
    return {"method": "POST", "target": "/fhir", "headers": (JSON,), "body": body}


def document(random: Random, targets: Targets) -> dict[str, Any]:
    """A CDA that is damaged, or wrapped in damaged Parameters."""
    query = random.choice(
        ("", "", "?mode=nosuch", "?dryRun=x", "?visibility=NOSUCH", "?mode=migration&mode=strict", "?x")
    )
    target = "/fhir/$import-document" + query
    if random.random() < 0.3:
        value = {"name": "document", "valueBase64Binary": "PENsaW5pY2FsRG9jdW1lbnQvPg=="}
        parameters = {"resourceType": "Parameters", "parameter": [value]}
        damage_tree(random, parameters)
        return {"method": "POST", "target": target, "headers": (JSON,), "body": dump(parameters)}
    body = _damaged_xml(random, random.choice(targets.documents))
    media = random.choice(
        ("application/xml", "text/xml", "application/hl7-cda+xml", "text/plain", "", "application/zip")
    )
    return {"method": "POST", "target": target, "headers": (("Content-Type", media),), "body": body}


def binary(random: Random, targets: Targets) -> dict[str, Any]:
    """Content under a media type that is none, or with FHIR that is none."""
    media = random.choice(("", "nosuch", "a/b/c", 'text/plain; charset="', "application/fhir+json", "a" * 300, "é/é"))
    body = random.choice(
        (b"", random.randbytes(50), b'{"resourceType":"Binary"}', b'{"resourceType":"Binary","data":"!"}')
    )
    method, path = random.choice((("POST", "Binary"), ("PUT", "Binary/nosuch"), ("POST", "Binary/_search")))
    return {"method": method, "target": f"/fhir/{path}", "headers": (("Content-Type", media),), "body": body}


def references(random: Random, targets: Targets) -> dict[str, Any]:
    """A resource whose links lead to nothing, to the wrong type, to someone else, or are criteria."""
    resource = targets.consent(random) if random.random() < 0.2 else targets.resource(random)
    links = [(container, key) for container, key in places(resource) if key in ("reference", "url", "system")]
    for container, key in random.sample(links, min(len(links), random.randrange(1, 4))):
        known = (random.choice(targets.stored), random.choice(list(targets.people.values())))
        container[key] = random.choice((random.choice(nasty.REFERENCES), random.choice(nasty.REFERENCES), *known))
    return {"method": "POST", "target": f"/fhir/{resource['resourceType']}", **_body(random, resource)}


def bundle_request(
    random: Random, targets: Targets, more: Callable[[Random, Targets], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A Bundle of valid shape whose entries ask for what cannot be; some of them made by `more`."""
    made = [_impossible, more or _impossible]
    entries = [random.choice(made)(random, targets) for _ in range(random.choice((1, 1, 2, 3, 30)))]
    bundle = {"resourceType": "Bundle", "type": random.choice(("batch", "transaction")), "entry": entries}
    return {"method": "POST", "target": "/fhir", "headers": (JSON,), "body": dump(bundle)}


def _impossible(random: Random, targets: Targets) -> dict[str, Any]:
    resource = targets.resource(random)
    own = (resource["resourceType"], f"{resource['resourceType']}/nosuch", f"Observation?{any_pair(random, targets)}")
    url = random.choice(
        (*own, *own, random.choice(targets.stored), random.choice(nasty.REFERENCES), nasty.text(random))
    )
    request = {"method": random.choice(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")), "url": url}
    for name in ("ifMatch", "ifNoneMatch", "ifNoneExist"):
        if random.random() < 0.25:
            request[name] = random.choice((any_pair(random, targets), 'W/"1"', "W/", nasty.text(random)))
    # A deletion that could succeed would: the version it names is never the current one.
    if request["method"] == "DELETE":
        request["ifMatch"] = 'W/"999"'
    entry: dict[str, Any] = {"request": request}
    if random.random() < 0.7:
        resource["status"] = "nosuch"
        entry["resource"] = resource
    if random.random() < 0.7:
        same = "urn:uuid:00000000-0000-4000-8000-000000000000"
        entry["fullUrl"] = random.choice((same, random.choice(nasty.REFERENCES), nasty.text(random)))
    return entry


def _damage(random: Random, tree: dict[str, Any]) -> None:
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if tree:
            damage_tree(random, tree)


def _body(random: Random, resource: dict[str, Any]) -> dict[str, Any]:
    headers = [JSON]
    if random.random() < 0.1:
        headers.append(("If-None-Exist", any_pair(random, None)))
    body = dump(resource, ascii=random.random() < 0.9)
    return {"headers": tuple(headers), "body": body, "chunked": random.random() < 0.05}


def _damaged_xml(random: Random, body: bytes) -> bytes:
    kind = random.randrange(6)
    if kind < 2:
        return damage_text(random, body)
    if kind == 2:
        bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
        return body.replace(b"<ClinicalDocument", bomb + b"<ClinicalDocument", 1)
    if kind == 3:
        return body.replace(
            b'extension="',
            b'extension="' + random.choice((b"9", b"", b"&#0;", b"\x00", b"&x;")),
            random.choice((1, 5, -1)),
        )
    if kind == 4:
        tags = [
            b"<recordTarget",
            b"<id ",
            b"<component",
            b"<section",
            b"<value",
            b"<code ",
            b"<effectiveTime",
            b"<author",
            b"<text",
        ]
        return body.replace(random.choice(tags), random.choice((b"<nosuch", b"<", b"<x:y ")), random.choice((1, 3, -1)))
    lines = body.splitlines(keepends=True) or [body]
    at = random.randrange(len(lines))
    lines[at : at + random.choice((1, 5, 40))] = [lines[at]] * random.choice((0, 2, 500))
    return b"".join(lines)
