"""SMART App Launch 2.2 over real HTTP: discovery, launches, tokens, introspection, revocation (access §1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.demo.family import consent
from tests.conftest import open_house
from tests.oauth import (
    HOME,
    STRUCTURE,
    VERIFIER,
    Office,
    app,
    claims,
    ec_key,
    eu_context,
    lgc,
    office,
    pro_context,
    public,
    signed,
)

EC = ec_key()
OPENID = "openid fhirUser launch/patient patient/*.rs"
STRANGER = {"id": "899900000022", "given_name": "Hugo", "family_name": "PETIT", "structure": "1990000005"}
CAPABILITIES = (
    "launch-ehr launch-standalone authorize-post client-public client-confidential-symmetric"
    " client-confidential-asymmetric sso-openid-connect context-ehr-patient context-standalone-patient"
    " permission-offline permission-patient permission-user permission-v1 permission-v2"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A house and its programs."""
    for house in open_house(tmp_path_factory.mktemp("house")):
        with office(house) as desk:
            desk.registers(app())
            desk.registers(app("es", id_token_signed_response_alg="ES256"))
            desk.registers(app("own", first_party=True, initiate_login_uri="https://app.example.org/launch"))
            desk.registers(app("key", token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public(EC)]}))
            desk.registers(lgc("lgc", EC, regulation=True, structures=[STRUCTURE, STRANGER["structure"]]))
            desk.registers(lgc("de", EC) | {"kind": "ncp", "country": "DE", "structures": []})
            secret = desk.registers(app("secret", token_endpoint_auth_method="client_secret_basic"))
            desk.known = {"secret": secret["client_secret"]}
            yield desk


