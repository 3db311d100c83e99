"""The leak catalogue's attacks on tokens and the authorization server (access §8), each refused over real HTTP."""

from __future__ import annotations

import hmac
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import orjson
import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import issue
from fhir_server.demo.build import Cast
from tests.conftest import House, open_house
from tests.oauth import (
    CHALLENGE,
    HOME,
    VERIFIER,
    KeyServer,
    Office,
    app,
    claims,
    ec_key,
    key_server,
    lgc,
    office,
    pro_context,
    public,
    rsa_key,
    signed,
)

RSA, EC = rsa_key(), ec_key()
ANYWHERE = "patient/*.cruds"


@contextmanager
def opened(folder: Path) -> Iterator[Office]:
    """A house, in it one client of each kind, and where one of them keeps its keys."""
    with key_server() as addresses:
        addresses.keys = [public(EC)]
        for house in open_house(folder, _strangers, outbound_hosts=urlsplit(addresses.url).netloc):
            with office(house) as desk:
                desk.registers(app())
                desk.registers(app("other", redirect_uris=["https://other.example.org/"]))
                desk.registers(app("own", first_party=True))
                desk.registers(app("demo-app", redirect_uris=[HOME]))
                desk.registers(lgc("rsa", RSA))
                desk.registers(lgc("ec", EC))
                desk.registers(lgc("away", jwks_uri=addresses.url))
                secret = desk.registers(app("secret", token_endpoint_auth_method="client_secret_basic"))
                server = {"kind": "resource-server", "token_endpoint_auth_method": "client_secret_basic"}
                asker = desk.registers({"client_id": "asker", "client_name": "Asks", **server})
                kept = {"secret": secret["client_secret"], "asker": asker["client_secret"]}
                desk.known = {**kept, "addresses": addresses}
                yield desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests of this module."""
    with opened(tmp_path_factory.mktemp("house")) as desk:
        yield desk


@pytest.fixture(scope="module")
def addresses(desk: Office) -> KeyServer:
    """Where one client keeps its keys."""
    server = desk.known["addresses"]
    assert isinstance(server, KeyServer)
    return server


def _strangers(cast: Cast) -> dict[str, Actor]:
    """Applications with few rights, and one bound to no patient."""
    record = cast.id("patient")

    def scoped(*scopes: str, patients: tuple[str, ...] = (record,)) -> Actor:
        return Actor(
            "app",
            "Device/demo-app",
            "App",
            "",
            frozenset({"client:demo-app"}),
            patients,
            "patient",
            cast["patient"],
            client="demo-app",
            scopes=scopes,
        )

    return {
        "reader": scoped("patient/DocumentReference.r"),
        "searcher": scoped("patient/DocumentReference.s"),
        "both": scoped("patient/DocumentReference.rs"),
        "laboratory": scoped("patient/DocumentReference.rs?type=http://loinc.org|11502-2", "patient/Patient.s"),
        "unbound": scoped(ANYWHERE, patients=()),
    }


def audience(desk: Office) -> str:
    """The url of the token endpoint."""
    return f"{desk.base}/oauth/token"


def refused(answer: Any) -> bool:
    """The one refusal of a client."""
    constant = {
        "error": "invalid_client",
        "error_description": "The client is not registered, or did not prove to be that client.",
    }
    assert answer.json() == constant
    assert answer.headers["cache-control"] == "no-store"
    return bool(answer.status_code == 401)


def test_an_assertion_that_holds_is_taken(desk: Office) -> None:
    """Against which the refusals below are measured: RS384, ES384, and keys at an address."""
    for key, client in ((RSA, "rsa"), (EC, "ec"), (EC, "away")):
        answer = desk.backend(key, client)
        assert answer.status_code == 200, answer.text
        assert answer.json()["expires_in"] == 600


@pytest.mark.leak("A01")
def test_A01_alg_none(desk: Office) -> None:
    """An assertion without a signature is none, however it is spelt."""
    said = urlsafe_b64encode(orjson.dumps(claims("ec", audience(desk)))).decode().rstrip("=")
    for alg in ("none", "None", "NONE"):
        header = urlsafe_b64encode(orjson.dumps({"alg": alg, "kid": "ec", "typ": "JWT"})).decode().rstrip("=")
        for signature in ("", signed(EC, {}).rpartition(".")[2]):
            assert refused(desk.asserts(f"{header}.{said}.{signature}"))


@pytest.mark.leak("A02")
def test_A02_a_public_key_is_no_secret(desk: Office) -> None:
    """HS256 with the RSA public key in PEM, DER or JWK as the secret; and RS256, PS384, which are not SMART's."""
    key = RSAKey.import_key(public(RSA))
    for secret in (key.as_pem(), key.as_der(), orjson.dumps(public(RSA))):
        for alg in ("HS256", "HS384"):
            forged = _hmac(alg, secret, claims("rsa", audience(desk)))
            assert refused(desk.asserts(forged))
    for alg in ("RS256", "PS384"):
        said = claims("rsa", audience(desk))
        assert refused(desk.asserts(jwt.encode({"alg": alg, "kid": "rsa"}, said, RSA, algorithms=[alg])))


