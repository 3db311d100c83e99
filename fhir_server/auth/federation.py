"""Logging in elsewhere: an OpenID Connect client, for Pro Santé Connect and FranceConnect (spec access §1).

Code flow with state, nonce and PKCE S256. The state is good once, for ten minutes, in the browser it was made for
(A13); an answer from another issuer is refused (A12, RFC 9207); iss, aud, exp, iat, nonce, sub and acr of the id_token
are wanted, and a signature by a key of the provider, of an asymmetric algorithm. Nothing is believed before.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_server.auth.outbound import Outbound
from fhir_server.auth.provider_metadata import Metadata, ProviderCalls, ProviderMetadata
from fhir_server.auth.providers import Provider
from fhir_server.errors import Forbidden, Unauthenticated
from fhir_server.storage.interface import Ledger

ALGORITHMS: Final = ["RS256", "RS384", "PS256", "PS384", "ES256", "ES384"]

_KIND: Final = "federation"
_TEN_MINUTES: Final = 600_000_000
_SECOND: Final = 1_000_000
_LEEWAY: Final = 60
"""Seconds that the clocks of the provider and of this server may differ by."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, by an identity provider. `expires`: of its token, microseconds since 1970 UTC; `carried`: what
    `begin` was given to carry."""

    provider: str
    issuer: str
    subject: str
    acr: str
    claims: Mapping[str, Any]
    expires: int
    carried: str = ""


class Refused(Unauthenticated):
    """The identity provider's answer is not accepted."""


class TooWeak(Refused):
    """This level of authentication is not accepted here."""


