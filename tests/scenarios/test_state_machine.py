"""Random acts of ten people in one record, after each of which some of them look: the server agrees with a naive model.

`ACCESS_EXAMPLES` and `ACCESS_STEPS` make it longer (`make fuzz-access`); with `ACCESS_SHRINK` a failure is made small.
One machine asks the interactions themselves, another comes through the door, over HTTP.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fhir_server.app import create_app, services
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import authenticate, issue, revoke
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.demo.family import consent, named
from fhir_server.errors import FhirServerError
from fhir_server.interactions.router import answer
from fhir_server.interactions.status import status_of
from fhir_server.settings import Settings
from tests.leaks import mutants
from tests.live import UNLIMITED, free_port
from tests.scenarios.record_model import (
    DOCUMENTS,
    KINDS,
    OTHERS,
    PEOPLE,
    Record,
    Row,
    Said,
    a_month_after,
)

EXAMPLES = int(os.environ.get("ACCESS_EXAMPLES", "12"))
# A failure of the suite is told as it came: to make it smaller takes minutes.
PHASES = [Phase.generate, Phase.shrink] if "ACCESS_SHRINK" in os.environ else [Phase.generate]
STEPS = int(os.environ.get("ACCESS_STEPS", "40"))
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FOREVER = timedelta(days=4_000)
BASE = "https://example.org/fhir-server"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
ADMIN = Actor("admin", "Device/admin", "Administrator", "admin")
TYPES = "DocumentReference,Observation,AllergyIntolerance,MedicationRequest,CarePlan"


def micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


@dataclass
class Told:
    """An answer: its status, and what it says."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    location: str = ""

    @property
    def links(self) -> list[str]:
        """The resources of a Bundle."""
        return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in self.body.get("entry", ())]


class World:
    """A server with a clock that is turned by hand, for the length of many records."""

    def __init__(self, parts: Services, clock: list[int], http: httpx.AsyncClient | None) -> None:
        self.parts = parts
        self.clock = clock
        self.http = http
        self.people: dict[str, str] = {}

    async def token(self, actor: Actor) -> str:
        """A login."""
        return await issue(self.parts.store.ledger, actor, ttl=micros(START + FOREVER), now=self.clock[0])

    async def ask(self, token: str, method: str, url: str, body: Any = None, kind: str = "") -> Told:
        """One request of whoever has that token; of the administrator without one."""
        sent = b"" if body is None else orjson.dumps(body)
        kind = kind or "application/fhir+json"
        if self.http is not None and token:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
            reply = await self.http.request(method, url, content=sent, headers=headers)
            place = reply.headers.get("location", "").partition("/fhir/")[2]
            return Told(reply.status_code, reply.json() if reply.content else {}, place.partition("/_history")[0])
        path, _, query = url.partition("?")
        pairs = tuple(each.partition("=")[::2] for each in query.split("&")) if query else ()
        try:
            header, now = f"Bearer {token}", self.clock[0]
            actor = await authenticate(self.parts.store.ledger, header, now=now) if token else ADMIN
            request = Request(method, tuple(path.split("/")) if path else (), pairs, sent, kind)
            made = await answer(Context(self.parts, actor, Trace()), request)
        except FhirServerError as error:
            return Told(status_of(error), {"said": [str(each) for each in error.issues]})
        said = orjson.loads(made.body) if made.body else {}
        return Told(made.status, said, made.location.partition("/_history")[0])

    async def made(self, token: str, resource: dict[str, Any]) -> str:
        """The link of a new resource."""
        told = await self.ask(token, "POST", resource["resourceType"], resource)
        assert told.status == 201, told
        return told.location


@asynccontextmanager
async def world(folder: Path, *, door: bool) -> AsyncIterator[World]:
    """A world in that folder; `door`: its people come over HTTP."""
    clock = [micros(START)]
    chosen = Settings(store=f"sqlite:{folder / 'record.db'}", port=free_port(), demo=True, **UNLIMITED)
    async with services(chosen, clock=lambda: clock[0]) as parts:
        if not door:
            made = World(parts, clock, None)
            await _directory(made)
            yield made
            return
        app = create_app(chosen, clock=lambda: clock[0])
        async with (
            _running(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=chosen.fhir_base + "/") as http,
        ):
            made = World(parts, clock, http)
            await _directory(made)
            yield made


