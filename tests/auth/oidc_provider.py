"""A real OpenID provider in a process of its own: oidc-provider-mock, made strict about PKCE and the client's secret,
with introspection, and able to lie when told to.

`python oidc_provider.py PORT SECRET`. `POST /lie` sets what is done to what it answers, until the next `POST /lie`:
`claims`: put in the place of those of the id_token (null: taken out); `signed`: own, other, none, pem or der (HS256 by
the public key); `userinfo`, `metadata`, `introspection`: members put in the place of those of these answers; `iss`:
added to the answer that the browser takes back.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from typing import Any
from urllib.parse import urlencode

import flask
import werkzeug.serving
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_provider_mock import app as provider
from oidc_provider_mock._storage import storage


def make(secret: str) -> flask.Flask:
    """The provider. `secret`: of its clients."""
    made = provider(require_nonce=True)
    lies: dict[str, Any] = {}
    challenges: list[str] = []
    clients: dict[str, str] = {}

    @made.post("/lie")
    def lie() -> tuple[str, int]:
        lies.clear()
        lies.update(flask.request.get_json())
        return "", 204

    @made.post("/introspect")
    def introspect() -> flask.Response:
        if flask.request.form.get("client_secret") != secret:
            return flask.Response(status=401)
        token = storage.get_access_token(flask.request.form["token"])
        if token is None:
            return flask.jsonify({"active": False})
        said = {
            "active": True,
            "sub": token.user_id,
            "exp": int(token.expires_at.timestamp()),
            "client_id": clients.get(token.token, ""),
            "acr": token.get_user().claims.get("acr"),
        }
        told = {**said, **lies.get("introspection", {})}
        return flask.jsonify({name: value for name, value in told.items() if value is not None})

    @made.before_request
    def strict() -> flask.Response | None:
        asked = flask.request
        if asked.path == "/oauth2/authorize" and asked.method == "POST" and "code_challenge" in asked.args:
            assert asked.args["code_challenge_method"] == "S256"
            challenges.append(asked.args["code_challenge"])
        if asked.path == "/oauth2/token":
            digest = hashlib.sha256(asked.form.get("code_verifier", "").encode()).digest()
            if _base64(digest) not in challenges or asked.form.get("client_secret") != secret:
                return flask.Response('{"error": "invalid_grant"}', 400, mimetype="application/json")
        return None

    @made.after_request
    def told(answer: flask.Response) -> flask.Response:
        path = flask.request.path
        if path == "/.well-known/openid-configuration":
            here = flask.request.host_url
            return _with(answer, {"introspection_endpoint": f"{here}introspect", **lies.get("metadata", {})})
        if path == "/userinfo" and answer.status_code == 200:
            return _with(answer, lies.get("userinfo", {}))
        if path == "/oauth2/token" and answer.status_code == 200:
            body = json.loads(answer.data)
            clients[body["access_token"]] = flask.request.form["client_id"]
            return _with(answer, {"id_token": _lied(body["id_token"], lies)})
        if path == "/oauth2/authorize" and "location" in answer.headers and "iss" in lies:
            answer.headers["location"] += "&" + urlencode({"iss": lies["iss"]})
        return answer

    return made


def _with(answer: flask.Response, more: dict[str, Any]) -> flask.Response:
    said = {**json.loads(answer.data), **more}
    answer.data = json.dumps({name: value for name, value in said.items() if value is not None})
    return answer


def _lied(token: str, lies: dict[str, Any]) -> str:
    """The id_token as the lies have it, signed as they say."""
    if not {"claims", "signed"} & lies.keys():
        return token
    head, body, _ = token.split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))
    changed = {**claims, **lies.get("claims", {})}
    claims = {name: value for name, value in changed.items() if value is not None}
    how = lies.get("signed", "own")
    own = RSAKey.import_key(storage.jwk.as_dict(is_private=True))
    if how == "own":
        return jwt.encode(header, claims, own)
    if how == "other":
        return jwt.encode(header, claims, RSAKey.generate_key(2048))
    if how in ("pem", "der"):
        public = own.as_pem(private=False) if how == "pem" else own.as_der(private=False)
        signed = f"{_part({**header, 'alg': 'HS256'})}.{_part(claims)}"
        return f"{signed}.{_base64(hmac.digest(public, signed.encode(), 'sha256'))}"
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


if __name__ == "__main__":
    werkzeug.serving.make_server("127.0.0.1", int(sys.argv[1]), make(sys.argv[2]), threaded=True).serve_forever()