class Federation:
    """One identity provider, seen from this server."""

    def __init__(self, provider: Provider, ledger: Ledger, redirect_uri: str, outbound: Outbound) -> None:
        """`redirect_uri`: where the provider sends the browser back to, as registered there."""
        self.provider = provider
        self._ledger = ledger
        self._redirect_uri = redirect_uri
        self._calls = ProviderCalls(outbound)
        self._metadata = ProviderMetadata(provider.issuer, self._calls)

    async def begin(self, *, browser: str, carry: str, now: int) -> str:
        """The url to send the browser to. `browser`: a secret of that browser; `carry`: comes back with the identity.

        Raises Unavailable when the provider does not answer."""
        known = await self._metadata.get(now)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        kept = {"provider": self.provider.name, "nonce": nonce, "verifier": verifier, "carry": carry}
        kept["browser"] = _digest(browser)
        await self._ledger.put(_KIND, _digest(state), orjson.dumps(kept), expires=now + _TEN_MINUTES)
        asked = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self.provider.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
            "acr_values": " ".join(sorted(self.provider.acr)),
        }
        mark = "&" if "?" in known.authorization_endpoint else "?"
        return f"{known.authorization_endpoint}{mark}{urlencode(asked)}"

    async def finish(self, query: Mapping[str, str], *, browser: str, now: int) -> Identity:
        """Who came back. Raises Refused for an answer that is not to be believed, Forbidden when the person or the
        provider declined, Unavailable when the provider does not answer."""
        taken = await self._ledger.take(_KIND, _digest(query.get("state", "")))
        kept = orjson.loads(taken) if taken else {}
        if kept.get("provider") != self.provider.name or not hmac.compare_digest(kept["browser"], _digest(browser)):
            raise Refused
        known = await self._metadata.get(now)
        self._check_issuer(query, known)
        if "code" not in query:
            raise Forbidden("The identity provider did not let you in.")
        given = await self._tokens(known, query["code"], kept["verifier"])
        claims = await self._id_token(known, str(given.get("id_token", "")), now)
        if not hmac.compare_digest(str(claims.get("nonce", "")), kept["nonce"]):
            raise Refused
        about = await self._about(known, str(given.get("access_token", "")), claims["sub"], now)
        return self._identity({**about, **claims}, now + _lifetime(given), kept["carry"])

    async def examine(self, token: str, *, now: int) -> Identity:
        """Whose access token of the provider's that is, asked there once (RFC 7662). Raises Refused, Unavailable."""
        known = await self._metadata.get(now)
        body = {"token": token, "token_type_hint": "access_token"}
        told = await self._post(known.introspection_endpoint, body)
        expires, subject = told.get("exp"), told.get("sub")
        client = told.get("client_id", told.get("azp"))
        if told.get("active") is not True or not isinstance(subject, str) or client not in self.provider.clients:
            raise Refused
        if type(expires) is not int or expires * _SECOND <= now:
            raise Refused
        if told.get("iss", self.provider.issuer) != self.provider.issuer:
            raise Refused
        about = await self._about(known, token, subject, now)
        return self._identity({**about, **told}, expires * _SECOND, "")

    def _check_issuer(self, query: Mapping[str, str], known: Metadata) -> None:
        """RFC 9207: the answer says whose it is, and must when the provider has said that its answers do."""
        stated = query.get("iss")
        if stated is None and not known.states_issuer:
            return
        if stated != self.provider.issuer:
            raise Refused

    async def _tokens(self, known: Metadata, code: str, verifier: str) -> dict[str, Any]:
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        return await self._post(known.token_endpoint, body)

    async def _post(self, url: str, body: dict[str, str]) -> dict[str, Any]:
        return await self._calls.post(url, body, self.provider.client_id, self.provider.secret)

    async def _id_token(self, known: Metadata, token: str, now: int) -> dict[str, Any]:
        claims = await self._signed(token, now)
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        authorised = claims.get("azp", self.provider.client_id if len(audiences) == 1 else None)
        fits = (
            claims.get("iss") == self.provider.issuer
            and self.provider.client_id in audiences
            and authorised == self.provider.client_id
            and isinstance(claims.get("sub"), str)
            and bool(claims["sub"])
            and _in_time(claims, now // _SECOND)
        )
        if not fits:
            raise Refused
        return claims

    async def _signed(self, token: str, now: int) -> dict[str, Any]:
        """The claims of a JWT that a key of the provider has signed; once more with fresh keys when none fits."""
        for fresh in (False, True):
            keys = await self._metadata.keys(now, fresh=fresh)
            try:
                claims = jwt.decode(token, _key_set(keys), algorithms=ALGORITHMS).claims
            except (JoseError, ValueError, TypeError, KeyError):
                continue
            if isinstance(claims, dict):
                return claims
        raise Refused

    async def _about(self, known: Metadata, token: str, subject: str, now: int) -> Mapping[str, Any]:
        """What the userinfo endpoint says of the same person; plain JSON, or signed as FranceConnect does."""
        if not known.userinfo_endpoint:
            return {}
        kind, body = await self._calls.about(known.userinfo_endpoint, token)
        if kind == "application/jwt":
            claims = await self._signed(body.decode("ascii", "replace"), now)
            if claims.get("iss", self.provider.issuer) != self.provider.issuer:
                raise Refused
        else:
            claims = _read(body)
        if not isinstance(claims, dict) or claims.get("sub") != subject:
            raise Refused
        return claims

    def _identity(self, claims: Mapping[str, Any], expires: int, carried: str) -> Identity:
        acr = claims.get("acr")
        if not isinstance(acr, str) or acr not in self.provider.acr:
            raise TooWeak
        return Identity(self.provider.name, self.provider.issuer, claims["sub"], acr, claims, expires, carried)


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused from error


def _key_set(keys: Any) -> KeySet:
    return KeySet.import_key_set(keys)


def _in_time(claims: Mapping[str, Any], now: int) -> bool:
    expires, issued = claims.get("exp"), claims.get("iat")
    whole = type(expires) is int and type(issued) is int
    return whole and now < expires + _LEEWAY and issued <= now + _LEEWAY  # type: ignore[operator]


def _lifetime(given: Mapping[str, Any]) -> int:
    seconds = given.get("expires_in")
    return seconds * _SECOND if type(seconds) is int and seconds > 0 else 0


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
