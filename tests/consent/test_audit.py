"""The access log: what a line says, that none can be changed unseen, and how its holder reads it (access §6)."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.audit import redacted, row
from fhir_server.consent.audit_event import DECISION, to_audit_events
from fhir_server.consent.audit_search import LogPage, Place, Reader, search_audits
from fhir_server.consent.labels import TRE_A07
from fhir_server.errors import Malformed
from fhir_server.search.facts import INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.predicate import FALSE
from fhir_server.storage.interface import AuditEntry, AuditRow
from fhir_server.validation.validator import Validator
from tests.consent.consent_store import BASE, DOCTOR, NOW, PATIENT, R4, REPRESENTATIVE, House
from tests.consent.test_policy import CHILD, MOTHER, run

GENESIS = sha256(b"chain").digest()
VALIDATOR = Validator(R4)
INFORMED = replace(
    DOCTOR,
    structure="990000001",
    structure_name="Clinique",
    client="demo-lgc",
    software="LGC 1.0",
)


@dataclass
class Asked:
    """A request, as the interactions trace it."""

    interaction: str = "read"
    type: str = "Observation"
    id: str = "o1"
    patient: str | None = "p1"
    query: str = ""
    version: int = 0
    vis: int = 0
    release_at: int | None = None
    request_id: str = "req-1"
    returned: list[int] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    reason: str = ""
    event: str = ""


def said(line: AuditRow) -> dict[str, Any]:
    """What a line says."""
    found: dict[str, Any] = json.loads(line.body)
    return found


# What a line says


def test_a_line_says_who_whom_what_and_what_came_of_it() -> None:
    """Everything the patient is shown, and the token only by its name."""
    line = row(INFORMED, Asked(version=2), outcome="", now=NOW)
    assert said(line) == {
        "id": line.id,
        "time": NOW,
        "interaction": "read",
        "action": "R",
        "patient": "p1",
        "type": "Observation",
        "resource": "o1",
        "version": 2,
        "request": "req-1",
        "role": "ps",
        "who": "Practitioner/x",
        "name": "Dr X",
        "keys": ["rpps:10000000001"],
        "profession": "10",
        "structure": "990000001",
        "structure_name": "Clinique",
        "client": "demo-lgc",
        "software": "LGC 1.0",
        "mode": "normal",
        "purpose": "TREAT",
        "jti": "jti-1",
    }
    assert (line.patient, line.time) == ("p1", NOW)


@settings(max_examples=100)
@given(
    st.text(max_size=20), st.text(max_size=20), st.integers(0, 2**52), st.sampled_from(["", "forbidden", "not-found"])
)
def test_a_line_is_canonical_json(name: str, query: str, now: int, outcome: str) -> None:
    """RFC 8785: keys sorted, no blanks, no floats, nothing escaped that need not be."""
    try:
        name.encode()
        query.encode()
    except UnicodeEncodeError:
        return
    body = row(replace(DOCTOR, name=name), Asked(query=query), outcome=outcome, now=now).body
    text = body.decode()
    assert text == json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert all(not isinstance(each, float) for each in json.loads(text).values())


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("patient=Patient%2F1&code=1234", "patient=Patient%2F1&code=1234"),
        ("identifier=urn%3Aoid%3A1%7C279035121518989", "identifier=*"),
        ("birthdate=ge1990-01-01&_count=5", "birthdate=*&_count=5"),
        ("family%3Aexact=Martin&given=Anne", "family%3Aexact=*&given=*"),
        ("family:exact=Martin&%67iven=Anne&Given=x", "family:exact=*&%67iven=*&Given=*"),
        ("patient.identifier=1&subject%3APatient.name=x", "patient.identifier=*&subject%3APatient.name=*"),
        ("_has%3AObservation%3Apatient%3Acode=1", "_has%3AObservation%3Apatient%3Acode=1"),
        ("_has%3AObservation%3Apatient%3Aidentifier=1", "_has%3AObservation%3Apatient%3Aidentifier=*"),
        ("address-city=Paris", "address-city=*"),
        ("death-date=2020-01-01&accession=1&sourceId=2", "death-date=*&accession=*&sourceId=*"),
        ("subject%3Aidentifier=x%7C1", "subject%3Aidentifier=*"),
        ("_id=not-announced&status=current", "_id=*&status=current"),
        ("_has%3AList%3Aitem%3A_id=1&related._id=2", "_has%3AList%3Aitem%3A_id=*&related._id=*"),
        ("_filter=family+eq+Martin&_text=Martin&_content=Anne&_sort=date", "_filter=*&_text=*&_content=*&_sort=date"),
        ("", ""),
    ],
)
def test_a_query_is_kept_without_who_it_was_about(query: str, kept: str) -> None:
    """identifier, names, birth date, what may hold them, and the id of what may be hidden: `*`, in chains and reverse
    chains too. What is kept is kept as it was spelt."""
    assert redacted(query) == kept
    line = row(DOCTOR, Asked("search-type", id="", query=query), outcome="", now=NOW)
    assert b64decode(said(line).get("query", "")).decode() == kept


@pytest.mark.parametrize(
    ("actor", "asked", "outcome", "expected"),
    [
        (DOCTOR, Asked(), "", False),
        (DOCTOR, Asked(), "forbidden", True),
        (replace(DOCTOR, mode="bris_de_glace"), Asked(), "", True),
        (PATIENT, Asked("create", "Consent"), "", True),
        (PATIENT, Asked("search-type", "Consent"), "", False),
    ],
)
def test_lines_about_the_right_itself_are_marked(actor: Actor, asked: Asked, outcome: str, expected: bool) -> None:
    """Refusals, emergencies and changes of consent: AuthZ-Consent."""
    assert said(row(actor, asked, outcome=outcome, now=NOW)).get("authorization", False) is expected


# As an AuditEvent


def event(actor: Actor, asked: Asked, outcome: str = "", withheld: bool = False) -> dict[str, Any]:
    """The AuditEvent of a line; valid R4."""
    line = row(actor, asked, outcome=outcome, now=NOW)
    found = to_audit_events(AuditEntry(1, b"", line), base=BASE, withheld=withheld)
    for each in found:
        assert VALIDATOR.validate(each, expect_type="AuditEvent") == []
    return found[0]


@pytest.mark.parametrize(
    ("interaction", "pattern", "action", "client", "server", "user"),
    [
        ("read", "PatientRead", "R", "110152", "110153", "IRCP"),
        ("vread", "PatientRead", "R", "110152", "110153", "IRCP"),
        ("create", "PatientCreate", "C", "110153", "110152", "AUT"),
        ("update", "PatientUpdate", "U", "110153", "110152", "AUT"),
        ("delete", "PatientDelete", "D", "110150", "custodian", "AUT"),
        ("search-type", "PatientQuery", "E", "110153", "110152", "IRCP"),
    ],
)
def test_a_line_is_an_event_of_the_balp_pattern(
    interaction: str, pattern: str, action: str, client: str, server: str, user: str
) -> None:
    """Profile, action, and the roles that IHE gives to client, server and user; valid R4."""
    found = event(INFORMED, Asked(interaction, query="code=1" if "search" in interaction else ""))
    assert found["meta"]["profile"] == [
        f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{pattern}"
    ]
    assert (found["action"], found["outcome"]) == (action, "0")
    roles = {each["type"]["coding"][0]["code"]: each for each in found["agent"]}
    assert set(roles) == {user, "PROV", client, server}
    assert [code for code, agent in roles.items() if agent["requestor"]] == [user]
    assert roles[user]["policy"] == ["urn:ietf:params:oauth:jti:jti-1"]
    assert roles[user]["who"]["identifier"]["value"] == "10000000001"
    assert found["recorded"] == found["period"]["start"] == "2026-06-01T12:00:00.000Z"
    assert {"what": {"reference": "Patient/p1"}}.items() <= found["entity"][0].items()


def test_a_query_is_an_entity_and_nobodys_resource_has_no_patient() -> None:
    """BALP: query in base64, and the variants without a patient."""
    found = event(DOCTOR, Asked("search-type", id="", query="identifier=1"))
    assert [b64decode(each["query"]).decode() for each in found["entity"] if "query" in each] == [
        "Observation?identifier=*"
    ]
    found = event(DOCTOR, Asked("read", "Practitioner", "x", None))
    assert found["meta"]["profile"][0].endswith("BasicAudit.Read")
    assert "Patient/" not in json.dumps(found)


def test_a_refusal_is_an_event_of_no_pattern_with_its_reason() -> None:
    """IHE's patterns are about what succeeded."""
    found = event(DOCTOR, Asked(), "forbidden")
    assert "profile" not in found["meta"]
    assert (found["outcome"], found["outcomeDesc"]) == ("4", "forbidden")
    assert found["subtype"][1]["code"] == "AuthZ-Consent"
    assert event(DOCTOR, Asked(), "transient")["outcome"] == "8"