def _hmac(alg: str, secret: bytes, said: dict[str, Any]) -> str:
    """Made by hand: the library would not sign with such a secret."""
    header = {"alg": alg, "kid": "rsa", "typ": "JWT"}
    signing = b".".join(urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in (header, said))
    signature = hmac.digest(secret, signing, "sha" + alg[2:])
    return b".".join((signing, urlsafe_b64encode(signature).rstrip(b"="))).decode()


@pytest.mark.leak("A03")
def test_A03_an_extension_that_is_critical_is_refused(desk: Office) -> None:
    """Known to the library or not."""
    for crit in (["exp"], ["b64"], ["http://example.org/x"], []):
        registry = jws.JWSRegistry(algorithms=["ES384"], strict_check_header=False)
        registry.check_header = lambda header: None  # type: ignore[method-assign]
        header = {"alg": "ES384", "kid": "ec", "typ": "JWT", "crit": crit, "http://example.org/x": 1, "b64": True}
        forged = jws.serialize_compact(header, orjson.dumps(claims("ec", audience(desk))), EC, registry=registry)
        assert refused(desk.asserts(forged))


@pytest.mark.leak("A04")
def test_A04_keys_are_not_fetched_from_where_the_header_says(desk: Office, addresses: KeyServer) -> None:
    """A `jku` that is not the registered address is refused without a call; the registered one is accepted."""
    with key_server() as mine:
        mine.keys = [public(EC)]
        for client in ("ec", "away"):
            assert refused(desk.asserts(signed(EC, claims(client, audience(desk)), jku=mine.url)))
            assert refused(desk.asserts(signed(EC, claims(client, audience(desk)), jku=addresses.url + "?")))
        assert mine.asked == 0
    assert desk.asserts(signed(EC, claims("away", audience(desk)), jku=addresses.url)).status_code == 200
    own = ec_key("mine")
    assert refused(desk.asserts(signed(own, claims("ec", audience(desk)), jwk=public(own))))


@pytest.mark.leak("A05")
def test_A05_two_keys_with_one_kid_are_none(desk: Office, addresses: KeyServer) -> None:
    """Nor is one of another type than `alg` signs with, nor one for encryption; one good key is one."""
    wrong = [[public(EC), public(ec_key("ec"))], [{**public(RSA), "kid": "ec"}], [{**public(EC), "use": "enc"}], []]
    before = addresses.keys
    try:
        for keys in [*wrong, [public(EC), public(RSA)]]:
            client = uuid4().hex
            desk.registers(lgc(client, jwks_uri=f"{addresses.url}?{client}"))
            addresses.keys = keys
            answer = desk.backend(EC, client)
            assert refused(answer) if keys in wrong else answer.status_code == 200
    finally:
        addresses.keys = before
    assert refused(desk.backend(ec_key("nobody's"), "ec"))


