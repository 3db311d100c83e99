"""The files of a migration: where they lie, and each read and converted as far as that needs no record.

What a file is, its content tells. A zip that is no XDM archive is a folder in a file. Nothing of a file's name, which
may be a person's, gets anywhere but into the journal and the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fhir_server.errors import FhirServerError, Invalid, Issue
from fhir_server.fhir.json import parse
from fhir_server.record.incoming import Incoming, Wanted, prepared
from fhir_server.record.pushed import Told, ordered, refused, unique_ids
from importers.archive import Archive
from importers.detect import Kind, detect
from importers.issues import refusal
from importers.limits import MB, Limits
from importers.submission import Submission, open_submission

_DOCUMENTS: Final = (Kind.CDA, Kind.WRAPPED_CDA, Kind.EBRIM, Kind.ZIP)
_SUBSET: Final = "METADATA.XML"
_FOLDER: Final = Limits(zip_bytes=4096 * MB, zip_members=100_000, zip_inflated_bytes=65_536 * MB, zip_ratio=1000)
"""What the operator's own zip may hold: a whole migration."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or a member of a zip. `named`: the operator named it, so that it has to be a document."""

    path: Path
    member: str = ""
    named: bool = False

    def __str__(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """Its bytes. Raises OSError, and what an archive raises."""
        if self.member:
            return Archive(self.path.read_bytes(), _FOLDER).read(self.member)
        return self.path.read_bytes()

    def beside(self) -> bytes | None:
        """What lies beside it under its name with `.json`: the DocumentReference of a document that says nothing of
        itself. Raises what `read` raises."""
        if not self.member:
            found = self.path.with_suffix(".json")
            return found.read_bytes() if found.is_file() else None
        archive, name = Archive(self.path.read_bytes(), _FOLDER), str(PurePosixPath(self.member).with_suffix(".json"))
        return archive.read(name) if name in archive.names else None


@dataclass(frozen=True, slots=True)
class Read:
    """A file with its documents, converted or refused.

    `skipped`: it lies among documents and is none; `known`: it was done before.
    """

    place: Place
    sha256: str
    documents: tuple[Incoming | Told, ...] = ()
    skipped: bool = False
    known: bool = False


def places_in(paths: Iterable[Path]) -> list[Place]:
    """The files named, and every file of the folders and zips named, in the order of their names."""
    found: dict[tuple[Path, str], Place] = {}
    for path in paths:
        for each in _places(path):
            found.setdefault((each.path, each.member), each)
    return list(found.values())


def _places(path: Path) -> Iterator[Place]:
    if not path.is_dir():
        yield from _members(Place(path, named=True))
        return
    for each in sorted(path.rglob("*")):
        if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts):
            yield from _members(Place(each))


def _members(place: Place) -> Iterator[Place]:
    """The file; of a zip that is a folder, what is in it."""
    if place.path.suffix.lower() != ".zip":
        yield place
        return
    try:
        names = Archive(place.path.read_bytes(), _FOLDER).names
    except (OSError, FhirServerError):
        # What is wrong with it is told when it is read.
        yield place
        return
    if any(each.upper().startswith("IHE_XDM/") and each.upper().endswith(_SUBSET) for each in names):
        yield place
    else:
        yield from (replace(place, member=each, named=False) for each in sorted(names))


def read_place(place: Place, wanted: Wanted, done: Collection[str] = ()) -> Read:
    """A file as far as it can be read without a record. Never raises: what is wrong with it is its outcome.

    `done`: the SHA-256 of what was in it when it was imported before.
    """
    try:
        content = place.read()
    except FhirServerError as error:
        return Read(place, "", (refused(error),))
    except OSError:
        return Read(place, "", (refused(refusal(Invalid, "not-a-document", detail="cannot be read")),))
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 in done:
        return Read(place, sha256, known=True)
    try:
        kind = detect(content)
        beside = place.beside() if kind is Kind.PDF else None
        if not place.named and kind not in _DOCUMENTS and beside is None:
            return Read(place, sha256, skipped=True)
        wanted = replace(wanted, metadata=_described(beside)) if beside is not None else wanted
        submissions = open_submission(content, wanted.limits)
    except FhirServerError as error:
        return Read(place, sha256, (refused(error),))
    wanted = replace(wanted, others=unique_ids(submissions))
    documents = tuple(_prepared(submissions[each], wanted) for each in ordered(submissions))
    return Read(place, sha256, documents)


def _described(text: bytes) -> dict[str, Any]:
    """The DocumentReference that a file holds. Raises Malformed or Invalid for anything else; whether it is a valid one
    is judged where all that is stored is."""
    found = parse(text)
    try:
        if (
            isinstance(found, dict)
            and found["resourceType"] == "DocumentReference"
            and found["content"][0]["attachment"]
        ):
            return found
    except (KeyError, IndexError, TypeError):
        pass
    raise Invalid(issues=[Issue("invalid", "The file beside a PDF holds its DocumentReference.", "metadata")])


def _prepared(submission: Submission, wanted: Wanted) -> Incoming | Told:
    try:
        if submission.refused or submission.document is None:
            raise Invalid(issues=[submission.refused] if submission.refused else ())
        return prepared(submission.document, submission.metadata, wanted)
    except FhirServerError as error:
        return refused(error)
    except Exception as error:
        # A fault of ours costs this document, not the migration.
        return refused(FhirServerError(f"The importer failed ({type(error).__name__})."))
