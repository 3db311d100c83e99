"""$explain-access over HTTP: who can see a document, and why, in French and in English (access §6, REC-115)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House, open_house


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house for this module, whose tests build on one another's directives."""
    yield from open_house(tmp_path_factory.mktemp("explained"))


def explained(caller: Caller, url: str, **headers: str) -> dict[str, dict[str, Any]]:
    """Who sees it: the reference or display of each caller to what is said of them."""
    answer = caller.get(f"{url}/$explain-access", **headers)
    assert answer.status_code == 200, answer.text
    found = {}
    for each in answer.json()["parameter"]:
        parts = {part["name"]: part for part in each["part"] if part["name"] != "reason"}
        reasons = [
            {part["name"]: part for part in reason["part"]} for reason in each["part"] if reason["name"] == "reason"
        ]
        who = parts["who"]["valueReference"]
        found[who.get("reference") or who["display"]] = {
            "seen": parts["seen"]["valueBoolean"],
            "verdict": parts["verdict"]["valueString"],
            "codes": {reason["code"]["valueCode"] for reason in reasons},
            "about": {reason["about"]["valueReference"]["reference"] for reason in reasons if "about" in reason},
            "texts": {reason["text"]["valueString"] for reason in reasons},
        }
    return found


@pytest.fixture(scope="module")
def document(asked: House) -> str:
    """A document of the patient that the biologist deposited."""
    entries = asked.biologist.get(f"DocumentReference?status=current&patient={asked.cast['patient']}").json()["entry"]
    return "DocumentReference/" + entries[0]["resource"]["id"]


def test_every_verdict_is_what_that_caller_meets(asked: House, document: str) -> None:
    """The médecin traitant, the team, the author, strangers: 200 where it says seen, 404 where not."""
    found = explained(asked.patient, document)
    met = {name: asked.callers[name] for name in ("patient", "medecin_traitant", "care_team", "nurse", "biologist")}
    for name, caller in met.items():
        said = found[caller.reference]
        assert said["seen"] is (caller.get(document).status_code == 200), name
    assert found[asked.patient.reference]["codes"] == {"holder"}
    assert found[asked.medecin_traitant.reference]["codes"] == {"mt"}
    assert found[asked.care_team.reference]["codes"] == {"team"}
    assert found[asked.biologist.reference]["codes"] == {"own"}
    [team] = found[asked.care_team.reference]["about"]
    assert asked.patient.get(team).json()["policy"][0]["uri"].endswith("/care-team")
    assert found["demo-app"]["codes"] == {"share"}
    assert found["demo-app"]["seen"] is (asked.app.get(document).status_code == 200)
    assert found["Un médecin qui ne vous suit pas"]["codes"] == {"no-ground"}
    assert found["Un médecin qui déclare une urgence (bris de glace)"]["codes"] == {"bris_de_glace"}


def test_it_speaks_french_and_english(asked: House, document: str) -> None:
    """`_language` before Accept-Language before French."""
    french = explained(asked.patient, document)
    english = explained(asked.patient, document, **{"Accept-Language": "en-GB,fr;q=0.5"})
    assert french[asked.medecin_traitant.reference]["verdict"] == "Peut le voir"
    assert english[asked.medecin_traitant.reference]["verdict"] == "Can see it"
    answer = asked.patient.get(f"{document}/$explain-access?_language=en", **{"Accept-Language": "fr"})
    assert answer.json()["language"] == "en"
    assert asked.patient.get(f"{document}/$explain-access", **{"Accept-Language": "de"}).json()["language"] == "fr"
    assert asked.patient.post(f"{document}/$explain-access", b"").status_code == 200


def test_what_the_patient_said_is_named(asked: House, document: str) -> None:
    """A mask, a block and a country: verdicts turn, with the Consent that turned them."""
    patient = asked.cast["patient"]
    data = [{"meaning": "instance", "reference": {"reference": document}}]
    mask = asked.patient.post("Consent", consent(patient, "mask", {"type": "deny", "data": data})).json()["id"]
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000077"}}
    refusal = consent(patient, "block", {"type": "deny", "actor": named(rpps)})
    block = asked.patient.post("Consent", refusal).json()["id"]
    found = explained(asked.patient, document)
    assert found[asked.care_team.reference]["codes"] == {"masked"}
    assert found[asked.care_team.reference]["about"] == {f"Consent/{mask}"}
    assert found[asked.medecin_traitant.reference]["seen"]
    assert found[asked.biologist.reference]["codes"] == {"directive"}
    assert found[asked.biologist.reference]["about"] == {f"Consent/{block}"}
    assert asked.biologist.get(document).status_code == 404
    content = asked.patient.get(document).json()["content"][0]["attachment"]["url"]
    of_content = explained(asked.patient, content)
    assert of_content[asked.care_team.reference]["codes"] == {"masked"}
    assert of_content[asked.medecin_traitant.reference] == found[asked.medecin_traitant.reference]


@pytest.mark.parametrize("name", ["medecin_traitant", "care_team", "other_doctor", "app", "admin"])
def test_only_the_holder_and_representatives_are_told(asked: House, document: str, name: str) -> None:
    """403 from the token, for what is there and for what is not."""
    for url in (document, "DocumentReference/none"):
        assert asked.callers[name].get(f"{url}/$explain-access").status_code == 403


def test_what_is_not_there_for_the_one_who_asks_is_not_explained(asked: House, document: str) -> None:
    """404: another's record, an id that nobody has; 400 for what is in nobody's record, and for other parameters."""
    assert asked.representative.get(f"{document}/$explain-access").status_code == 404
    assert asked.patient.get("DocumentReference/none/$explain-access").status_code == 404
    assert asked.patient.get(f"{asked.cast['nurse']}/$explain-access").status_code == 400
    assert asked.patient.get(f"{document}/$explain-access?who=x").status_code == 400
