"""What a professional announces first: hidden, a notice after two weeks, shown after a month (access §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.consent.facts import month_after
from fhir_server.consent.labels import TRE_A07
from fhir_server.context import Answer, Context, Request, Services, Trace
from fhir_server.demo.build import Cast, actors, build
from fhir_server.errors import FhirServerError, Forbidden, Gone, Invalid, NotFound
from fhir_server.interactions.router import answer
from fhir_server.settings import Settings

DAY = 86_400_000_000
START = 1_767_600_000_000_000
INVISIBLE = {"coding": [{"system": TRE_A07, "code": "INVISIBLE_PATIENT"}]}
MASKED = {"coding": [{"system": TRE_A07, "code": "MASQUE_PS"}]}
NOT_FOR_THEM = {"coding": [{"system": TRE_A07, "code": "INVISIBLE_REPRESENTANTS_LEGAUX"}]}


class Room:
    """A server without a door, whose clock a test turns."""

    def __init__(self, parts: Services, cast: Cast, clock: list[int]) -> None:
        self._parts = parts
        self._clock = clock
        self.cast = cast
        self.people = actors(cast)

    def later(self, time: int) -> None:
        """Turn the clock to that time after START."""
        self._clock[0] = START + time

    async def ask(self, who: str | Actor, method: str, url: str, body: Any = None, kind: str = "") -> Answer:
        """One interaction of somebody of the cast."""
        path, _, query = url.partition("?")
        pairs = tuple(each.partition("=")[::2] for each in query.split("&")) if query else ()
        actor = self.people[who] if isinstance(who, str) else who
        sent = b"" if body is None else orjson.dumps(body)
        request = Request(method, tuple(path.split("/")), pairs, sent, kind or "application/fhir+json")
        return await answer(Context(self._parts, actor, Trace()), request)

    async def push(self, who: str | Actor, *labels: Any, patient: str = "patient", **more: Any) -> str:
        """A professional's document with these labels; its url."""
        resource = document(self.cast[patient], *labels, **more)
        made = await self.ask(who, "POST", "DocumentReference", resource)
        return made.location.partition("/_history")[0]

    async def total(self, who: str, type_: str, patient: str = "patient") -> int:
        """How many of a type somebody finds in a record."""
        named = {"DocumentReference": "&status:not=x", "List": "&status:not=x&code:not=x"}.get(type_, "")
        found = await self.ask(who, "GET", f"{type_}?patient={self.cast[patient]}&_total=accurate{named}")
        return int(orjson.loads(found.body)["total"])

    async def outcome(self, *asked: Any) -> type[FhirServerError] | int:
        """The status of an interaction, or the error that refuses it."""
        try:
            return (await self.ask(*asked)).status
        except FhirServerError as error:
            return type(error)


def document(patient: str, *labels: Any, **more: Any) -> dict[str, Any]:
    """A letter, with its text inside."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "content": [{"attachment": {"contentType": "text/plain", "data": "Qm9uam91cg=="}}],
        **({"securityLabel": list(labels)} if labels else {}),
        **more,
    }


def in_a_room(folder: Path, scene: Callable[[Room], Awaitable[None]]) -> None:
    """Play a scene of one test's own."""
    clock = [START]

    async def play() -> None:
        settings = Settings(store=f"sqlite:{folder / 'record.db'}", demo=True)
        async with services(settings, clock=lambda: clock[0]) as parts:
            await scene(Room(parts, await build(parts), clock))

    asyncio.run(play())


def without_label(room: Room, who: str | Actor, url: str) -> Awaitable[type[FhirServerError] | int]:
    """A PATCH that takes the labels of a document out."""
    return room.outcome(who, "PATCH", url, [{"op": "remove", "path": "/securityLabel"}], "application/json-patch+json")


def labelled(room: Room, who: str | Actor, url: str, *labels: Any) -> Awaitable[type[FhirServerError] | int]:
    """A PATCH that sets the labels of a document."""
    patch = [{"op": "add", "path": "/securityLabel", "value": list(labels)}]
    return room.outcome(who, "PATCH", url, patch, "application/json-patch+json")


def test_the_clock_alone_tells_and_then_shows(tmp_path: Path) -> None:
    """REC-120 to REC-123: two weeks, a notice without content; a calendar month, the document; nothing is written."""

    async def scene(room: Room) -> None:
        before = await room.total("patient", "DocumentReference")
        url = await room.push("biologist", INVISIBLE)
        shown = orjson.loads((await room.ask("medecin_traitant", "GET", url)).body)
        assert shown["securityLabel"][0]["coding"][0]["code"] == "INVISIBLE_PATIENT"
        for time, told, seen in (
            (0, 0, 0),
            (14 * DAY - 1, 0, 0),
            (14 * DAY, 1, 0),
            (month_after(START) - START - 1, 1, 0),
            (month_after(START) - START, 1, 1),
        ):
            room.later(time)
            assert await room.total("patient", "Communication") == told
            assert await room.total("patient", "DocumentReference") == before + seen
            assert await room.outcome("patient", "GET", url) == (200 if seen else NotFound)
        found = await room.ask("patient", "GET", f"Communication?patient={room.cast['patient']}")
        [entry] = orjson.loads(found.body)["entry"]
        notice = entry["resource"]
        assert notice["payload"] == [
            {"contentString": "Votre dossier a été mis à jour."},
            {"contentString": "Your record has been updated."},
        ]
        assert url not in found.body.decode()
        for who in ("medecin_traitant", "care_team", "biologist"):
            assert await room.total(who, "Communication") == 0

    in_a_room(tmp_path, scene)