@pytest.mark.leak("A06")
def test_A06_an_assertion_is_good_once(desk: Office) -> None:
    """Of twenty at once, one gets a token; and another assertion with the same jti none."""
    said = claims("ec", audience(desk))
    assertion = signed(EC, said)
    with ThreadPoolExecutor(10) as threads:
        codes = sorted(each.status_code for each in threads.map(lambda _: desk.asserts(assertion), range(20)))
    assert codes == [200, *[401] * 19]
    assert refused(desk.asserts(signed(EC, {**said, "exp": said["exp"] + 1})))
    assert desk.asserts(signed(RSA, claims("rsa", audience(desk), jti=said["jti"]))).status_code == 200


@pytest.mark.leak("A07")
def test_A07_an_assertion_ends_within_five_minutes(desk: Office) -> None:
    """`exp` is a whole number of seconds, not too far away, and not missing."""
    now = int(time.time())
    for wrong in (now + 400, now - 1, str(now + 100), now + 100.5, True, None, [now + 100], -1):
        assert refused(desk.asserts(signed(EC, claims("ec", audience(desk), exp=wrong)))), wrong
    without = {name: value for name, value in claims("ec", audience(desk)).items() if name != "exp"}
    assert refused(desk.asserts(signed(EC, without)))
    for number in (b"NaN", b"Infinity", b"1e400"):
        body = orjson.dumps(claims("ec", audience(desk), exp=0)).replace(b'"exp":0', b'"exp":' + number)
        header = {"alg": "ES384", "kid": "ec", "typ": "JWT"}
        assert refused(desk.asserts(jws.serialize_compact(header, body, EC, algorithms=["ES384"])))
    for name in ("nbf", "iat"):
        assert refused(desk.asserts(signed(EC, claims("ec", audience(desk), **{name: now + 200}))))


@pytest.mark.leak("A08")
def test_A08_an_assertion_is_for_this_server_alone(desk: Office) -> None:
    """Not for another, not for several, not for nobody."""
    here = audience(desk)
    for wrong in ("https://other.example.org/token", [here, "https://other.example.org"], [], "", None, here + "/"):
        assert refused(desk.asserts(signed(EC, claims("ec", audience(desk), aud=wrong)))), wrong
    assert desk.asserts(signed(EC, claims("ec", here, aud=[here]))).status_code == 200
    for name in ("iss", "sub", "jti"):
        assert refused(desk.asserts(signed(EC, {**claims("ec", here), name: "rsa" if name != "jti" else ""})))


@pytest.mark.leak("A09")
def test_A09_a_code_is_good_once_and_its_family_ends_with_a_second_use(desk: Office) -> None:
    """Of ten at once at most one gets tokens, and none of them is good afterwards."""
    code = desk.code(scopes="launch/patient patient/*.rs offline_access")
    first = desk.redeems(code).json()
    assert desk.get("Patient/" + desk.house.cast.id("patient"), first["access_token"]).status_code != 401
    assert desk.redeems(code).json()["error"] == "invalid_grant"
    assert desk.get("Patient/x", first["access_token"]).status_code == 401
    assert desk.refreshes(first["refresh_token"]).json()["error"] == "invalid_grant"
    code = desk.code()
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: desk.redeems(code), range(10)))
    given = [each.json()["access_token"] for each in answers if each.status_code == 200]
    assert len(given) <= 1
    assert all(desk.get("Patient/x", each).status_code == 401 for each in given)


