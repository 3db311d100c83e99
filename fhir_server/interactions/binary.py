"""Binary: its content goes in and out raw, as well as in a resource (https://hl7.org/fhir/R4/binary.html#rest)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

import orjson

from fhir_server.context import Answer, Request

FHIR_JSON: Final = ("application/fhir+json", "application/json", "text/json")
# Content is served inert: whatever a document carries, a browser neither runs nor shows it in this origin.
_INERT: Final = (
    ("Content-Disposition", "attachment"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
)


def content(request: Request, answer: Answer) -> Answer:
    """The answer to a read: for a Binary the bytes themselves, unless FHIR is asked for by name (in XML too: what is
    inside speaks JSON)."""
    if request.path[0] != "Binary" or request.accept == FHIR_JSON[0]:
        return answer
    binary = orjson.loads(answer.body)
    answer.body = b64decode(binary.get("data", ""))
    answer.content_type = binary.get("contentType", "application/octet-stream")
    answer.headers = _INERT
    return answer


def resource(content_type: str, data: bytes, id: str = "") -> bytes:
    """The Binary resource of content that was sent raw, under the id of its url if it had one."""
    named = {"id": id} if id else {}
    content = {"contentType": content_type, "data": b64encode(data).decode()}
    return orjson.dumps({"resourceType": "Binary", **named, **content})