@asynccontextmanager
async def _running(app: Any) -> AsyncIterator[None]:
    """The lifespan of an ASGI application."""
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, heard.get, said.put))
    await heard.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    yield
    await heard.put({"type": "lifespan.shutdown"})
    await task


async def _directory(made: World) -> None:
    for name, each in PEOPLE.items():
        identifier = [{"system": "https://rpps.esante.gouv.fr", "value": each.rpps}]
        made.people[name] = await made.made("", {"resourceType": "Practitioner", "identifier": identifier})


class Acts(RuleBasedStateMachine):
    """What may happen in a record. `world` and `run` are set by the test."""

    world: World
    run: Callable[[Awaitable[Any]], Any]

    @initialize()
    def begin(self) -> None:
        """A new record: an adult with a guardian, an application and no directive."""
        self.run(self._begin())

    async def _begin(self) -> None:
        made = self.world
        made.clock[0] += 1_000_000
        person = {"resourceType": "Patient", "active": True, "birthDate": "1980-01-01"}
        self.patient = await made.made("", person)
        relation = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "GUARD"}]}]
        guardian = {"resourceType": "RelatedPerson", "active": True, "patient": {"reference": self.patient}}
        self.guardian_body = {**guardian, "relationship": relation, "period": {"start": "2020-01-01"}}
        self.guardian = await made.made("", self.guardian_body)
        team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": self.patient}}
        self.team_body = {**team, "period": {"start": "2026-01-01"}}
        self.team = await made.made("", self.team_body)
        self.model = Record(self._now())
        self.tokens = {who: await made.token(self._actor(who)) for who in (*PEOPLE, *OTHERS)}
        self.turn = 0
        for name, kind, label in FIRST:
            body = _resource(kind, self.patient, label)
            place = await made.made(self.tokens[name], body)
            self.model.push(Row(place, kind, name, place, masked=label == "mask", hiv=label == "HIV"))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.world.clock[0])

    def _actor(self, who: str) -> Actor:
        id_ = self.patient.partition("/")[2]
        if who in PEOPLE:
            each = PEOPLE[who]
            own = {f"rpps:{each.rpps}", f"org:{each.finess}", self.world.people[who]}
            keys = frozenset({*own, "right:regulation"} if each.regulates else own)
            return Actor("ps", self.world.people[who], who, "", keys, profession=each.profession, sector="SA07")
        if who == "gateway":
            return Actor("ncp", "Device/ncp", "NCP", "", frozenset({"country:DE"}), country="DE")
        reference = self.guardian if who == "representative" else self.patient
        if who == "application":
            me = frozenset({"client:app"})
            return Actor("app", "Device/app", "App", "", me, (id_,), "patient", reference, client="app")
        role = "rep" if who == "representative" else "patient"
        return Actor(role, reference, who, "", frozenset({reference}), (id_,), purpose="PATRQT")

    def _ask(self, who: str, method: str, url: str, body: Any = None, kind: str = "") -> Told:
        told: Told = self.run(self.world.ask(self.tokens[who], method, url, body, kind))
        return told

    # What is pushed, changed, and deleted

    @rule(
        who=st.sampled_from(sorted(PEOPLE)),
        kind=st.sampled_from(sorted(KINDS)),
        label=st.sampled_from(["", "", "", "mask", "hold back", "not for representatives", "HIV"]),
    )
    def push(self, who: str, kind: str, label: str) -> None:
        """Into any open record, blocked or not."""
        self._push(who, kind, label)

    @precondition(lambda self: self._replaceable())
    @rule(data=st.data())
    def replace_document(self, data: st.DataObject) -> None:
        """Its author puts another in its place."""
        row = self.model.rows[data.draw(st.sampled_from(self._replaceable()))]
        self._push(row.author, row.kind, "", replaces=row)

    def _replaceable(self) -> list[str]:
        return [
            link
            for link, row in self.model.rows.items()
            if row.kind in DOCUMENTS and not row.deleted and not row.replaced
        ]

    def _push(self, who: str, kind: str, label: str, replaces: Row | None = None) -> None:
        body = _resource(kind, self.patient, label)
        if replaces:
            body["relatesTo"] = [{"code": "replaces", "target": {"reference": replaces.link}}]
        told = self._ask(who, "POST", body["resourceType"], body)
        if self.model.closed:
            assert told.status == 404, told
            return
        assert told.status == 201, (told, label)
        now = self.model.now
        self.model.push(
            Row(
                told.location,
                kind,
                who,
                replaces.link if replaces else told.location,
                masked=label == "mask",
                hiv=label == "HIV",
                not_for_representatives=label == "not for representatives",
                release=a_month_after(now) if label == "hold back" else None,
            )
        )

    @precondition(lambda self: self._replaceable() and not self.model.closed)
    @rule(data=st.data())
    def mask_or_unmask(self, data: st.DataObject) -> None:
        """Its author sets or lifts the label of a document by PATCH, blocked or not."""
        row = self.model.rows[data.draw(st.sampled_from(self._replaceable()))]
        if row.release is not None or row.hiv or row.not_for_representatives:
            return
        patch = [{"op": "add", "path": "/securityLabel", "value": [_label("MASQUE_PS")]}]
        if row.masked:
            patch = [{"op": "remove", "path": "/securityLabel"}]
        told = self._ask(row.author, "PATCH", row.link, patch, "application/json-patch+json")
        assert told.status in (200, 204), told
        row.masked = not row.masked

    @precondition(lambda self: self._live_rows() and not self.model.closed)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Its author deletes it."""
        row = self.model.rows[data.draw(st.sampled_from(self._live_rows()))]
        told = self._ask(row.author, "DELETE", row.link)
        assert told.status == 204, told
        row.deleted = True

    def _live_rows(self) -> list[str]:
        return [link for link, row in self.model.rows.items() if not row.deleted]

    # What the patient says

    @rule(data=st.data(), id=st.sampled_from(["D02", "D03", "D04", "D05", "D06", "D07", "D08", "D09", "D10"]))
    def say(self, data: st.DataObject, id: str) -> None:
        """A directive of any kind, for some time or for good."""
        said = self._drawn(data, id)
        if said is None:
            return
        told = self._ask("patient", "POST", "Consent", self._consent(said))
        if self.model.closed:
            assert told.status == 404, told
            return
        assert told.status == 201, (told, said)
        self.model.said[told.location] = said

    def _drawn(self, data: st.DataObject, id: str) -> Said | None:
        draw = data.draw
        someone = st.sampled_from(sorted(PEOPLE))
        start, end = draw(st.sampled_from(PERIODS))
        now = self.model.now
        span = {"start": now + start if start is not None else None, "end": now + end if end is not None else None}
        structure = someone.map(lambda who: f"org {who}")
        whom = draw(st.one_of(someone, someone, structure, st.just("DE")))
        label = draw(st.sampled_from(["10", "11", "42", "HIV"]))
        if id == "D02":
            return Said(id, label=draw(st.sampled_from(["bris_de_glace", "centre_15"])))
        if id == "D03":
            return Said(id, whom, **span)
        if id == "D05":
            span = {"start": span["start"] or now, "end": span["end"] or now + FOREVER}
            whom = draw(st.one_of(someone, structure))
            return Said(id, whom, draw(st.sampled_from(["", label])), **span)
        if id == "D06":
            return Said(id, draw(someone), **span)
        if id == "D07":
            seen = [each for each in self.model.rows if each in self.model.seen("patient")]
            about = self.model.rows[draw(st.sampled_from(seen))] if seen else None
            actor = draw(st.one_of(st.just(""), st.just(whom)))
            return Said(id, actor, lineage=about.lineage) if about else None
        if id == "D08":
            return Said(id, draw(st.one_of(st.just(""), st.just(whom))), label)
        if id == "D09":
            return Said(id, "application", draw(st.sampled_from(["", label])), **span)
        return Said(id, "DE" if id == "D10" else "", **span)

    def _consent(self, said: Said) -> dict[str, Any]:
        policy, type_, purpose = POLICIES[said.id]
        provision: dict[str, Any] = {"type": type_}
        if purpose:
            provision["purpose"] = [{"system": ACT_REASON, "code": purpose}]
        if said.id == "D02" and said.label == "centre_15":
            provision["purpose"] = [{"system": f"{BASE}/CodeSystem/access-mode", "code": "centre_15"}]
        if said.id == "D04":
            provision["actor"] = named({"reference": self.team})
        elif said.actor:
            provision["actor"] = named({"identifier": _identifier(said.actor)})
        if said.lineage:
            chain = [row.link for row in self.model.rows.values() if row.lineage == said.lineage]
            link = next(each for each in chain if each in self.model.seen("patient"))
            provision["data"] = [{"meaning": "instance", "reference": {"reference": link}}]
        if said.id in ("D08", "D09") and said.label:
            provision["securityLabel"] = _security_label(said.label)
        if said.id == "D05" and said.label:
            provision["provision"] = [{"type": "deny", "securityLabel": _security_label(said.label)}]
        period = {name: each.isoformat() for name, each in (("start", said.start), ("end", said.end)) if each}
        if period:
            provision["period"] = period
        return consent(self.patient, policy, provision)

    @precondition(lambda self: self.model.said and not self.model.closed)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """A directive ends."""
        self._end(data.draw(st.sampled_from(list(self.model.said))))

    def _end(self, link: str) -> None:
        body = self._ask("patient", "GET", link).body
        told = self._ask("patient", "PUT", link, {**body, "status": "inactive"})
        assert told.status == 200, told
        del self.model.said[link]

    @rule(who=st.sampled_from(sorted(PEOPLE)))
    def close_and_reopen(self, who: str) -> None:
        """D01: nobody sees anything, nobody feeds or opens it; then the patient takes the closing back."""
        told = self._ask("patient", "POST", "Consent", consent(self.patient, "opposition", {"type": "deny"}))
        assert told.status == 201, told
        self.model.said[told.location] = Said("D01")
        self._push(who, "letter", "")
        self.attested(who, 1)
        for each in (*PEOPLE, *OTHERS):
            self._look(each)
        self._end(told.location)

    # Who cares for the patient

    @rule(who=st.sampled_from(["", *sorted(PEOPLE)]))
    def choose_family_doctor(self, who: str) -> None:
        """The médecin traitant, or none, as the administration has it."""
        body = {"resourceType": "Patient", "id": self.patient.partition("/")[2], "active": True}
        chosen = {"generalPractitioner": [{"reference": self.world.people[who]}]} if who else {}
        self._set_up({**body, "birthDate": "1980-01-01", **chosen})
        self.model.treating = who

    @rule(members=st.sets(st.sampled_from(sorted(PEOPLE)), max_size=3))
    def form_team(self, members: set[str]) -> None:
        """The members of the care team."""
        told = [{"member": {"reference": self.world.people[each]}} for each in sorted(members)]
        more = {"participant": told} if told else {}
        self._set_up({**self.team_body, "id": self.team.partition("/")[2], **more})
        self.model.team = members

    @rule(represented=st.booleans())
    def name_guardian(self, represented: bool) -> None:
        """The guardian is one, or is none any more."""
        self._set_up({**self.guardian_body, "id": self.guardian.partition("/")[2], "active": represented})
        self.model.represented = represented

    def _set_up(self, body: dict[str, Any]) -> None:
        told = self.run(self.world.ask("", "PUT", f"{body['resourceType']}/{body['id']}", body))
        if told.status == 404 and self.model.closed:
            # Nothing but the Patient is set up in a closed record: open it, do it, close it.
            link = next(link for link, said in self.model.said.items() if said.id == "D01")
            self._end(link)
            told = self.run(self.world.ask("", "PUT", f"{body['resourceType']}/{body['id']}", body))
        assert told.status == 200, told

    # Sessions

    @rule(who=st.sampled_from(sorted(PEOPLE)), minutes=st.sampled_from([1, 30, 60]))
    def attest(self, who: str, minutes: int) -> None:
        """The patient, who is there, consents."""
        self.attested(who, minutes)

    def attested(self, who: str, minutes: int) -> None:
        """That somebody says so; or is told that there is no such record."""
        asked = {"name": "minutes", "valueInteger": minutes}
        self._open(who, "attest-consent", "consult", minutes, [asked])

    @rule(who=st.sampled_from(sorted(PEOPLE)), mode=st.sampled_from(["bris_de_glace", "centre_15"]))
    def declare(self, who: str, mode: str) -> None:
        """An emergency, with its reason."""
        asked = [{"name": "reason", "valueString": "Patient inconscient"}, {"name": "mode", "valueCode": mode}]
        if mode == "centre_15" and not PEOPLE[who].regulates:
            told = self._ask(who, "POST", f"{self.patient}/$declare-emergency", _parameters(asked))
            assert told.status == 403
            return
        opposed = any(each.label == mode for each in self.model.live("D02"))
        self._open(who, "declare-emergency", mode, 120, asked, refused=403 if opposed else 0)

    def _open(
        self, who: str, name: str, regime: str, minutes: int, asked: list[dict[str, Any]], refused: int = 0
    ) -> None:
        told = self._ask(who, "POST", f"{self.patient}/${name}", _parameters(asked))
        refused = 404 if self.model.closed else refused
        assert told.status == (refused or 200), told
        if not refused:
            until = self.model.now + timedelta(minutes=minutes)
            self.model.opened.setdefault(who, {})[regime] = until

    @rule(who=st.sampled_from(sorted([*PEOPLE, *OTHERS])))
    def log_in_again(self, who: str) -> None:
        """The token is revoked, and with the session goes what was declared in it; then a new login."""
        ledger = self.world.parts.store.ledger
        assert self.run(revoke(ledger, self.tokens[who]))
        assert self._ask(who, "GET", self.patient).status == 401
        self.tokens[who] = self.run(self.world.token(self._actor(who)))
        self.model.opened.pop(who, None)

    @rule(step=st.sampled_from([timedelta(minutes=1), timedelta(minutes=59), timedelta(hours=2), timedelta(days=15)]))
    def time_passes(self, step: timedelta) -> None:
        """Periods begin and end, openings end, what was held back is shown."""
        self.world.clock[0] += step // timedelta(microseconds=1)
        self.model.now = self._now()

    # Looking

    @rule(data=st.data(), who=st.sampled_from(sorted([*PEOPLE, *OTHERS])))
    def look(self, data: st.DataObject, who: str) -> None:
        """All that somebody finds; and one resource, read."""
        self._look(who)
        if self.model.rows:
            self._read(who, self.model.rows[data.draw(st.sampled_from(list(self.model.rows)))])

    @invariant()
    def others_look(self) -> None:
        """After each act three of them, in turn."""
        everyone = (*PEOPLE, *OTHERS)
        for _ in range(3):
            self.turn += 1
            self._look(everyone[self.turn % len(everyone)])

    def _look(self, who: str) -> None:
        seen = self.model.seen(who)
        url = f"?_type={TYPES}&patient={self.patient}&_count=200&_total=accurate"
        if who == "application":
            # Without types by name: those that are not shared are then left out, not refused.
            url = "?_count=200&_total=accurate"
        told = self._ask(who, "GET", url)
        assert told.status == 200, told
        ours = {each for each in told.links if each in self.model.rows}
        assert ours == seen, f"{who} finds what is not theirs, or not what is: {ours ^ seen}"
        if who != "application":
            assert told.body["total"] == len(seen)
            assert len(told.links) == len(seen)

    def _read(self, who: str, row: Row) -> None:
        shown = self.model.sees(who, row)
        refused = self._refused(who, row)
        wanted = refused or (404 if not shown else 410 if row.deleted else 200)
        told = self._ask(who, "GET", row.link)
        assert told.status == wanted, (who, row, told)
        versions = self._ask(who, "GET", f"{row.link}/_history")
        assert versions.status == (refused or (200 if shown else 404)), (who, row, versions)

    def _refused(self, who: str, row: Row) -> int:
        """403 to an application with which no directive could share that type."""
        if who != "application":
            return 0
        labels = {each.label for each in self.model.live("D09")}
        fitting = "" in labels or "HIV" in labels or row.kind in DOCUMENTS or KINDS[row.kind][1] in labels
        return 0 if labels and (fitting or KINDS[row.kind][1] is None) else 403


FIRST = [
    ("laboratory", "letter", ""),
    ("laboratory", "summary", "mask"),
    ("specialist", "summary", "HIV"),
    ("family_doctor", "AllergyIntolerance", ""),
    ("hospital", "Observation", ""),
    ("nurse", "MedicationRequest", ""),
]
PERIODS: list[tuple[timedelta | None, timedelta | None]] = [
    (None, None),
    (None, None),
    (None, timedelta(minutes=60)),
    (timedelta(0), timedelta(days=10)),
    (timedelta(minutes=30), None),
    (timedelta(days=1), timedelta(days=20)),
]
# Id -> (policy, type, purpose).
POLICIES = {
    "D02": ("no-emergency", "deny", "BTG"),
    "D03": ("block", "deny", ""),
    "D04": ("care-team", "permit", ""),
    "D05": ("grant", "permit", "TREAT"),
    "D06": ("mt-rights", "permit", ""),
    "D07": ("mask", "deny", ""),
    "D08": ("hide", "deny", ""),
    "D09": ("app-share", "permit", "PATRQT"),
    "D10": ("cross-border", "permit", "TREAT"),
}


def _identifier(actor: str) -> dict[str, str]:
    if actor == "DE":
        return {"system": "urn:iso:std:iso:3166", "value": "DE"}
    if actor == "application":
        return {"system": f"{BASE}/client", "value": "app"}
    if actor.startswith("org "):
        return {"system": "https://finess.esante.gouv.fr", "value": PEOPLE[actor.removeprefix("org ")].finess}
    return {"system": "https://rpps.esante.gouv.fr", "value": PEOPLE[actor].rpps}


def _security_label(label: str) -> list[dict[str, str]]:
    if label == "HIV":
        return [{"system": ACT_CODE, "code": "HIV"}]
    return [{"system": f"{BASE}/CodeSystem/mes-category", "code": label}]


def _parameters(asked: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": asked}


def _label(code: str) -> dict[str, Any]:
    return {"coding": [{"system": TRE_A07, "code": code}]}


def _resource(kind: str, patient: str, label: str) -> dict[str, Any]:
    """One of KINDS, with that label."""
    codes = {"mask": "MASQUE_PS", "hold back": "INVISIBLE_PATIENT"}
    code = codes.get(label, "INVISIBLE_REPRESENTANTS_LEGAUX")
    coding = {"system": ACT_CODE, "code": "HIV"} if label == "HIV" else {"system": TRE_A07, "code": code}
    subject = {"reference": patient}
    if kind in DOCUMENTS:
        labelled = {"securityLabel": [{"coding": [coding]}]} if label else {}
        return {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": subject,
            "type": {"coding": [{"system": "http://loinc.org", "code": KINDS[kind][0]}]},
            "content": [{"attachment": {"contentType": "text/plain", "data": "eA=="}}],
            **labelled,
        }
    more: dict[str, Any] = {"meta": {"security": [coding]}} if label else {}
    if kind == "AllergyIntolerance":
        system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
        active = {"coding": [{"system": system, "code": "active"}]}
        return {"resourceType": kind, "patient": subject, "code": {"text": "x"}, "clinicalStatus": active, **more}
    if kind == "Observation":
        more |= {"status": "final", "code": {"text": "x"}}
    else:
        more |= {"status": "active", "intent": "order" if kind == "MedicationRequest" else "plan"}
    if kind == "MedicationRequest":
        more["medicationCodeableConcept"] = {"text": "x"}
    return {"resourceType": kind, "subject": subject, **more}


@pytest.fixture(params=["interactions", "door"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Acts]]:
    """What makes a machine; all that are made are of one world."""
    with asyncio.Runner() as runner:
        context = world(tmp_path, door=request.param == "door")
        made = runner.run(context.__aenter__())

        class Here(Acts):
            world = made
            run = staticmethod(runner.run)

        Here.TestCase.settings = settings(
            max_examples=EXAMPLES if request.param == "interactions" else max(1, EXAMPLES // 4),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
            derandomize="ACCESS_EXAMPLES" not in os.environ,
        )
        try:
            yield Here
        finally:
            runner.run(context.__aexit__(None, None, None))


def test_the_server_agrees_with_a_naive_model_whatever_happens(machine: Any) -> None:
    """I2, I7, I9, I11, I12, I13, I15: after any acts, each person finds and reads just what the model says."""
    run_state_machine_as_test(machine, settings=machine.TestCase.settings)


@pytest.mark.parametrize("machine", ["interactions"], indirect=True)
@pytest.mark.parametrize(
    "breaking",
    [
        mutants.masks_forgotten,
        mutants.gate_always_open,
        mutants.own_pierces_a_deny,
        mutants.treating_doctor_obeys_everything,
    ],
    ids=lambda each: each.__name__,
)
def test_the_machine_notices_what_is_wrong(machine: Any, breaking: mutants.Breaking) -> None:
    """Faults of the rules, each of which it meets sooner or later."""
    machine.TestCase.settings = settings(machine.TestCase.settings, max_examples=100, report_multiple_bugs=False)
    with mutants.broken(breaking), pytest.raises(AssertionError, match="finds what is not theirs, or not what is"):
        run_state_machine_as_test(machine, settings=machine.TestCase.settings)