def test_the_server_says_what_it_can_and_no_more(desk: Office) -> None:
    """smart-configuration: the capabilities of access §1, absolute urls, each of which is there."""
    answer = desk.http.get("/fhir/.well-known/smart-configuration", headers={"Accept": "application/fhir+xml"})
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["capabilities"] == CAPABILITIES.split()
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert told["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    urls = {name: url for name, url in told.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(urls) == 6
    for url in urls.values():
        assert url.startswith(desk.base + "/")
        assert desk.http.get(url).status_code in (200, 303, 400, 405)
    openid = desk.http.get("/.well-known/openid-configuration").json()
    assert {name: openid[name] for name in urls} == urls
    assert openid["issuer"] == told["issuer"] == desk.base


def test_the_statement_leads_old_clients_to_the_endpoints(desk: Office) -> None:
    """The oauth-uris extension, which Python's fhirclient reads."""
    security = desk.http.get("/fhir/metadata").json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert security["cors"] is True
    (extension,) = security["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    uris = {each["url"]: each["valueUri"] for each in extension["extension"]}
    assert uris == {each: f"{desk.base}/oauth/{each}" for each in ("authorize", "token", "introspect", "revoke")}


@pytest.mark.parametrize(("client", "alg"), [("app", "RS256"), ("es", "ES256")])
def test_a_standalone_launch(desk: Office, client: str, alg: str) -> None:
    """Tokens, the chosen patient, and an id token that says who, signed with a published key."""
    record = desk.house.cast.id("patient")
    begun = int(time.time())
    answer = desk.redeems(desk.code(client, scopes=OPENID, nonce="n-1"), client)
    given = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert (given["token_type"], given["expires_in"], given["scope"]) == ("Bearer", 600, OPENID)
    assert (given["patient"], given["need_patient_banner"]) == (record, True)
    assert given["fhirUser"] == f"{desk.house.base}/Patient/{record}"
    assert "refresh_token" not in given
    keys = KeySet.import_key_set(desk.http.get("/oauth/jwks").json())
    token = jwt.decode(given["id_token"], keys, algorithms=[alg])
    assert token.header == {"alg": alg, "typ": "JWT", "kid": token.header["kid"]}
    said = token.claims
    assert (said["iss"], said["aud"], said["nonce"]) == (desk.base, client, "n-1")
    assert said["fhirUser"] == given["fhirUser"]
    assert begun <= said["iat"] < said["exp"] <= begun + 700


def test_a_form_asks_as_a_query_does(desk: Office) -> None:
    """authorize-post."""
    asked = desk.asks(method="POST")
    assert asked.status_code == 303
    assert asked.headers["location"].startswith(f"{desk.base}/login?request=")
    given = desk.approves(
        asked, desk.actor("patient"), "launch/patient patient/*.rs", patient=desk.house.cast.id("patient")
    )
    assert desk.redeems(given["code"]).status_code == 200


def test_confidential_apps_prove_to_be_themselves(desk: Office) -> None:
    """By a secret in the header or the body, or by a key; with their name alone they get nothing."""
    secret, audience = desk.known["secret"], f"{desk.base}/oauth/token"
    data = {"grant_type": "authorization_code", "redirect_uri": HOME, "code_verifier": VERIFIER}
    header = desk.token({**data, "code": desk.code("secret")}, auth=("secret", secret))
    assert header.status_code == 200
    body = {"client_id": "secret", "client_secret": secret}
    assert desk.token({**data, "code": desk.code("secret"), **body}).status_code == 200
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed(EC, claims("key", audience)),
    }
    assert desk.token({**data, "code": desk.code("key"), **proof}).status_code == 200
    for client in ("secret", "key"):
        assert desk.redeems(desk.code(client), client).json()["error"] == "invalid_client"


def test_an_ehr_launch(desk: Office) -> None:
    """A first-party session of a professional hands an app a word; it is let in for that patient by that person."""
    record, doctor = desk.house.cast.id("patient"), desk.actor("medecin_traitant")
    session = desk.redeems(desk.code("own", person="medecin_traitant", scopes="user/*.rs", patient=""), "own").json()
    body = {"client_id": "app", "patient": record, "need_patient_banner": False}
    made = desk.http.post(
        "/admin/launch", json=body, headers={"Authorization": f"Bearer {session['access_token']}"}
    ).json()
    assert made["iss"] == desk.house.base
    scopes = "launch openid fhirUser user/*.rs"
    asked = desk.asks(scope=scopes, launch=made["launch"])
    given = desk.redeems(desk.approves(asked, doctor, scopes)["code"]).json()
    assert (given["patient"], given["need_patient_banner"]) == (record, False)
    assert given["fhirUser"] == f"{desk.house.base}/{doctor.reference}"
    assert desk.get(f"DocumentReference?status=current&patient={record}", given["access_token"]).json()["total"] > 0
    again = desk.asks(scope=scopes, launch=made["launch"])
    assert "error=invalid_request" in again.headers["location"]


def test_a_launch_is_made_for_oneself_or_by_an_administrator(desk: Office) -> None:
    """Not by an application, not for somebody else, not of another's record, not of an app that takes none."""
    record, mother = desk.house.cast.id("patient"), desk.house.cast.id("mother")
    body = {"client_id": "app", "patient": record}
    house, url = desk.house, f"{desk.base}/admin/launch"

    def launches(who: str, **more: Any) -> int:
        return house.callers[who].request("POST", url, content=orjson.dumps(body | more)).status_code

    assert launches("admin", user=house.cast["medecin_traitant"]) == 201
    assert launches("medecin_traitant") == 201
    assert launches("medecin_traitant", user=house.cast["nurse"]) == 422
    assert launches("patient") == 201
    assert launches("patient", patient=mother) == 403
    assert launches("app") == 403
    assert launches("nobody") == 401
    assert launches("admin", client_id="lgc") == 422
    assert launches("admin", patient="") == 422
    assert launches("admin", need_patient_banner="no") == 422


def test_the_refusals_of_the_token_endpoint_are_those_of_oauth(desk: Office) -> None:
    """RFC 6749 §5.2, never kept, never an OperationOutcome."""
    cases: list[tuple[dict[str, str], str]] = [
        ({"client_id": "app"}, "invalid_request"),
        ({"client_id": "app", "grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "app", "grant_type": "authorization_code"}, "invalid_request"),
        ({"client_id": "app", "grant_type": "refresh_token"}, "invalid_request"),
        ({"client_id": "app", "grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"client_id": "app", "grant_type": "client_credentials", "scope": "system/*.r"}, "unauthorized_client"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
    ]
    for data, error in cases:
        answer = desk.token(data)
        assert answer.json()["error"] == error
        assert answer.status_code == (401 if error == "invalid_client" else 400)
        assert answer.headers["cache-control"] == "no-store"
    for wrong in (
        {"content": b"grant_type=a&grant_type=b", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": b"a=" + b"x" * 70_000, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": b"\xff=\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"json": {"grant_type": "authorization_code"}},
    ):
        answer = desk.http.post("/oauth/token", **wrong)  # type: ignore[arg-type]
        assert answer.json()["error"] == "invalid_request"
        assert answer.status_code in (400, 413)
    assert desk.http.get("/oauth/token").status_code == 405


def test_a_token_is_revoked_by_its_client_alone(desk: Office) -> None:
    """An access token, or a whole grant by its refresh token; an unknown one is no error (RFC 7009)."""
    scopes = "launch/patient patient/*.rs offline_access"
    given = desk.redeems(desk.code(scopes=scopes)).json()

    def revokes(token: str, client: str = "app") -> int:
        return desk.http.post("/oauth/revoke", data={"token": token, "client_id": client}).status_code

    def alive(token: str) -> bool:
        return desk.get("Patient/x", token).status_code != 401

    for token in (given["access_token"], given["refresh_token"], "unknown"):
        assert revokes(token, "es") == 200
    assert alive(given["access_token"])
    assert revokes(given["access_token"]) == 200
    assert not alive(given["access_token"])
    again = desk.refreshes(given["refresh_token"]).json()
    assert revokes(again["refresh_token"]) == 200
    assert not alive(again["access_token"])
    assert desk.refreshes(again["refresh_token"]).json()["error"] == "invalid_grant"
    assert revokes("x", "nobody") == 401
    assert revokes("") == 400


def test_software_alone_reads_nothing_and_with_a_professional_what_they_may(desk: Office) -> None:
    """The role is lgc without a context, that professional's with one; the log names both."""
    record = desk.house.cast.id("patient")
    search = f"DocumentReference?status=current&patient={record}"
    alone = desk.backend(EC, "lgc").json()["access_token"]
    assert desk.get(search, alone).json().get("total", 0) == 0
    acting = desk.backend(EC, "lgc", pro_context=pro_context()).json()["access_token"]
    found = desk.get(search, acting).json()
    assert found["total"] == desk.house.medecin_traitant.get(search).json()["total"] > 0
    other = desk.backend(EC, "lgc", pro_context=pro_context(**STRANGER)).json()["access_token"]
    assert desk.get(search, other).json()["total"] == 0
    narrow = desk.backend(EC, "lgc", "system/DocumentReference.s", pro_context=pro_context()).json()
    assert narrow["scope"] == "system/DocumentReference.s"
    assert (
        desk.get(f"DocumentReference/{found['entry'][0]['resource']['id']}", narrow["access_token"]).status_code == 403
    )
    for scope in ("", "openid", "patient/*.rs", "system/*.rx"):
        assert desk.backend(EC, "lgc", scope).json()["error"] == "invalid_scope"


def test_an_emergency_is_declared_with_the_token(desk: Office) -> None:
    """By the same rules as $declare-emergency: one record, with a reason, not where the patient opposes it; else no
    token."""
    house, record = desk.house, desk.house.cast["patient"]
    urgent = {"purpose": "bris_de_glace", "reason": "inconscient, sans accompagnant", "patient": record}
    answer = desk.backend(EC, "lgc", pro_context=pro_context(**STRANGER, **urgent))
    assert answer.status_code == 200, answer.text
    search = f"DocumentReference?status=current&patient={record}"
    assert desk.get(search, answer.json()["access_token"]).json()["total"] > 0
    plain = desk.backend(EC, "lgc", pro_context=pro_context(**STRANGER)).json()["access_token"]
    assert desk.get(search, plain).json()["total"] == 0
    absent = desk.backend(EC, "lgc", pro_context=pro_context(**STRANGER, **urgent | {"patient": "Patient/none"}))
    assert (absent.status_code, absent.json()["error"]) == (403, "access_denied")
    purpose = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}
    opposition = consent(record, "no-emergency", {"type": "deny", "purpose": [purpose]})
    made = house.patient.post("Consent", opposition)
    assert made.status_code == 201, made.text
    assert desk.backend(EC, "lgc", pro_context=pro_context(**STRANGER, **urgent)).status_code == 403
    assert house.patient.put(f"Consent/{made.json()['id']}", {**made.json(), "status": "inactive"}).status_code == 200


def test_a_gateway_asks_for_its_country(desk: Office) -> None:
    """With a whole context only; and an LGC is no gateway."""
    given = desk.backend(EC, "de", eu_context=eu_context())
    assert given.status_code == 200
    assert desk.backend(EC, "de").status_code == 403
    assert desk.backend(EC, "de", eu_context=eu_context(hp_identifier="")).status_code == 403
    assert desk.backend(EC, "lgc", eu_context=eu_context()).status_code == 403


def test_the_administrator_keeps_the_register(desk: Office) -> None:
    """Create, read, change, forget; what is forgotten or changed ends what it was granted."""
    admin, url = desk.house.admin, f"{desk.base}/admin/clients"

    def sends(method: str, path: str = "", body: Any = None, who: Any = admin) -> Any:
        content = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else b""
        return who.request(method, url + path, content=content)

    made = desk.registers(app("mine"))
    assert sends("GET", "/mine").json() == made
    assert "mine" in [each["client_id"] for each in sends("GET").json()["clients"]]
    token = desk.redeems(desk.code("mine"), "mine").json()["access_token"]
    assert sends("PUT", "/mine", made | {"client_name": "Nouveau"}).json()["client_name"] == "Nouveau"
    assert desk.get("Patient/x", token).status_code == 401
    token = desk.redeems(desk.code("mine"), "mine").json()["access_token"]
    assert sends("DELETE", "/mine").status_code == 204
    assert desk.get("Patient/x", token).status_code == 401
    assert desk.asks("mine").status_code == 400
    for method, path, body, status in (
        ("GET", "/mine", None, 404),
        ("DELETE", "/mine", None, 404),
        ("PUT", "/mine", app("mine"), 404),
        ("PUT", "/app", app("other"), 422),
        ("POST", "", app("app"), 422),
        ("POST", "", {}, 422),
        ("POST", "", [], 400),
        ("POST", "", b"{", 400),
        ("POST", "", b" " * 70_000, 413),
    ):
        assert sends(method, path, body).status_code == status, (method, path)
    faults = sends("POST", "", app(kind="lgc")).json()
    assert {each["expression"][0] for each in faults["issue"]} >= {"token_endpoint_auth_method", "redirect_uris"}
    for who, status in (("patient", 403), ("medecin_traitant", 403), ("app", 403), ("nobody", 401)):
        caller = desk.house.callers[who]
        for method, path, body in (("GET", "", None), ("POST", "", app("x")), ("DELETE", "/app", None)):
            assert sends(method, path, body, caller).status_code == status


def test_the_doors_keep_to_themselves(desk: Office) -> None:
    """What is neither FHIR nor a page is not there; every answer forbids frames, sniffing and keeping."""
    for path in ("/nothing", "/oauth", "/oauth/authorize/x", "/openapi.json", "/docs"):
        answer = desk.http.get(path)
        assert answer.status_code == 404
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert urlsplit(desk.base).path == ""