@pytest.mark.leak("A10")
def test_A10_no_code_without_its_verifier(desk: Office) -> None:
    """PKCE missing or plain at the start; wrong or missing at the end, which uses the code up."""
    for wrong in ({"code_challenge": None}, {"code_challenge_method": "plain"}, {"code_challenge_method": None}):
        assert _sent_back(desk.asks(**wrong))["error"] == "invalid_request"
    assert _sent_back(desk.asks(code_challenge="short"))["error"] == "invalid_request"
    code = desk.code()
    assert desk.redeems(code, code_verifier=VERIFIER + "x").json()["error"] == "invalid_grant"
    assert desk.redeems(code).json()["error"] == "invalid_grant"
    assert desk.redeems(desk.code(), code_verifier="").json()["error"] == "invalid_request"
    assert desk.redeems(desk.code(), code_verifier=CHALLENGE).json()["error"] == "invalid_grant"


@pytest.mark.leak("A11")
def test_A11_nobody_is_sent_to_an_address_that_is_not_registered(desk: Office) -> None:
    """Letter by letter: no prefix, no case, no port, no dots, nothing added; and no redirect at all."""
    near = (
        HOME + "/",
        HOME + "?x=1",
        HOME + "#x",
        HOME + "/../back",
        HOME.upper(),
        "https://app.example.org",
        "https://app.example.org:443/back",
        "https://app.example.org@evil.example/back",
        "https://evil.example/",
        "//app.example.org/back",
        "https://other.example.org/",
    )
    for uri in near:
        answer = desk.asks(redirect_uri=uri)
        assert answer.status_code == 400
        assert "location" not in answer.headers
    assert desk.asks(redirect_uri=None).status_code == 400
    assert desk.asks("nobody").status_code == 400
    assert desk.redeems(desk.code(), redirect_uri="https://other.example.org/").json()["error"] == "invalid_grant"


@pytest.mark.leak("A12")
def test_A12_every_answer_says_who_gives_it(desk: Office) -> None:
    """`iss`, with a code and with an error (RFC 9207)."""
    record = desk.house.cast.id("patient")
    asked = desk.asks()
    given = desk.approves(asked, desk.actor("patient"), "launch/patient patient/*.rs", patient=record)
    assert given["iss"] == desk.base
    assert _sent_back(desk.asks(scope="nonsense"))["iss"] == desk.base
    assert desk.http.get("/.well-known/openid-configuration").json()["issuer"] == desk.base


@pytest.mark.leak("A13")
def test_A13_the_state_comes_back_as_it_was(desk: Office) -> None:
    """Letter by letter, and not at all where there was none."""
    for state in ("a b&c=d%25#é\U0001f600", "x" * 500, "+", None):
        assert _sent_back(desk.asks(state=state, scope="nonsense")).get("state") == state
        given = desk.approves(
            desk.asks(state=state),
            desk.actor("patient"),
            "launch/patient patient/*.rs",
            patient=desk.house.cast.id("patient"),
        )
        assert given.get("state") == state


