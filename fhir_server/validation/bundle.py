"""The invariants of Bundle, bdl-1 to bdl-12 (https://hl7.org/fhir/R4/bundle.html#invs), entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.validation.findings import Finding, Findings, Scope

_REQUESTS = frozenset({"batch", "transaction", "history"})
_RESPONSES = frozenset({"batch-response", "transaction-response", "history"})
_COUNTED = frozenset({"searchset", "history"})
_FIRST = {"document": ("Composition", "bdl-11"), "message": ("MessageHeader", "bdl-12")}

Entry = dict[str, Any]


def bundle_rule(bundle: dict[str, Any], scope: Scope) -> Findings:
    """The check of a Bundle as a whole. What has the wrong JSON type is told elsewhere and passed over here."""
    kind = bundle.get("type")
    if type(kind) is not str:
        return None
    listed = bundle.get("entry")
    entries = [
        (f".entry[{index}]", entry)
        for index, entry in enumerate(listed if type(listed) is list else ())
        if type(entry) is dict
    ]
    found = [_finding(*problem) for problem in _bundle_problems(bundle, kind, [e for _, e in entries])]
    for path, entry in entries:
        found += (_finding(path + below, text) for below, text in _entry_problems(kind, entry))
    if kind != "history":
        found += (_finding(path + ".fullUrl", text) for path, text in _repeated(entries))
    return found or None


def _finding(path: str, text: str) -> Finding:
    return path, "invariant", text, "error"


def _bundle_problems(bundle: dict[str, Any], kind: str, entries: list[Entry]) -> Iterator[tuple[str, str]]:
    """Rules about the Bundle itself, as (path, text)."""
    if _has(bundle, "total") and kind not in _COUNTED:
        yield ".total", "Only a searchset or a history has a total (bdl-1)."
    if kind == "document":
        identifier = bundle.get("identifier")
        named = identifier if type(identifier) is dict else {}
        if not (_has(named, "system") and _has(named, "value")):
            yield ".identifier", "A document has an identifier with system and value (bdl-9)."
        if "timestamp" not in bundle:
            yield ".timestamp", "A document has a timestamp (bdl-10)."
    if kind in _FIRST:
        expected, rule = _FIRST[kind]
        first = entries[0].get("resource") if entries else None
        if type(first) is not dict or first.get("resourceType") != expected:
            yield ".entry[0].resource", f"The first resource of a {kind} is a {expected} ({rule})."


def _entry_problems(kind: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Rules about one entry, as (path from the entry, text)."""
    if "search" in entry and kind != "searchset":
        yield ".search", "Only an entry of a searchset has a search (bdl-2)."
    if ("request" in entry) != (kind in _REQUESTS):
        yield ".request", "Every entry of a batch, transaction or history has a request, no other has (bdl-3)."
    if ("response" in entry) != (kind in _RESPONSES):
        yield ".response", "Every entry of a response or a history has a response, no other has (bdl-4)."
    if not ("resource" in entry or "request" in entry or "response" in entry):
        yield "", "An entry has a resource, a request or a response (bdl-5)."
    if "/_history/" in str(entry.get("fullUrl", "")):
        yield ".fullUrl", "A fullUrl does not name a version (bdl-8)."


def _repeated(entries: list[tuple[str, Entry]]) -> Iterator[tuple[str, str]]:
    """Rule bdl-7: entries with the fullUrl and the version of another one."""
    met: set[tuple[str, str]] = set()
    for path, entry in entries:
        if "fullUrl" in entry:
            key = str(entry["fullUrl"]), str(_version(entry.get("resource")))
            if key in met:
                yield path, "Entries of one fullUrl have different versions (bdl-7)."
            met.add(key)


def _version(resource: Any) -> Any:
    """meta.versionId of a resource, whatever stands there."""
    meta = resource.get("meta") if type(resource) is dict else None
    return meta.get("versionId", "") if type(meta) is dict else ""


def _has(owner: dict[str, Any], name: str) -> bool:
    """Whether the primitive element exists, with a value or with extensions alone."""
    return name in owner or "_" + name in owner
