"""Values that have broken parsers before: texts, numbers, dates, references, urls."""

from __future__ import annotations

from random import Random
from typing import Any, Final

TEXTS: Final = (
    "",
    " ",
    "\t\n",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\u202e\u2066",
    "\ufeff",
    "\U0001f9ec" * 40,
    "e\u0301" * 50,
    "İıſK",
    "' OR 1=1 --",
    '"; DROP TABLE version; --',
    "%00%ff%",
    "../../../../etc/passwd",
    "{{7*7}}${7*7}",
    "<script>alert(1)</script>",
    "<div xmlns='http://www.w3.org/1999/xhtml'><script/></div>",
    "\\u0000\\",
    "null",
    "NaN",
    "\r\nSet-Cookie: a=b",
    "x" * 65,
    "A" * 3_000,
    "|",
    "||||",
    "$",
    ",",
    "\\,",
    "_history",
    "$import-document",
)
DATES: Final = (
    "2024-02-30",
    "2024-13-01",
    "0000-01-01",
    "10000-01-01",
    "2024-1-1",
    "24",
    "2024-W01",
    "2024-01-01T",
    "2024-01-01T25:00:00Z",
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:61Z",
    "2024-01-01T00:00:00+25:00",
    "9999-12-31T23:59:59.999999999999999999999Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "२०२४-०१-०१",
    "2024-01-01T00:00:00−01:00",
    "ge2024-02-30",
    "2024-02-29T12:00",
)
REFERENCES: Final = (
    "",
    "/",
    "//",
    "Patient",
    "Patient/",
    "Patient/..",
    "Patient/../Consent",
    "Patient/a b",
    "Patient/" + "x" * 65,
    "Patient/1/_history/",
    "Patient/1/_history/99999999999999999999",
    "Patient/1/_history/١",
    "NoSuchType/1",
    "Patient?",
    "Patient?identifier=",
    "Patient?identifier=|",
    "Patient?_id=",
    "Patient?birthdate=ge",
    "Patient?nosuch=1",
    "NoSuchType?_id=1",
    "?_id=1",
    "#",
    "#nothing",
    "urn:uuid:",
    "urn:uuid:not-a-uuid",
    "urn:oid:1..2",
    "http://",
    "http://[",
    "http://[::1",
    "http://a:b:c/Patient/1",
    "http://127.0.0.1:99999/fhir/Patient/1",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "\x00",
)
# Numbers as JSON tokens: some are no JSON at all, and some fit no machine type.
NUMBERS: Final = (
    "0",
    "-0",
    "-1",
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "1e400",
    "-1e400",
    "1e-400",
    "1E+999999999",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "1" + "0" * 400,
    "0." + "3" * 400,
    "NaN",
    "Infinity",
    "-Infinity",
    "1_000",
)
PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "zz", "GE", "=")
# Bytes that may stand in a request target, percent-encoded.
PATH_TRICKS: Final = (
    "%00",
    "%",
    "%zz",
    "%2e%2e%2f",
    "..",
    ".",
    "%2f",
    "%5c",
    "%c0%af",
    "%ff%fe",
    "%ed%a0%80",
    "%e2%80%ae",
    "%25%30%30",
    "%0d%0aX:y",
    "%20",
    "+",
    ";a=b",
    "~",
    "*",
    "$",
    "_",
    "_history",
    "_search",
    "'",
    "%F0%9F%A7%AC",
    "x" * 65,
    "x" * 6000,
    "-",
    ":",
    "@",
)


class Raw(str):
    """A JSON token to be written as it stands, valid or not."""


def text(random: Random) -> str:
    """A text of any of the kinds."""
    return random.choice(random.choice((TEXTS, DATES, REFERENCES)))


def value(random: Random) -> Any:
    """A JSON value of any type."""
    kind = random.randrange(9)
    if kind < 3:
        return text(random)
    if kind < 5:
        return Raw(random.choice(NUMBERS))
    return random.choice(
        (None, True, False, [], {}, [[]], [None], {"": 1}, [{}], {"resourceType": "Patient"}, 1, -1, 0.5)
    )


def nested(random: Random) -> Any:
    """Something deep."""
    depth = random.choice((10, 30, 62, 63, 64, 65, 66, 100, 100, 1_000, 1_000, 20_000))
    opened, closed = random.choice((("[", "]"), ('{"a":', "}"), ('{"extension":[', "]}")))
    return Raw(opened * depth + "1" + closed * depth)
