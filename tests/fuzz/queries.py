"""Searches that mean nothing, and paging links that nobody was given."""

from __future__ import annotations

from random import Random
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes

from tests.fuzz import nasty
from tests.fuzz.targets import SEARCHED, Targets

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
# What makes sense for parameters of a type, and is pulled out of shape.
_TYPED: Final = {
    "date": ("2024", "ge2024-01", "lt2024-02-30", "ap", "sa2024-01-01T00:00:00", "eq2024-01-01T00:00:00.1+99:00"),
    "number": ("0.8", "gt", "1e3", "ap-0", "le1e999"),
    "quantity": ("5.4|http://unitsofmeasure.org|%", "gt5.4||", "5.4|", "||%", "ap1e-999|u|c", "1|2|3|4"),
    "token": ("a|b", "|b", "a|", "true", "a|b,c", "a|b|c", "|"),
    "reference": ("Patient/x", "x", "http://example.org/Patient/x", "Patient/x/_history/1", "/", "Patient/"),
    "string": ("Martin", "M\\,a", "%", "_", "\\", "\u0130"),
    "uri": ("http://example.org/x", "urn:oid:1.2", "//", "http://["),
    "composite": ("a|b$5", "$", "a$b$c", "a|b$gt5.4|u|c", "a"),
    "special": ("48.8|2.3|11|km", "x"),
}
_MODIFIERS: Final = (
    *("missing", "exact", "contains", "text", "not", "in", "not-in", "below", "above", "of-type", "identifier"),
    *("Patient", "iterate", "nosuch", ""),
)


def query(random: Random, targets: Targets) -> dict[str, Any]:
    """Search criteria that mean nothing; GET, or POST with the form in its body."""
    type_ = random.choice(SEARCHED)
    pairs = "&".join(_pair(random, targets, type_) for _ in range(random.choice((1, 1, 2, 3, 5, 40))))
    if random.random() < 0.05:
        pairs += "&a=b" * 600
    if random.random() < 0.6:
        pairs += f"&patient={targets.people['patient']}"
    strict = (("Prefer", "handling=strict"),) if random.random() < 0.3 else ()
    if random.random() < 0.3:
        headers = (("Content-Type", "application/x-www-form-urlencoded"), *strict)
        return {"method": "POST", "target": f"/fhir/{type_}/_search", "headers": headers, "body": pairs.encode()}
    path = random.choice((*[type_] * 8, f"{random.choice(targets.stored)}/_history", random.choice(targets.stored)))
    return {"target": f"/fhir/{path}?{pairs}", "headers": strict}


def cursor(random: Random, targets: Targets) -> dict[str, Any]:
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
        link += b"&" + _pair(random, targets, "DocumentReference").encode()
    return {"target": "/fhir/" + link.decode()}


def _pair(random: Random, targets: Targets, type_: str) -> str:
    kind = random.randrange(4, 14) if random.random() < 0.8 else random.randrange(4)
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
    if kind < 10:
        return _typed_pair(random, targets, type_)
    return any_pair(random, targets)


def any_pair(random: Random, targets: Targets | None) -> str:
    """A parameter and a value that need not fit each other; of a type of the house when `targets` is given."""
    if targets and random.random() < 0.5:
        return _typed_pair(random, targets, random.choice(SEARCHED))
    name, value = random.choice(_PARAMETERS), random.choice((*_VALUES, nasty.text(random)))
    return f"{name}={_quoted(value)}"


def _typed_pair(random: Random, targets: Targets, type_: str) -> str:
    """A parameter that the type has, and values nearly of its kind."""
    name, kind = random.choice(targets.parameters[type_])
    values = [random.choice(_TYPED.get(kind, ("x",))) for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.4:
        values.append(nasty.text(random))
    if random.random() < 0.3:
        name += ":" + random.choice(_MODIFIERS)
    if random.random() < 0.15:
        name = random.choice(
            (f"subject.{name}", f"subject:Patient.{name}", f"_has:{type_}:subject:{name}", f"{name}.{name}")
        )
    return f"{name}={_quoted(','.join(values))}"


def _quoted(value: str) -> str:
    return quote(value, safe="|:/,$*()", errors="replace")[:4_000]
