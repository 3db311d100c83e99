"""Software of a laboratory that knows the FHIR base and its own key pushes a document (SMART Backend Services)."""

from __future__ import annotations

import time
from uuid import uuid4

import httpx
from joserfc import jwt

from tests.conftest import House
from tests.oauth import ec_key, lgc, office, pro_context, public
from tests.scenarios.test_the_patient_decides import CDA

LABORATORY = "1990000003"


def test_a_backend_client_with_es384_pushes_a_document(own_house: House) -> None:
    """From discovery to the document that the patient reads, and to the line that names professional and software."""
    house, key = own_house, ec_key("laboratory-2026")
    with office(house) as desk:
        desk.registers(
            lgc("laboratory", structures=[LABORATORY]) | {"jwks": {"keys": [public(key)]}, "scope": "system/*.crs"}
        )

    with httpx.Client() as http:
        told = http.get(f"{house.base}/.well-known/smart-configuration").json()
        assert "client-confidential-asymmetric" in told["capabilities"]
        assertion = jwt.encode(
            {"alg": "ES384", "kid": "laboratory-2026", "typ": "JWT"},
            {
                "iss": "laboratory",
                "sub": "laboratory",
                "aud": told["token_endpoint"],
                "exp": int(time.time()) + 300,
                "jti": str(uuid4()),
                "pro_context": pro_context(
                    id="899900000077", family_name="ROUX", given_name="Karim", structure=LABORATORY, sector="SA25"
                ),
            },
            key,
            algorithms=["ES384"],
        )
        given = http.post(
            told["token_endpoint"],
            data={
                "grant_type": "client_credentials",
                "scope": "system/*.crs",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": assertion,
            },
        ).json()
        assert given["token_type"] == "Bearer"
        bearer = {"Authorization": f"Bearer {given['access_token']}"}
        pushed = http.post(
            f"{house.base}/$import-document", content=CDA, headers={**bearer, "Content-Type": "application/xml"}
        )
        assert pushed.status_code == 201, pushed.text

    record = house.cast["patient"]
    found = house.patient.get(f"DocumentReference?patient={record}&identifier=urn:oid:2.25.77001").json()
    assert found["total"] == 1
    log = house.patient.get(f"AuditEvent?patient={record}&_count=50").json()["entry"]
    agents = [each["resource"]["agent"] for each in log]
    mine = [each for each in agents if each[0].get("name") == "Karim ROUX" and "'laboratory'" in str(each)]
    assert mine, agents