@pytest.mark.parametrize(
    "asked",
    [
        Asked("", "", "", None),
        Asked("login", "", "", None, request_id=""),
        Asked("$import-document", "Patient", "", "p1"),
        Asked("create", "Observation", "", "p1"),
        Asked("history-instance"),
    ],
    ids=lambda each: each.interaction or "nothing known",
)
def test_whatever_is_known_of_a_request_makes_a_valid_event(asked: Asked) -> None:
    """A refusal can come before anything is; an operation follows no pattern."""
    for caller in (INFORMED, Actor("anonymous", "", "", "")):
        assert event(caller, asked, "login")["outcomeDesc"] == "login"
        event(caller, asked)


def test_an_emergency_shows_as_its_purpose() -> None:
    """REC-112: highlighted by its own code."""
    found = event(replace(DOCTOR, mode="centre_15"), Asked())
    codes = [each["coding"][0]["code"] for each in found["purposeOfEvent"]]
    assert codes == ["TREAT", "centre_15"]


def test_what_is_withheld_is_a_document_without_id_or_type() -> None:
    """An unreleased INVISIBLE_PATIENT says nothing but that."""
    text = json.dumps(event(DOCTOR, Asked("read", "DocumentReference", "not-announced", version=3), withheld=True))
    assert "not-announced" not in text
    assert "DocumentReference" not in text
    assert '"document"' in text


