"""Requests that a server must refuse: case number n of a seed is always the same damage."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes

from tests.fuzz import nasty
from tests.fuzz.case import Case
from tests.fuzz.damage import damage_text, damage_tree, dump
from tests.fuzz.targets import Targets

JSON: Final = ("Content-Type", "application/fhir+json")
_TYPES: Final = ("Observation", "Patient", "DocumentReference", "Consent", "Binary", "AuditEvent", "Bundle", "List")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "LINK")
_PARAMETERS: Final = (
    "patient",
    "subject",
    "subject:Patient",
    "patient.birthdate",
    "patient.general-practitioner.name",
    "code",
    "code:in",
    "code:text",
    "code:not",
    "date",
    "date:missing",
    "value-quantity",
    "component-code-value-quantity",
    "code-value-quantity",
    "identifier",
    "identifier:of-type",
    "name:exact",
    "name:contains",
    "birthdate",
    "_id",
    "_lastUpdated",
    "_profile",
    "_profile:below",
    "_tag",
    "_security",
    "_source",
    "_text",
    "_content",
    "_list",
    "_has:Observation:patient:code",
    "_has:::",
    "_has:Provenance:target:_has:x",
    "_type",
    "_filter",
    "_query",
    "_sort",
    "_count",
    "_include",
    "_include:iterate",
    "_revinclude",
    "_summary",
    "_elements",
    "_total",
    "_contained",
    "_cursor",
    "_format",
    "_pretty",
    "_since",
    "_at",
    "_before",
    "nosuch",
    "",
    ":",
    "code:",
    "code:nosuch",
    "subject:NoSuchType",
    "url",
    "url:below",
    "probability",
)
_VALUES: Final = (
    "0",
    "-1",
    "1",
    "99999999999999999999999",
    "1e999",
    "NaN",
    "5.40e-3|http://unitsofmeasure.org|g",
    "5||",
    "|",
    "http://loinc.org|",
    "|4548-4",
    "a|b|c|d",
    "-",
    "-_lastUpdated,--x",
    "_score",
    "*",
    "Observation:patient",
    "Observation:*:Patient",
    "::",
    "true",
    "maybe",
    "count",
    "accurate",
    "code eq",
    "(" * 200,
    "name co 'x' and",
    ",,,",
    "$,$",
    "\\",
    "a$b$c",
)


class Generator:
    """All cases of one seed against one house."""

    def __init__(self, seed: int, targets: Targets) -> None:
        self._seed = seed
        self._targets = targets
        self._kinds = [kind for kind, weight in _KINDS for _ in range(weight)]

    def case(self, index: int) -> Case:
        """Case number `index`."""
        random = Random(f"{self._seed} {index}")
        kind = random.choice(self._kinds)
        parts = {"index": index, "kind": kind.__name__.strip("_"), "actor": random.choice(self._targets.actors)}
        given: dict[str, Any] = kind(random, self._targets)
        return Case(**{**parts, **given})


def _resource_tree(random: Random, targets: Targets) -> dict[str, Any]:
    """A write whose resource is damaged in one to three places."""
    resource = targets.resource(random)
    type_ = resource["resourceType"]
    _damage(random, resource)
    if random.random() < 0.25:
        stored = random.choice(targets.of(type_) or [f"{type_}/nosuch"])
        return {"method": "PUT", "target": f"/fhir/{stored}", **_body(random, resource)}
    return {"method": "POST", "target": f"/fhir/{type_}", **_body(random, resource)}


def _resource_text(random: Random, targets: Targets) -> dict[str, Any]:
    """A write whose body is damaged as text."""
    resource = targets.resource(random)
    headers = [JSON] + ([("Content-Encoding", "gzip")] if random.random() < 0.1 else [])
    body = damage_text(random, dump(resource))
    target = f"/fhir/{resource['resourceType']}"
    return {"method": "POST", "target": target, "headers": tuple(headers), "body": body}


def _consent(random: Random, targets: Targets) -> dict[str, Any]:
    """A directive outside the closed set of shapes, mostly from the patient."""
    consent = targets.consent(random)
    _damage(random, consent)
    actor = random.choice(("patient", "patient", "patient", "representative", "medecin_traitant", "app"))
    if random.random() < 0.2:
        stored = random.choice(targets.of("Consent"))
        return {"actor": actor, "method": "PUT", "target": f"/fhir/{stored}", **_body(random, consent)}
    return {"actor": actor, "method": "POST", "target": "/fhir/Consent", **_body(random, consent)}


def _bundle(random: Random, targets: Targets) -> dict[str, Any]:
    """A Bundle damaged in its envelope, its requests or its resources."""
    bundle = targets.bundle(random)
    if random.random() < 0.8:
        _damage(random, bundle)
        body = dump(bundle)
    else:
        body = damage_text(random, dump(bundle))
    return {"method": "POST", "target": "/fhir", "headers": (JSON,), "body": body}


def _document(random: Random, targets: Targets) -> dict[str, Any]:
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


def _path(random: Random, targets: Targets) -> dict[str, Any]:
    """A path that leads nowhere, in every encoding."""
    parts = random.choice(targets.stored).split("/") if random.random() < 0.5 else [random.choice(_TYPES)]
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(parts) + 1)
        trick = random.choice((*nasty.PATH_TRICKS, quote(nasty.text(random), safe="", errors="replace")[:8_000]))
        parts[at : at + random.randrange(2)] = [trick]
    root = random.choice(("/fhir/", "/fhir/", "/fhir/", "/fhir//", "/%66hir/", "/FHIR/", "/", "/health/"))
    method = random.choice(("GET", "GET", "HEAD", "POST", "PUT", "DELETE"))
    body = dump(targets.resource(random)) if method in ("POST", "PUT") else b""
    return {"method": method, "target": root + "/".join(parts), "headers": (JSON,), "body": body}


def _query(random: Random, targets: Targets) -> dict[str, Any]:
    """Search criteria that mean nothing; GET, or POST with the form in its body."""
    pairs = "&".join(_pair(random, targets) for _ in range(random.choice((1, 1, 2, 3, 5, 40))))
    if random.random() < 0.05:
        pairs += "&a=b" * 600
    strict = (("Prefer", "handling=strict"),) if random.random() < 0.3 else ()
    type_ = random.choice(_TYPES)
    if random.random() < 0.3:
        headers = (("Content-Type", "application/x-www-form-urlencoded"), *strict)
        return {"method": "POST", "target": f"/fhir/{type_}/_search", "headers": headers, "body": pairs.encode()}
    path = random.choice(
        (type_, type_, type_, random.choice(targets.stored) + "/_history", random.choice(targets.stored))
    )
    return {"target": f"/fhir/{path}?{pairs}", "headers": strict}


def _cursor(random: Random, targets: Targets) -> dict[str, Any]:
    """A paging link of someone else, changed or cut."""
    link = bytearray(random.choice(targets.cursors or ("Observation?_cursor=AAAA",)).encode())
    start = link.find(b"_cursor=") + 8
    change = random.randrange(4)
    at = random.randrange(start, len(link))
    if change == 0:
        link[at] = random.choice(b"AZaz09-_")
    elif change == 1:
        del link[at:]
    elif change == 2:
        link[at:at] = quote_from_bytes(random.randbytes(8)).encode()
    else:
        link += b"&" + _pair(random, targets).encode()
    return {"target": "/fhir/" + link.decode()}


def _header(random: Random, targets: Targets) -> dict[str, Any]:
    """A valid request but for its headers."""
    names = ("Accept", "Content-Type", "If-Match", "If-None-Match", "If-Modified-Since", "If-None-Exist", "Prefer")
    more = ("Range", "Expect", "X-Patient-Id", "Accept-Charset", "Content-Encoding", "X-Request-Id", "X-Forwarded-Host")
    headers = [(random.choice((*names, *names, *more)), _header_value(random)) for _ in range(random.randrange(1, 4))]
    method = random.choice(("GET", "GET", "HEAD", "PUT", "DELETE", "POST"))
    if method in ("GET", "HEAD"):
        return {"method": method, "target": f"/fhir/{random.choice(targets.stored)}", "headers": tuple(headers)}
    # What is written is invalid all the same: these headers alone need not be a reason to refuse.
    target = f"/fhir/{random.choice(targets.stored)}" if method != "POST" else "/fhir/Observation"
    body = b"" if method == "DELETE" else b'{"resourceType":"Observation","status":"nosuch"}'
    headers += [("If-Match", 'W/"999"')] if method == "DELETE" else []
    return {"method": method, "target": target, "headers": tuple(headers), "body": body}


def _method(random: Random, targets: Targets) -> dict[str, Any]:
    """A method that the path does not have."""
    paths = ("", "metadata", "AuditEvent", "AuditEvent/x", "$import-document", "Patient/$match", "_history", "Nosuch/1")
    path = random.choice((*paths, random.choice(targets.stored), random.choice(targets.stored) + "/_history/1"))
    method = random.choice(_METHODS)
    headers = (JSON, ("If-Match", 'W/"999"'))
    body = b'{"resourceType":"Nosuch"}' if method in ("POST", "PUT", "PATCH") else b""
    return {"method": method, "target": f"/fhir/{path}", "headers": headers, "body": body}


def _token(random: Random, targets: Targets) -> dict[str, Any]:
    """No token, half a token, another scheme, two tokens."""
    values = (
        "Bearer",
        "Bearer ",
        "bearer x",
        "Basic YTpi",
        "Bearer a b",
        "x" * 5_000,
        "Bearer " + "A" * 43,
        "Bearer é",
        "",
    )
    headers = [("Authorization", random.choice(values)) for _ in range(random.choice((1, 1, 2)))]
    method = random.choice(("GET", "DELETE", "PUT", "POST"))
    body = dump({**targets.resource(random)}) if method in ("PUT", "POST") else b""
    target = f"/fhir/{random.choice(targets.stored)}"
    if method == "POST":
        target = random.choice(("/fhir/Observation", "/fhir", "/fhir/$import-document"))
    return {"actor": "", "method": method, "target": target, "headers": (*headers, JSON), "body": body}


def _binary(random: Random, targets: Targets) -> dict[str, Any]:
    """Content under a media type that is none, or with FHIR that is none."""
    media = random.choice(("", "nosuch", "a/b/c", 'text/plain; charset="', "application/fhir+json", "a" * 300, "é/é"))
    body = random.choice(
        (b"", random.randbytes(50), b'{"resourceType":"Binary"}', b'{"resourceType":"Binary","data":"!"}')
    )
    method, path = random.choice((("POST", "Binary"), ("PUT", "Binary/nosuch"), ("POST", "Binary/_search")))
    return {"method": method, "target": f"/fhir/{path}", "headers": (("Content-Type", media),), "body": body}


def _protocol(random: Random, targets: Targets) -> dict[str, Any]:
    """What is no HTTP: refused below the application."""
    line = random.choice(
        (
            "GET /fhir/Patient/\x00 HTTP/1.1",
            "GET  /fhir HTTP/1.1",
            "GET /fhir/é HTTP/1.1",
            "NOSUCH /fhir HTTP/1.1",
            "GET /fhir HTTP/9.9",
            "GET http://[::1/fhir HTTP/1.1",
            "\x16\x03\x01\x02\x00\x01",
            "",
        )
    )
    header = random.choice(
        ("Host: a", "no colon", "A\x00: b", "Content-Length: -1", "Content-Length: 1e3", " folded: x")
    )
    return {"raw": f"{line}\r\n{header}\r\nConnection: close\r\n\r\n".encode("latin-1")}


def _damage(random: Random, tree: dict[str, Any]) -> None:
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if tree:
            damage_tree(random, tree)


def _body(random: Random, resource: dict[str, Any]) -> dict[str, Any]:
    headers = [JSON]
    if random.random() < 0.1:
        headers.append(("If-None-Exist", _pair_of(random)))
    body = dump(resource, ascii=random.random() < 0.9)
    return {"headers": tuple(headers), "body": body, "chunked": random.random() < 0.05}


def _pair_of(random: Random) -> str:
    name, value = random.choice(_PARAMETERS), random.choice((*_VALUES, nasty.text(random)))
    return f"{name}={quote(value, safe='|:/,$*()', errors='replace')[:4_000]}"


def _pair(random: Random, targets: Targets) -> str:
    kind = random.randrange(8)
    if kind == 0:
        return random.choice(
            ("%", "%zz=1", "%00=%00", "a=%ff%fe", "&&&", "=", "=&=", "a", "%F0%9F=x", ";", "a=b=c", "+=+")
        )
    if kind == 1:
        return f"patient={random.choice((targets.people['patient'], random.choice(nasty.PATH_TRICKS)))}"
    if kind == 2:
        value = random.choice(nasty.PREFIXES) + random.choice(nasty.DATES)
        return f"{random.choice(('date', '_lastUpdated', 'birthdate', 'period'))}={quote(value, safe='')}"
    if kind == 3:
        number = quote(random.choice(nasty.PREFIXES) + random.choice(nasty.NUMBERS), safe="")
        return f"{random.choice(('value-quantity', '_count', 'probability', '_before'))}={number}"
    return _pair_of(random)


def _header_value(random: Random) -> str:
    values = (
        "",
        "*",
        "W/",
        'W/"999999999999999999999999"',
        '"',
        'W/"1", W/"2',
        "Thu, 32 Foo 99999 99:99:99 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "application/fhir+xml",
        "application/fhir+json;q=0",
        "application/fhir+json;q=x;fhirVersion=9",
        "text/html;;;,,,",
        "application/json; charset=nosuch",
        "handling=nosuch,return=nosuch;;=",
        "return=minimal; handling=strict",
        "respond-async",
        "bytes=0-,5-1,--",
        "_id=x&nosuch",
        "gzip, gzip",
        "é\xff",
        "a" * 9_000,
    )
    return random.choice(values)


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


_KINDS: Final[tuple[tuple[Callable[[Random, Targets], dict[str, Any]], int], ...]] = (
    (_resource_tree, 28),
    (_resource_text, 12),
    (_consent, 8),
    (_bundle, 12),
    (_document, 4),
    (_path, 8),
    (_query, 14),
    (_cursor, 3),
    (_header, 5),
    (_method, 3),
    (_token, 4),
    (_binary, 2),
    (_protocol, 1),
)