@pytest.mark.parametrize("who", ["biologist", "medecin_traitant"])
def test_the_author_or_the_medecin_traitant_announces(tmp_path: Path, who: str) -> None:
    """REC-121: the label out, the document is there at once, and the notice that was to come never was."""

    async def scene(room: Room) -> None:
        url = await room.push("biologist", INVISIBLE)
        assert await without_label(room, "care_team", url) is Forbidden
        assert await room.outcome("patient", "GET", url) is NotFound
        assert await without_label(room, who, url) == 200
        assert await room.outcome("patient", "GET", url) == 200
        room.later(40 * DAY)
        assert await room.total("patient", "Communication") == 0
        history = orjson.loads((await room.ask("patient", "GET", "Communication/_history")).body)
        assert history.get("entry", []) == []
        assert await labelled(room, who, url, INVISIBLE) is Invalid

    in_a_room(tmp_path, scene)


def test_what_is_withdrawn_is_not_announced(tmp_path: Path) -> None:
    """DOC-17, both ways: DELETE, and the status entered-in-error; who saw it is told that it is gone."""

    async def scene(room: Room) -> None:
        for withdraw in (
            ("DELETE", None, ""),
            (
                "PATCH",
                [{"op": "replace", "path": "/status", "value": "entered-in-error"}],
                "application/json-patch+json",
            ),
        ):
            url = await room.push("biologist", INVISIBLE)
            method, body, kind = withdraw
            assert await room.outcome("care_team", method, url, body, kind) is Forbidden
            assert await room.outcome("biologist", method, url, body, kind) in (200, 204)
            assert await room.outcome("biologist", "GET", url) is Gone
            assert await room.outcome("medecin_traitant", "GET", url) is Gone
            assert await room.outcome("patient", "GET", url) is NotFound
            asked = f"DocumentReference?patient={room.cast['patient']}&status=current"
            found = await room.ask("biologist", "GET", asked)
            assert url.partition("/")[2] not in found.body.decode()
        room.later(40 * DAY)
        assert await room.total("patient", "Communication") == 0

    in_a_room(tmp_path, scene)


def test_a_replacement_neither_announces_nor_starts_again(tmp_path: Path) -> None:
    """REC-124: one notice, two weeks after the first deposit; the replacement is hidden to the end of that month."""

    async def scene(room: Room) -> None:
        first = await room.push("biologist", INVISIBLE)
        room.later(10 * DAY)
        relates = [{"code": "replaces", "target": {"reference": first}}]
        second = await room.push("biologist", relatesTo=relates)
        assert await room.outcome("patient", "GET", second) is NotFound
        room.later(14 * DAY)
        assert await room.total("patient", "Communication") == 1
        room.later(month_after(START) - START)
        assert await room.outcome("patient", "GET", second) == 200
        assert await room.total("patient", "Communication") == 1

    in_a_room(tmp_path, scene)


def test_representatives_are_told_as_the_patient_is(tmp_path: Path) -> None:
    """Unless it is hidden from them: no document after the month, no notice after two weeks."""

    async def scene(room: Room) -> None:
        await room.push("biologist", INVISIBLE, patient="child")
        hidden = await room.push("biologist", INVISIBLE, NOT_FOR_THEM, patient="child")
        room.later(14 * DAY)
        assert await room.total("representative", "Communication", "child") == 1
        room.later(month_after(START) - START)
        assert await room.outcome("representative", "GET", hidden) is NotFound

    in_a_room(tmp_path, scene)


def test_who_masks_and_who_unmasks_a_document(tmp_path: Path) -> None:
    """DOC-23: author and médecin traitant mask and unmask; nobody but the holder takes the holder's mask away."""

    async def scene(room: Room) -> None:
        url = await room.push("biologist")
        assert await labelled(room, "care_team", url, MASKED) is Forbidden
        assert await labelled(room, "other_doctor", url, MASKED) is NotFound
        assert await labelled(room, "app", url, MASKED) is Forbidden
        for who in ("biologist", "medecin_traitant"):
            assert await labelled(room, who, url, MASKED) == 200
            assert await room.outcome("care_team", "GET", url) is NotFound
            assert await room.outcome("app", "GET", url) is NotFound
            for reader in ("biologist", "medecin_traitant", "patient"):
                assert await room.outcome(reader, "GET", url) == 200
            other = "medecin_traitant" if who == "biologist" else "biologist"
            assert await without_label(room, other, url) == 200
            assert await room.outcome("care_team", "GET", url) == 200
        assert await labelled(room, "patient", url, MASKED) == 200
        for who in ("biologist", "medecin_traitant"):
            assert await without_label(room, who, url) is Forbidden
            again = await room.push("biologist", relatesTo=[{"code": "replaces", "target": {"reference": url}}])
            assert await without_label(room, who, again) is Forbidden
            url = again
        assert await room.outcome("care_team", "GET", url) is NotFound
        assert await without_label(room, "patient", url) == 200
        assert await room.outcome("care_team", "GET", url) == 200

    in_a_room(tmp_path, scene)


