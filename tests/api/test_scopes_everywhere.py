"""Every interaction, every entry of a Bundle and every operation asks for the scope it needs (access §2, L63, L64)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.demo.build import Cast, actors
from fhir_server.interactions.router import offered
from fhir_server.operations.registry import OPERATIONS
from tests.conftest import House, open_house

# The right that each interaction uses; an operation reads what it is about, unless it writes or lists.
LETTERS = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "search-type": "s",
    "search-system": "s",
    "history-type": "s",
    "history-system": "s",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
}
OPERATION_LETTERS = {
    "$import-document": "c",
    "$everything": "r",
    "$access-log": "s",
    "$attest-consent": "r",
    "$declare-emergency": "r",
    "$explain-access": "r",
    "$xdm": "r",
}
PLACES = sorted(offered().items())


def guests(cast: Cast) -> dict[str, Actor]:
    """The patient with every scope but one letter, with none on resources, and with no patient in the token."""
    patient = actors(cast)["patient"]
    found = {f"without {letter}": replace(patient, scopes=(_all_but(letter),)) for letter in "cruds"}
    found["identity"] = replace(patient, scopes=("openid", "fhirUser", "launch/patient"))
    found["unbound"] = replace(patient, patients=(), scopes=("patient/*.cruds",))
    found["doctor"] = replace(actors(cast)["medecin_traitant"], scopes=("openid",))
    found["doctor without r"] = replace(actors(cast)["medecin_traitant"], scopes=(_all_but("r"),))
    return found


def _all_but(letter: str) -> str:
    return "user/*." + "cruds".replace(letter, "")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Its own, for the guests."""
    yield from open_house(tmp_path_factory.mktemp("scopes"), guests)


def url(house: House, shape: str) -> str:
    """A place of that shape: the patient's record, its documents."""
    record = house.cast.id("patient")
    if shape.startswith("T/i/"):
        named = {"T": "Patient", "i": record, "v": "1"}
        parts = shape.split("/")
        third = "DocumentReference" if parts[2] == "T" else named.get(parts[2], parts[2])
        return "/".join(["Patient", record, third, *(named.get(part, part) for part in parts[3:])])
    if shape == "T/i":
        return f"Patient/{record}"
    return shape.replace("T", "DocumentReference", 1)


def asks(house: House, who: str, method: str, place: str) -> int:
    """The status of a request that would otherwise be understood."""
    form = {"Content-Type": "application/x-www-form-urlencoded"} if place.endswith("_search") else {}
    json = {"Content-Type": "application/fhir+json"} if not form else {}
    body: bytes | None = None
    if method in ("POST", "PUT"):
        type_ = next((part for part in place.partition("?")[0].split("/") if part and part[0].isupper()), "Parameters")
        id_ = f', "id": "{house.cast.id("patient")}"' if method == "PUT" and "/" in place else ""
        body = b"" if form else f'{{"resourceType": "{type_}"{id_}}}'.encode()
    if method == "PATCH":
        body, json = b"[]", {"Content-Type": "application/json-patch+json"}
    return house.callers[who].request(method, place, content=body, headers=form or json).status_code


@pytest.mark.parametrize(("place", "code"), PLACES, ids=lambda value: str(value))
def test_an_interaction_wants_its_letter(house: House, place: tuple[str, str], code: str) -> None:
    """403 with every other letter, with scopes on no resource, and with `patient/` and no patient."""
    method, shape = place
    where = url(house, shape)
    if "?" not in where and method in ("PUT", "PATCH", "DELETE") and shape == "T":
        where += "?identifier=x"
    for who in (f"without {LETTERS[code]}", "identity", "unbound"):
        assert asks(house, who, method, where) == 403, (who, method, where)


@pytest.mark.parametrize("key", sorted(OPERATIONS))
def test_an_operation_wants_its_letter(house: House, key: str) -> None:
    """The same; one that is an administrator's alone is nobody's by scopes."""
    level, name = key.rpartition(" ")[0], key.rpartition(" ")[2]
    record = house.cast.id("patient")
    type_ = "DocumentReference" if "DocumentReference" in level else "Patient"
    where = {"system": name, "type": f"{type_}/{name}", "instance": f"{type_}/{record}/{name}"}[level.split()[0]]
    letter = OPERATION_LETTERS.get(name)
    for who in ("identity", "unbound", "doctor", *([f"without {letter}"] if letter else [])):
        if name == "$import-document":
            status = (
                house.callers[who]
                .request("POST", where, content=b"<ClinicalDocument/>", headers={"Content-Type": "application/xml"})
                .status_code
            )
        else:
            status = asks(house, who, "POST", where)
        assert status == 403, (who, where)


@pytest.mark.parametrize("code", sorted(set(LETTERS) - {"search-system", "history-system", "history-type"}))
def test_an_entry_of_a_bundle_wants_its_letter(house: House, code: str) -> None:
    """In a batch the entry is refused, in a transaction all of it, or the read that is answered after it."""
    method, shape = next(place for place, known in PLACES if known == code and not place[1].endswith("_search"))
    entry: dict[str, object] = {"request": {"method": method, "url": url(house, shape)}}
    if method in ("POST", "PUT"):
        entry["resource"] = {"resourceType": "Patient" if "/" in shape else "DocumentReference"}
        if method == "PUT":
            entry["request"] = {"method": method, "url": f"Patient/{house.cast.id('patient')}"}
            entry["resource"] = {"resourceType": "Patient", "id": house.cast.id("patient")}
    if method == "PATCH":
        entry["request"] = {"method": method, "url": f"Patient/{house.cast.id('patient')}"}
        entry["resource"] = {"resourceType": "Parameters"}
    if method == "DELETE":
        entry["request"] = {"method": method, "url": f"DocumentReference/{house.cast.id('patient')}"}
    for who in (f"without {LETTERS[code]}", "identity", "unbound"):
        for kind in ("batch", "transaction"):
            bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
            answer = house.callers[who].post("", bundle)
            told = answer.json().get("entry", [{"response": {"status": str(answer.status_code)}}])
            assert told[0]["response"]["status"][:3] == "403", (who, kind, answer.text)
            assert answer.status_code == (200 if kind == "batch" or method == "GET" else 403)
