"""Forms as OAuth has them, and the answers: JSON that nobody between keeps (RFC 6749 §3.2, §5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import JSONResponse

from fhir_server.auth.refusals import Refused

FORM: Final = "application/x-www-form-urlencoded"

_LARGEST: Final = 65_536
_MOST_FIELDS: Final = 50
_UNKEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="oauth"'}


def described(*names: str) -> dict[str, Any]:
    """The form of an endpoint, for the OpenAPI document: its parameters, each a text."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of a form. Raises Refused (invalid_request) for any other body, and for one given twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused("invalid_request", f"The body is {FORM}.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise Refused("invalid_request", "The form is too large.", status=413)
    try:
        return parameters(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refused("invalid_request", "The form cannot be read.") from error


def parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each once, as RFC 6749 §3.1 wants it, those without a value left out; raises Refused otherwise."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Refused("invalid_request", "A parameter is given twice.")
        if value:
            found[name] = value
    return found


def answer(said: Mapping[str, Any]) -> JSONResponse:
    """An answer that holds secrets."""
    return JSONResponse(dict(said), headers=_UNKEPT)


def public(said: Mapping[str, Any]) -> JSONResponse:
    """An answer that may be kept for a while."""
    return JSONResponse(dict(said), headers={"Cache-Control": "public, max-age=300"})


def refusal(refused: Refused) -> JSONResponse:
    """The refusal as RFC 6749 §5.2 has it."""
    said = {"error": refused.code, "error_description": refused.text} if refused.text else {"error": refused.code}
    return JSONResponse(said, refused.status, headers=_UNKEPT | (_CHALLENGE if refused.status == 401 else {}))