# As its holder reads it


async def _page(at: House, actor: Actor, *parameters: tuple[str, str], after: Place | None = None) -> LogPage:
    async with at.store.snapshot() as snapshot:
        visible = await at.narrow.for_search(snapshot, actor, ("p1",), only=("AuditEvent",))
        reader = Reader(actor, "p1", visible, at.now, BASE)
        return await search_audits(snapshot, reader, parameters, after=after)


async def _found(at: House, actor: Actor, *parameters: tuple[str, str]) -> list[str]:
    page = await _page(at, actor, *parameters)
    accesses = [each for each in page.events if not each["id"].endswith(DECISION)]
    return [each["entity"][1]["what"].get("reference", "withheld") for each in accesses]


async def _logged(at: House) -> None:
    await at.put(CHILD, "p1")
    await at.put(MOTHER, "r1")
    lines = [
        (DOCTOR, Asked("read", id="o1"), "", NOW - 3_000_000),
        (DOCTOR, Asked("create", "Condition", "c1"), "", NOW - 2_000_000),
        (PATIENT, Asked("read", id="o2"), "forbidden", NOW - 1_000_000),
        (PATIENT, Asked("delete", id="o3"), "", NOW),
    ]
    await at.log(*(row(actor, asked, outcome=outcome, now=time) for actor, asked, outcome, time in lines))


def test_the_log_is_searched_by_what_it_shows(tmp_path: Path) -> None:
    """date, action, outcome, type, subtype, agent, entity; all at once, newest first."""

    async def story(at: House) -> None:
        await _logged(at)
        every = ["Observation/o3", "Observation/o2", "Condition/c1", "Observation/o1"]
        assert await _found(at, PATIENT) == every
        for parameters, expected in (
            ([("action", "R")], every[1::2]),
            ([("action", "R,D")], [every[0], every[1], every[3]]),
            ([("outcome", "0")], [every[0], every[2], every[3]]),
            ([("type", "rest")], every),
            ([("subtype", "http://hl7.org/fhir/restful-interaction|create")], [every[2]]),
            ([("subtype", "AuthZ-Consent")], [every[1]]),
            ([("agent", "Practitioner/x")], every[2:]),
            ([("entity", "Observation/o1")], [every[3]]),
            ([("entity", "Patient/p1")], every),
            ([("date", "ge2026-06-01T12:00:00Z")], [every[0]]),
            ([("date", "lt2026-06-01T11:59:58Z")], [every[3]]),
            ([("date", "2026-06-01")], every),
            ([("date", "ge2026-06-01T11:59:58Z"), ("date", "lt2026-06-01T11:59:59Z")], [every[2]]),
            ([("date", "2026-05-31")], []),
        ):
            assert await _found(at, PATIENT, *parameters) == expected, parameters

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "value"), [("date", "yesterday"), ("_count", "0"), ("_count", "x"), ("_count", "²"), ("policy", "x")]
)
def test_a_parameter_that_is_not_understood_is_named(tmp_path: Path, name: str, value: str) -> None:
    """400, with the parameter."""

    async def story(at: House) -> None:
        await _logged(at)
        with pytest.raises(Malformed) as refused:
            await _page(at, PATIENT, (name, value))
        assert refused.value.issues[0].expression == name

    run(tmp_path, story)