@pytest.mark.leak("A14")
def test_A14_an_old_refresh_token_ends_its_family(desk: Office) -> None:
    """The tokens that came of the new one die with it."""
    first = desk.redeems(desk.code(scopes="launch/patient patient/*.rs offline_access")).json()
    second = desk.refreshes(first["refresh_token"]).json()
    assert desk.get("Patient/x", second["access_token"]).status_code != 401
    assert desk.refreshes(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert desk.get("Patient/x", second["access_token"]).status_code == 401
    assert desk.get("Patient/x", first["access_token"]).status_code == 401
    assert desk.refreshes(second["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.leak("A15")
def test_A15_a_wrong_secret_and_an_unknown_client_look_the_same(desk: Office) -> None:
    """Same bytes; that it is the same work too, tests/auth/test_proof.py shows."""
    basic = lambda id, secret: {"Authorization": "Basic " + b64encode(f"{id}:{secret}".encode()).decode()}  # noqa: E731
    grant = {"grant_type": "authorization_code", "code": "x", "redirect_uri": HOME, "code_verifier": VERIFIER}
    wrong = desk.token(grant, headers=basic("secret", "wrong"))
    unknown = desk.token(grant, headers=basic("nobody", "wrong"))
    public = desk.token(grant, headers=basic("app", "wrong"))
    assert wrong.content == unknown.content == public.content
    assert refused(wrong)
    right = desk.token(grant, headers=basic("secret", desk.known["secret"]))
    assert right.json()["error"] == "invalid_grant"
    both = desk.token({**grant, "client_secret": desk.known["secret"]}, headers=basic("secret", desk.known["secret"]))
    assert refused(both)
    assert refused(desk.redeems("x", client="secret"))


@pytest.mark.leak("A16")
def test_A16_a_token_in_the_url_is_none(desk: Office) -> None:
    """Nor one in a form, a cookie, or another scheme."""
    token = desk.house.patient.token
    url = f"{desk.house.base}/{desk.house.patient.reference}"
    assert desk.http.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert desk.http.get(url, params={"access_token": token}).status_code == 401
    assert desk.http.get(url, headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert desk.http.get(url, headers={"Cookie": f"access_token={token}"}).status_code == 401


@pytest.mark.leak("A17")
def test_A17_a_stranger_learns_nothing_of_a_token(desk: Office) -> None:
    """Without a proof 401, as another client `active: false`; the own client and a resource server are told."""
    token = desk.redeems(desk.code()).json()["access_token"]
    asks = lambda **more: desk.http.post("/oauth/introspect", data={"token": token}, **more)  # noqa: E731
    assert refused(asks())
    assert refused(desk.http.post("/oauth/introspect", data={"token": token, "client_id": "app"}))
    assert asks(auth=("secret", desk.known["secret"])).json() == {"active": False}
    told = asks(auth=("asker", desk.known["asker"])).json()
    assert told["active"] is True
    assert told["client_id"] == "app"
    nothing = desk.http.post("/oauth/introspect", data={"token": "x"}, auth=("asker", desk.known["asker"]))
    assert nothing.json() == {"active": False}


@pytest.mark.leak("A18")
def test_A18_unknown_kids_do_not_make_the_server_fetch(desk: Office, addresses: KeyServer) -> None:
    """Fifty assertions with kids of their own: one look at the address."""
    flood = uuid4().hex
    desk.registers(lgc(flood, jwks_uri=f"{addresses.url}?{flood}"))
    before = addresses.asked
    for number in range(50):
        assert refused(desk.asserts(signed(EC, claims(flood, audience(desk)), kid=f"k{number}")))
    assert addresses.asked - before == 1


@pytest.mark.leak("A20")
def test_A20_scripts_of_registered_origins_only(desk: Office) -> None:
    """At the token endpoint; what everyone may know, everyone's scripts may read."""
    origin, other = "https://app.example.org", "https://evil.example"
    for method in ("POST", "OPTIONS"):
        asked = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        for who, allowed in ((origin, origin), (other, None), ("null", None), (origin + ".evil.example", None)):
            answer = desk.http.request(method, "/oauth/token", headers={"Origin": who, **asked})
            assert answer.headers.get("access-control-allow-origin") == allowed
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration", "/fhir/metadata"):
        assert desk.http.get(path, headers={"Origin": other}).headers["access-control-allow-origin"] == "*"


@pytest.mark.leak("L41")
def test_L41_neither_token_nor_introspection_names_what_is_hidden(desk: Office) -> None:
    """What is said of a token is what access §1 lists, and no consent data."""
    record = desk.house.cast.id("patient")
    scopes = "openid fhirUser launch/patient patient/*.rs offline_access"
    given = desk.redeems(desk.code(scopes=scopes)).json()
    expected = {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "patient",
        "need_patient_banner",
        "fhirUser",
        "id_token",
    }
    assert given.keys() == expected
    part = given["id_token"].split(".")[1]
    said = orjson.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert said.keys() == {"iss", "sub", "aud", "exp", "iat", "auth_time", "fhirUser"}
    told = desk.http.post(
        "/oauth/introspect", data={"token": given["access_token"]}, auth=("asker", desk.known["asker"])
    ).json()
    assert told == {
        "active": True,
        "scope": scopes,
        "client_id": "app",
        "exp": told["exp"],
        "iss": desk.base,
        "sub": f"Patient/{record}",
        "fhirUser": f"{desk.house.base}/Patient/{record}",
        "patient": record,
    }


@pytest.mark.leak("L62")
def test_L62_a_token_of_one_patient_reads_no_other(desk: Office) -> None:
    """Absent, as an id that nobody has."""
    token = desk.redeems(desk.code("own"), "own").json()["access_token"]
    own, other = desk.house.cast["patient"], desk.house.cast["mother"]
    assert desk.get(own, token).status_code == 200
    hidden, absent = desk.get(other, token), desk.get("Patient/none", token)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content


@pytest.mark.leak("L63")
def test_L63_a_patient_scope_without_a_patient_is_refused(desk: Office) -> None:
    """403, whatever is asked for."""
    unbound = desk.house.unbound
    record = desk.house.cast.id("patient")
    for url in (
        f"DocumentReference?status=current&patient={record}",
        f"Patient/{record}",
        "Practitioner",
        f"Patient/{record}/$everything",
    ):
        assert unbound.get(url).status_code == 403, url
    assert unbound.post("DocumentReference", {"resourceType": "DocumentReference"}).status_code == 403


@pytest.mark.leak("L64")
def test_L64_each_letter_is_its_own_right(desk: Office) -> None:
    """Read without search, search without read, a version under `s`, each entry of a batch, each operation."""
    house, record = desk.house, desk.house.cast.id("patient")
    search = f"DocumentReference?status=current&patient={record}"
    found = house.both.get(search).json()["entry"][0]["resource"]["id"]
    read = f"DocumentReference/{found}"
    wanted = {
        "reader": {read: 200, f"{read}/_history/1": 200, f"{read}/_history": 200, search: 403},
        "searcher": {read: 403, f"{read}/_history/1": 403, f"{read}/_history": 403, search: 200},
        "both": {read: 200, search: 200, f"Condition?patient={record}": 403, "DocumentReference/_history": 200},
    }
    for name, statuses in wanted.items():
        for url, status in statuses.items():
            assert house.callers[name].get(url).status_code == status, (name, url)
        batch = {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": url}} for url in statuses],
        }
        answer = house.callers[name].post("", batch).json()
        assert [int(each["response"]["status"][:3]) for each in answer["entry"]] == list(statuses.values())
    for caller in (house.reader, house.both):
        assert caller.get(f"Patient/{record}/$everything").status_code == 403
        assert caller.request("DELETE", read).status_code == 403
        assert caller.post("DocumentReference", house.both.get(read).json()).status_code == 403


@pytest.mark.leak("L65")
def test_L65_a_granular_scope_narrows_what_is_included(desk: Office) -> None:
    """A document that its criteria leave out comes by no include."""
    house, record = desk.house, desk.house.cast.id("patient")
    everything = house.both.get(f"DocumentReference?status=current&patient={record}").json()["entry"]
    wanted = {each["resource"]["id"] for each in everything if _code(each["resource"]) == "11502-2"}
    assert 0 < len(wanted) < len(everything)
    found = house.laboratory.get(f"Patient?_id={record}&_revinclude=DocumentReference:subject").json()
    included = [each["resource"] for each in found["entry"] if each["search"]["mode"] == "include"]
    assert {each["id"] for each in included} == wanted
    hidden = next(each["resource"]["id"] for each in everything if each["resource"]["id"] not in wanted)
    assert house.laboratory.get(f"DocumentReference/{hidden}").status_code == 404


def _code(document: dict[str, Any]) -> str:
    return str(document["type"]["coding"][0]["code"])


@pytest.mark.leak("L66")
def test_L66_headers_say_nothing_of_who_is_asking(desk: Office) -> None:
    """Whatever they claim, the answer is that of the token."""
    house = desk.house
    record, claimed = house.cast["mother"], house.cast.id("mother")
    headers = {
        "X-Patient-Id": claimed,
        "X-Forwarded-User": "admin",
        "X-Consent-Scope": "*",
        "X-WorkSituation": "1",
        "X-User": record,
    }
    plain, dressed = house.other_doctor.get(record), house.other_doctor.get(record, **headers)
    assert plain.status_code == dressed.status_code == 404
    assert plain.content == dressed.content


@pytest.mark.leak("L67")
def test_L67_a_refresh_never_widens_and_dies_with_its_grant(desk: Office) -> None:
    """More scopes are refused, and fewer given; when the last share ends, access and refresh are dead at once."""
    scopes = "launch/patient patient/DocumentReference.rs offline_access"
    given = desk.redeems(desk.code("demo-app", scopes=scopes), "demo-app").json()
    for wider in ("patient/DocumentReference.cruds", "patient/*.rs", "user/DocumentReference.rs", "openid"):
        assert desk.refreshes(given["refresh_token"], "demo-app", scope=wider).json()["error"] == "invalid_scope"
    less = desk.refreshes(given["refresh_token"], "demo-app", scope="patient/DocumentReference.r").json()
    assert less["scope"] == "patient/DocumentReference.r"
    search = f"DocumentReference?status=current&patient={desk.house.cast.id('patient')}"
    assert desk.get(search, less["access_token"]).status_code == 403
    full = desk.refreshes(less["refresh_token"], "demo-app").json()
    assert desk.get(search, full["access_token"]).status_code == 200
    patient = desk.house.patient
    shares = [each["resource"] for each in patient.get("Consent").json()["entry"]]
    share = next(each for each in shares if each["policy"][0]["uri"].endswith("/app-share") and _is_active(each))
    ended = patient.put(f"Consent/{share['id']}", {**share, "status": "inactive"})
    try:
        assert ended.status_code == 200, ended.text
        assert desk.get(search, full["access_token"]).status_code == 401
        assert desk.refreshes(full["refresh_token"], "demo-app").json()["error"] == "invalid_grant"
    finally:
        again = {name: value for name, value in share.items() if name not in ("id", "meta")}
        assert patient.post("Consent", again).status_code == 201


def _is_active(share: dict[str, Any]) -> bool:
    return bool(share["status"] == "active")


@pytest.mark.leak("L68")
def test_L68_software_of_one_structure_does_not_speak_for_another(desk: Office) -> None:
    """The token is refused; for its own it is given, to act as the professional."""
    own = desk.backend(EC, "ec", pro_context=pro_context())
    assert own.status_code == 200, own.text
    for structure in ("1990000002", "1990000001x", "990000001", "3990000001", ""):
        answer = desk.backend(EC, "ec", pro_context=pro_context(structure=structure))
        assert answer.status_code in (401, 403), structure
        assert "access_token" not in answer.json()


def _sent_back(answer: Any) -> dict[str, str]:
    """The parameters with which the application is sent back."""
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(HOME + "?")
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


def test_the_house_is_that_of_the_demonstration(desk: Office) -> None:
    """Nothing above has changed who reads what."""
    assert isinstance(desk.house, House)
    assert desk.get(desk.house.patient.reference, desk.house.patient.token).status_code == 200


def test_a_token_given_for_an_hour_is_one_at_this_door(desk: Office) -> None:
    """What `issue` gives another process is good here at once, and its end holds here at once (I11)."""

    async def give(ledger: Any) -> str:
        return await issue(ledger, desk.actor("patient"), ttl=3_600_000_000, now=time.time_ns() // 1000)

    token = desk.ledger(give)
    assert desk.get(desk.house.patient.reference, token).status_code == 200
