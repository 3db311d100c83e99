"""What a CDA document becomes: its bytes, its resources, and the report of what happened to each entry.

Source: importers page §4, §8 and §9.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.errors import Issue
from importers.cda.entries.dispatch import Outcome
from importers.detect import Kind


@dataclass(frozen=True, slots=True)
class Attachment:
    """The bytes of one Binary; `security_context` is the reference that says who may see it."""

    id: str
    media_type: str
    data: bytes = field(repr=False)
    security_context: str

    @property
    def full_url(self) -> str:
        """Its fullUrl in a transaction."""
        return f"urn:uuid:{self.id}"

    def binary(self) -> dict[str, Any]:
        """The R4 Binary, its data in base64."""
        return {
            "resourceType": "Binary",
            "id": self.id,
            "contentType": self.media_type,
            "securityContext": {"reference": self.security_context},
            "data": b64encode(self.data).decode(),
        }


@dataclass(frozen=True, slots=True)
class EntryCounts:
    """The entries of a body: total = mapped + narrative_only + failed."""

    total: int
    narrative_only: int
    mapped: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a document: counts, issues that did not stop it, milliseconds of read and convert.

    `outcomes` has one line an entry, in the order of the document; `covered` counts the sections of which an entry was
    mapped, `dangling` the references into the narrative that lead nowhere, `unknown_systems` how often an OID without
    URI was met.
    """

    kind: Kind
    level: int
    sections: int
    entries: EntryCounts
    issues: tuple[Issue, ...]
    milliseconds: float
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)
    covered: int = 0
    dangling: int = 0
    unknown_systems: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a document becomes.

    `attachments` are the bytes, the original first; `composition` is None at level 1; `discrete` holds the encounter
    and what the entries say; `provenances` are the one of the document and, if anything is discrete, the one of that.
    The id of a resource is its key: importing the same document for the same subject gives the same id again, whatever
    id the record stores the resource under. References between them are `urn:uuid:` and that id. `relatesTo` is left
    to the caller, who knows which of `Parsed.names.parents` exist. The type and the described patient are those of the
    Parsed, not copies. Numbers are Decimal: `fhir.json.dump_exact` writes them.
    """

    document_reference: dict[str, Any]
    attachments: tuple[Attachment, ...]
    report: Report
    composition: dict[str, Any] | None = None
    discrete: tuple[dict[str, Any], ...] = ()
    provenances: tuple[dict[str, Any], ...] = ()

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources in full, Binaries first; the fullUrl of each is `urn:uuid:` and its id."""
        return [*(each.binary() for each in self.attachments), *self.described]

    @property
    def described(self) -> list[dict[str, Any]]:
        """The resources without the Binaries."""
        composition = [self.composition] if self.composition else []
        return [self.document_reference, *composition, *self.discrete, *self.provenances]

    def without_discrete(self) -> Conversion:
        """The same without what exists for the current version of a document only, and without references to it."""
        return self.without({each["id"] for each in self.discrete})

    def without(self, ids: Collection[str]) -> Conversion:
        """The same without those of the discrete resources, and without references to them."""
        gone = {f"urn:uuid:{each}" for each in ids}
        kept = [_cut(each, gone) for each in self.discrete if each["id"] not in ids]
        return replace(
            self,
            document_reference=_cut(self.document_reference, gone),
            composition=_cut(self.composition, gone) if self.composition else None,
            discrete=tuple(kept),
            provenances=tuple(_cut(each, gone) for each in self.provenances[: 2 if kept else 1]),
        )


def _cut(resource: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """A copy of a resource without the references to those URLs."""
    found: dict[str, Any] = {}
    for name, value in resource.items():
        kept: Any = value
        if isinstance(value, dict):
            kept = None if value.get("reference") in gone else _cut(value, gone)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            kept = [_cut(each, gone) for each in value if each.get("reference") not in gone]
        if kept not in (None, [], {}):
            found[name] = kept
    return found