def test_pages_concatenate_to_the_whole_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7, over filters and over the store's own pages."""
    monkeypatch.setattr("fhir_server.consent.audit_search._PAGE", 3)

    async def story(at: House) -> None:
        await at.put(CHILD, "p1")
        actors = [DOCTOR, PATIENT]
        await at.log(*(row(actors[each % 2], Asked(id=f"o{each}"), outcome="", now=NOW + each) for each in range(11)))
        for parameters in ((), (("agent", "Practitioner/x"),)):
            whole = [each["id"] for each in (await _page(at, PATIENT, *parameters)).events]
            found, after = [], None
            while True:
                page = await _page(at, PATIENT, ("_count", "2"), *parameters, after=after)
                found += [each["id"] for each in page.events]
                assert len(page.events) == 2 or page.after is None
                if page.after is None:
                    break
                after = page.after
            assert found == whole

    run(tmp_path, story)


def test_the_log_is_for_the_holder_and_representatives(tmp_path: Path) -> None:
    """L72: a professional finds no line, not even of own accesses."""

    async def story(at: House) -> None:
        await _logged(at)
        assert await _found(at, DOCTOR) == []
        assert len(await _found(at, REPRESENTATIVE)) == 4
        async with at.store.snapshot() as snapshot:
            assert (await search_audits(snapshot, Reader(PATIENT, "p1", FALSE, NOW, BASE), ())).events == []

    run(tmp_path, story)


def _hidden(code: str) -> dict[str, Any]:
    label = {"coding": [{"system": TRE_A07, "code": code}]}
    return {
        "resourceType": "DocumentReference",
        "subject": {"reference": "Patient/p1"},
        "securityLabel": [label],
        "content": [{"attachment": {"url": "Binary/b1"}}],
    }


def test_a_document_not_yet_announced_has_no_name_in_the_log(tmp_path: Path) -> None:
    """REC-114, its content neither; searching for its id finds nothing; a month later it is named."""

    async def story(at: House) -> None:
        await at.put(CHILD, "p1")
        await at.put({"resourceType": "Binary"}, "b1")
        await at.put(_hidden("INVISIBLE_PATIENT"), "d1")
        for asked in (Asked("read", "DocumentReference", "d1"), Asked("read", "Binary", "b1")):
            await at.log(row(DOCTOR, asked, outcome="", now=NOW))
        assert await _found(at, PATIENT) == ["withheld", "withheld"]
        assert await _found(at, PATIENT, ("entity", "DocumentReference/d1")) == []
        at.now += 31 * 86_400_000_000
        assert await _found(at, PATIENT) == ["Binary/b1", "DocumentReference/d1"]

    run(tmp_path, story)


def test_a_representative_has_no_line_about_what_is_hidden_from_them(tmp_path: Path) -> None:
    """access §6: nor about its content, nor of a secret session; the minor has them all."""

    async def story(at: House) -> None:
        await at.put(CHILD, "p1")
        await at.put(MOTHER, "r1")
        await at.put({"resourceType": "Binary"}, "b1")
        await at.put(_hidden("INVISIBLE_REPRESENTANTS_LEGAUX"), "d1")
        secret = replace(DOCTOR, secret=True)
        for actor, asked in (
            (DOCTOR, Asked("read", "DocumentReference", "d1")),
            (DOCTOR, Asked("read", "Binary", "b1")),
            (secret, Asked("read", "Observation", "o1")),
            (DOCTOR, Asked("read", "Observation", "o2")),
        ):
            await at.log(row(actor, asked, outcome="", now=NOW))
        assert await _found(at, REPRESENTATIVE) == ["Observation/o2"]
        assert len(await _found(at, PATIENT)) == 4

    run(tmp_path, story)


def test_a_line_remembers_what_was_hidden_when_it_was_written(tmp_path: Path) -> None:
    """L70, L72: what is deleted since, or was refused, stays as hidden in the log as it was; its content too."""

    async def story(at: House) -> None:
        await at.put(CHILD, "p1")
        await at.put(MOTHER, "r1")
        await at.put({"resourceType": "Binary"}, "b1")
        made = await at.put(_hidden("INVISIBLE_REPRESENTANTS_LEGAUX"), "d1")
        both = INVISIBLE_PATIENT | INVISIBLE_REPRESENTANTS_LEGAUX
        for asked in (
            Asked("read", "Binary", "b1", vis=INVISIBLE_REPRESENTANTS_LEGAUX),
            Asked("create", "DocumentReference", "", vis=INVISIBLE_PATIENT),
            Asked("delete", "DocumentReference", "gone", vis=both, release_at=NOW + 5),
        ):
            await at.log(row(DOCTOR, asked, outcome="", now=NOW))
        await at.delete(made)
        assert await _found(at, REPRESENTATIVE) == ["withheld"]
        assert await _found(at, PATIENT) == ["withheld", "withheld", "Binary/b1"]
        at.now += 5
        assert await _found(at, PATIENT) == ["DocumentReference/gone", "withheld", "Binary/b1"]
        assert await _found(at, REPRESENTATIVE) == ["withheld"]

    run(tmp_path, story)