def test_who_is_not_the_author_changes_labels_and_nothing_else(tmp_path: Path) -> None:
    """DOC-20, DOC-23: 403 for status and archive, 405 for the rest, 403 for labels that are not visibility."""

    async def scene(room: Room) -> None:
        url = await room.push("biologist")
        archive = {
            "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived",
            "valueBoolean": True,
        }
        sensitive = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]}
        for who in ("patient", "medecin_traitant"):
            for path, value, expected in (
                ("/status", "superseded", "Forbidden"),
                ("/status", "entered-in-error", "Forbidden"),
                ("/extension", [archive], "Forbidden"),
                ("/meta/tag", [{"code": "x"}], "Forbidden"),
                ("/securityLabel", [sensitive], "Forbidden"),
                ("/securityLabel", [NOT_FOR_THEM], "Forbidden"),
                ("/description", "x", "MethodNotAllowed"),
            ):
                patch = [{"op": "add", "path": path, "value": value}]
                refused = await room.outcome(who, "PATCH", url, patch, "application/json-patch+json")
                assert getattr(refused, "__name__", refused) == expected, (who, path)
            assert await room.outcome(who, "DELETE", url) is Forbidden
        for path, value in (("/extension", [archive]), ("/status", "superseded"), ("/securityLabel", [sensitive])):
            patch = [{"op": "add", "path": path, "value": value}]
            assert await room.outcome("biologist", "PATCH", url, patch, "application/json-patch+json") == 200

    in_a_room(tmp_path, scene)


def test_the_correction_right_needs_no_right_to_read(tmp_path: Path) -> None:
    """access §3.5: blocked, the author still archives, masks, supersedes and withdraws; the answers have no body."""

    async def scene(room: Room) -> None:
        from fhir_server.demo.family import consent, named

        first, second = await room.push("biologist"), await room.push("biologist")
        rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000077"}}
        block = consent(room.cast["patient"], "block", {"type": "deny", "actor": named(rpps)})
        assert await room.outcome("patient", "POST", "Consent", block) == 201
        assert await room.outcome("biologist", "GET", first) is NotFound
        patch = [{"op": "add", "path": "/securityLabel", "value": [MASKED]}]
        changed = await room.ask("biologist", "PATCH", first, patch, "application/json-patch+json")
        assert (changed.status, changed.body) == (200, b"")
        assert await room.outcome("care_team", "GET", first) is NotFound
        relates = [{"code": "replaces", "target": {"reference": first}}]
        replaced = await room.ask(
            "biologist", "POST", "DocumentReference", document(room.cast["patient"], relatesTo=relates)
        )
        assert (replaced.status, replaced.body) == (201, b"")
        assert await room.outcome("care_team", "GET", replaced.location.partition("/_history")[0]) is NotFound
        assert await room.outcome("biologist", "DELETE", second) == 204
        assert await room.outcome("patient", "GET", second) is Gone

    in_a_room(tmp_path, scene)


def test_a_secret_session_leaves_no_trace_for_representatives(tmp_path: Path) -> None:
    """access §7: every deposit carries the label, else 422; no document, no appointment, no message, no line."""

    async def scene(room: Room) -> None:
        secret = replace(room.people["other_doctor"], secret=True)
        child = room.cast["child"]
        assert await room.outcome(secret, "POST", "DocumentReference", document(child)) is Invalid
        url = await room.push(secret, NOT_FOR_THEM, patient="child")
        assert await room.outcome("representative", "GET", url) is NotFound
        appointment = {
            "resourceType": "Appointment",
            "status": "proposed",
            "participant": [{"actor": {"reference": child}, "status": "accepted"}],
        }
        assert await room.outcome(secret, "POST", "Appointment", appointment) is Invalid
        appointment["meta"] = {"security": NOT_FOR_THEM["coding"]}
        made = await room.ask(secret, "POST", "Appointment", appointment)
        assert await room.outcome("representative", "GET", made.location.partition("/_history")[0]) is NotFound
        assert await room.total("representative", "Appointment", "child") == 0
        log = await room.ask("representative", "GET", f"AuditEvent?patient={child}&_count=200")
        assert url.partition("/")[2] not in log.body.decode()
        assert room.people["other_doctor"].name not in log.body.decode()

    in_a_room(tmp_path, scene)
