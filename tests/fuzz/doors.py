"""Requests that go wrong before their body is looked at: paths, methods, headers, tokens, the protocol itself."""

from __future__ import annotations

from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.fuzz import nasty
from tests.fuzz.bodies import JSON
from tests.fuzz.damage import dump
from tests.fuzz.targets import SEARCHED, Targets

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "LINK")


def path(random: Random, targets: Targets) -> dict[str, Any]:
    """A path that leads nowhere, in every encoding."""
    parts = random.choice(targets.stored).split("/") if random.random() < 0.5 else [random.choice(SEARCHED)]
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(parts) + 1)
        trick = random.choice((*nasty.PATH_TRICKS, quote(nasty.text(random), safe="", errors="replace")[:8_000]))
        parts[at : at + random.randrange(2)] = [trick]
    root = random.choice(("/fhir/", "/fhir/", "/fhir/", "/fhir//", "/%66hir/", "/FHIR/", "/", "/health/"))
    method = random.choice(("GET", "GET", "HEAD", "POST", "PUT", "DELETE"))
    body = dump(targets.resource(random)) if method in ("POST", "PUT") else b""
    return {"method": method, "target": root + "/".join(parts), "headers": (JSON,), "body": body}


def header(random: Random, targets: Targets) -> dict[str, Any]:
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


def method(random: Random, targets: Targets) -> dict[str, Any]:
    """A method that the path does not have."""
    paths = ("", "metadata", "AuditEvent", "AuditEvent/x", "$import-document", "Patient/$match", "_history", "Nosuch/1")
    path = random.choice((*paths, random.choice(targets.stored), random.choice(targets.stored) + "/_history/1"))
    method = random.choice(_METHODS)
    headers = (JSON, ("If-Match", 'W/"999"'))
    body = b'{"resourceType":"Nosuch"}' if method in ("POST", "PUT", "PATCH") else b""
    return {"method": method, "target": f"/fhir/{path}", "headers": headers, "body": body}


def token(random: Random, targets: Targets) -> dict[str, Any]:
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


def protocol(random: Random, targets: Targets) -> dict[str, Any]:
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
