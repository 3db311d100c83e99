"""References between resources (https://hl7.org/fhir/R4/search.html#reference)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from fhir_server.fhir.references import parse_reference
from fhir_server.search.entries import Ref, Uri
from fhir_server.search.kinds import token, uri
from fhir_server.search.kinds.asked import Asked, unescape
from fhir_server.search.kinds.bounds import CUT, GUESSED, cut
from fhir_server.search.kinds.sink import Add, Sink, passed_over
from fhir_server.search.predicate import Predicate, RefersTo, disj

# Logical references (Reference.identifier) are tokens of a parameter of their own.
IDENTIFIER: Final = ":identifier"
# Canonicals are uris of one too, for :above and :below.
CANONICAL: Final = ":canonical"
MODIFIERS: Final = frozenset({"", "identifier", "above", "below"})

_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}", re.ASCII)
_LOCAL: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}", re.ASCII)


def where(asked: Asked, text: str) -> Predicate:
    """`Type/id`, `id`, an absolute url or a canonical; with :identifier a token; with :[Type] an id of that type."""
    if asked.modifier == "identifier":
        return token.where(replace(asked, param=asked.param + IDENTIFIER, modifier=""), text)
    if asked.modifier in ("above", "below"):
        return _in_hierarchy(asked, text)
    value = unescape(text)
    if not _ID.fullmatch(value):
        return _pointed(asked, value)
    types = {asked.modifier} if asked.modifier else asked.targets
    if len(types) > GUESSED:
        raise asked.malformed("A type is needed before the id, as in Patient/123.")
    return disj(*(RefersTo(asked.param, f"{type_}/{value}") for type_ in sorted(types)))


def _in_hierarchy(asked: Asked, text: str) -> Predicate:
    if not {"canonical", "uri"}.intersection(asked.types):
        raise asked.malformed(f"The modifier {asked.modifier} is for canonicals; no hierarchy of resources is kept.")
    return uri.where(replace(asked, param=asked.param + CANONICAL), text)


def _pointed(asked: Asked, value: str) -> Predicate:
    target = local(value, asked.base_url)
    if target is None or ("/" not in target and ":" not in target):
        raise asked.malformed("A reference is expected, such as Patient/123.")
    if asked.modifier and not target.startswith(asked.modifier + "/"):
        raise asked.malformed(f"A reference to a {asked.modifier} is expected.")
    return RefersTo(asked.param, target)


def local(text: str, base_url: str) -> str | None:
    """What a literal reference points to: "Type/id" on this server, else the url without the version of the resource.

    None for a contained resource, a conditional reference and what is no reference.
    """
    if _LOCAL.fullmatch(text):
        return text
    parsed = parse_reference(text)
    if parsed.kind == "relative" or (parsed.kind == "absolute" and parsed.id and parsed.base == base_url):
        return f"{parsed.type}/{parsed.id}"
    if parsed.kind == "absolute" and parsed.version:
        return f"{parsed.base}/{parsed.type}/{parsed.id}"
    return text if parsed.kind in ("absolute", "urn") else None


def _reference(param: str, value: Any, sink: Sink) -> None:
    if type(value) is not dict:
        return
    read = sink.read.get(id(value))
    if read is None:
        literal = value.get("reference")
        target = local(literal, sink.base_url) if type(literal) is str else None
        read = sink.read[id(value)] = (target[:CUT] if target else None, value.get("identifier"))
    target, identifier = read
    if target:
        sink.references.append(Ref(param, target))
    if type(identifier) is dict:
        token.add_coded(param + IDENTIFIER, identifier.get("system"), identifier.get("value"), sink)


def _canonical(param: str, value: Any, sink: Sink) -> None:
    """A canonical as sent, and without its business version: a search that names none means any."""
    if type(value) is not str or value.startswith("#"):
        return
    sink.references.append(Ref(param, cut(value)))
    url, bar, _ = value.partition("|")
    sink.uris.append(Uri(param + CANONICAL, cut(url)))
    if bar:
        sink.references.append(Ref(param, cut(url)))


def _resource(param: str, value: Any, sink: Sink) -> None:
    """A resource inside another one, as the first of a document Bundle."""
    if type(value) is dict and type(value.get("resourceType")) is str and type(value.get("id")) is str:
        sink.references.append(Ref(param, cut(f"{value['resourceType']}/{value['id']}")))


ADD: Final[dict[str, Add]] = {
    "Reference": _reference,
    "canonical": _canonical,
    "uri": _canonical,
    "Resource": _resource,
    # Consent.source may be the document itself instead of a reference to it.
    "Attachment": passed_over,
}
