"""The pages on which people say who they are, and the one on which they leave."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from fhir_server.api.acts import note
from fhir_server.api.authenticate import NOBODY
from fhir_server.auth.accounts import Account
from fhir_server.auth.actor import Actor
from fhir_server.auth.federation import Identity
from fhir_server.auth.lockout import Delayed
from fhir_server.auth.professionals import professionals
from fhir_server.auth.providers import PRO_SANTE_CONNECT
from fhir_server.auth.tokens import end_session
from fhir_server.errors import Unauthenticated
from fhir_server.portal.journey import arrive, journey, onward
from fhir_server.portal.outside import remember, remembered
from fhir_server.portal.pages import Fault, away
from fhir_server.portal.parts import Parts, Told
from fhir_server.portal.visit import Visit
from fhir_server.record.directory import placed


class Login:
    """/login and what belongs to it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Its routes."""
        at = router.add_api_route
        at("/login", self._parts.endpoint(self._form), methods=["GET"])
        at("/login", self._parts.endpoint(self._local), methods=["POST"])
        at("/login/exercice", self._parts.endpoint(self._exercices), methods=["GET"])
        at("/login/exercice", self._parts.endpoint(self._choose), methods=["POST"])
        at("/login/enrol", self._parts.endpoint(self._enrolment), methods=["GET"])
        at("/login/enrol", self._parts.endpoint(self._enrol), methods=["POST"])
        at("/logout", self._parts.endpoint(self._leaving), methods=["GET"])
        at("/logout", self._parts.endpoint(self._leave), methods=["POST"])
        for name in self._parts.federations:
            at(f"/login/{name}", self._parts.endpoint(partial(self._go, name)), methods=["GET"])
            at(f"/login/{name}/callback", self._parts.endpoint(partial(self._back, name)), methods=["GET"])

    async def _form(self, visit: Visit, *faults: Fault, status: int = 200) -> Response:
        """What to log in with. Whoever has a request and a login that is good for it goes on."""
        leads_to, app, hint = list[str](), "", visit.asked("login")
        if visit.asked("request"):
            given = await journey(self._parts, visit)
            app, leads_to = given.request.client_name, [given.request.redirect_uri]
            hint = hint or given.request.login_hint
            if not faults:
                response = await onward(self._parts, visit)
                if not _leads_here(response):
                    return response
        elif visit.session and not faults:
            return self._parts.pages.redirect(visit, "/apps")
        return self._parts.pages.page(
            visit,
            "login",
            status=status,
            faults=faults,
            leads_to=leads_to,
            app=app,
            hint=hint,
            request=visit.asked("request"),
            federations=list(self._parts.federations),
        )

    async def _local(self, visit: Visit) -> Response:
        login, password = visit.asked("login"), visit.asked("password")
        empty = [("login", login, "login_name_missing"), ("password", password, "login_password_missing")]
        faults = [Fault(field, sentence) for field, value, sentence in empty if not value.strip()]
        if faults:
            return await self._form(visit, *faults, status=422)
        try:
            account = await self._parts.accounts.log_in(login, password, now=self._parts.now())
        except Delayed as error:
            delayed = Fault("login", "login_delayed", {"seconds": error.seconds})
            response = await self._form(visit, delayed, status=429)
            response.headers["Retry-After"] = str(error.seconds)
            return response
        except Unauthenticated as error:
            await note(self._parts.services, NOBODY, "login", refused=error)
            return await self._form(visit, Fault("login", "login_wrong"), status=401)
        return await self._enter(visit, account.actors, acr="local", account=account)

    async def _go(self, name: str, visit: Visit) -> Response:
        url = await self._parts.federations[name].begin(
            browser=visit.cookie, carry=visit.asked("request"), now=self._parts.now()
        )
        return away(visit, url)

    async def _back(self, name: str, visit: Visit) -> Response:
        """The browser comes back from an identity provider."""
        identity = await self._parts.federations[name].finish(visit.query, browser=visit.cookie, now=self._parts.now())
        visit.query = {**visit.query, "request": identity.carried}
        if name == PRO_SANTE_CONNECT:
            actors = professionals(identity.claims)
            if not actors:
                raise Told("fault_ambiguous")
            return await self._enter(visit, actors, acr=identity.acr, provider=name)
        account = await self._parts.accounts.bound(identity.issuer, identity.subject, now=self._parts.now())
        if account is None:
            await remember(self._parts, visit, identity)
            return self._parts.pages.redirect(visit, "/login/enrol", **_request(identity))
        return await self._enter(visit, account.actors, acr=identity.acr, provider=name, account=account)

    async def _enrolment(self, visit: Visit, *faults: Fault, status: int = 200) -> Response:
        await remembered(self._parts, visit)
        return self._parts.pages.page(
            visit,
            "enrol",
            status=status,
            faults=faults,
            leads_to=await self._ends(visit),
            request=visit.asked("request"),
        )

    async def _enrol(self, visit: Visit) -> Response:
        identity = await remembered(self._parts, visit)
        try:
            account = await self._parts.accounts.bind(
                identity.issuer, identity.subject, visit.asked("code"), now=self._parts.now()
            )
        except Delayed as error:
            delayed = Fault("code", "login_delayed", {"seconds": error.seconds})
            return await self._enrolment(visit, delayed, status=429)
        except Unauthenticated:
            return await self._enrolment(visit, Fault("code", "enrol_wrong"), status=401)
        return await self._enter(visit, account.actors, acr=identity.acr, provider=identity.provider, account=account)

    async def _enter(
        self,
        visit: Visit,
        actors: tuple[Actor, ...],
        *,
        acr: str,
        provider: str = "local",
        account: Account | None = None,
    ) -> Response:
        """Begin the login session, and go on."""
        if not actors:
            raise Told("fault_nobody")
        if provider == PRO_SANTE_CONNECT and len(actors) == 1:
            actors = (await placed(self._parts.services, actors[0]),)
        await self._parts.sessions.end(visit.cookie)
        cookie = await self._parts.sessions.begin(
            actors,
            now=self._parts.now(),
            acr=acr,
            provider=provider,
            account=account.login if account else "",
            stamp=account.stamp if account else "",
        )
        visit.renew(cookie)
        visit.session = await self._parts.sessions.current(cookie, now=self._parts.now())
        assert visit.session is not None
        # A professional is one person in each exercice; the others come to a record as each.
        for actor in visit.session.actors[:1] if visit.session.professional else visit.session.actors:
            await note(self._parts.services, actor, "login", patient=next(iter(actor.patients), ""))
        if visit.asked("request"):
            await arrive(self._parts, await journey(self._parts, visit), visit.session)
        return await self._after(visit)

    async def _exercices(self, visit: Visit, *faults: Fault, status: int = 200) -> Response:
        if visit.session is None:
            return self._parts.pages.redirect(visit, "/login", **_asked(visit))
        if visit.session.actor is not None:
            return await self._after(visit)
        return self._parts.pages.page(
            visit,
            "exercice",
            status=status,
            faults=faults,
            leads_to=await self._ends(visit),
            actors=visit.session.actors,
            request=visit.asked("request"),
        )

    async def _choose(self, visit: Visit) -> Response:
        """Settle the exercice for the whole login."""
        if visit.session is None:
            return self._parts.pages.redirect(visit, "/login", **_asked(visit))
        place = visit.asked("exercice")
        if not (place.isascii() and place.isdigit() and int(place) < len(visit.session.actors)):
            return await self._exercices(visit, Fault("exercice-0", "exercice_missing"), status=422)
        chosen = await placed(self._parts.services, visit.session.actors[int(place)])
        visit.session = await self._parts.sessions.choose(visit.cookie, int(place), chosen, now=self._parts.now())
        return await self._after(visit)

    async def _after(self, visit: Visit) -> Response:
        if visit.asked("request"):
            return await onward(self._parts, visit)
        session = visit.session
        unsettled = session is not None and session.professional and session.actor is None
        return self._parts.pages.redirect(visit, "/login/exercice" if unsettled else "/apps")

    async def _ends(self, visit: Visit) -> list[str]:
        """Where a form of this journey may end."""
        if not visit.asked("request"):
            return []
        return [(await journey(self._parts, visit)).request.redirect_uri]

    async def _leaving(self, visit: Visit) -> Response:
        if visit.session is None:
            return self._parts.pages.page(visit, "message", title="logout_done_title", text="logout_done")
        return self._parts.pages.page(visit, "logout")

    async def _leave(self, visit: Visit) -> Response:
        if visit.session is not None:
            await end_session(self._parts.ledger, visit.session.id, now=self._parts.now())
            await self._parts.sessions.end(visit.cookie)
            visit.session = None
        return self._parts.pages.page(visit, "message", title="logout_done_title", text="logout_done")


def _leads_here(response: Response) -> bool:
    return response.headers.get("location", "").partition("?")[0].endswith("/login")


def _request(identity: Identity) -> dict[str, str]:
    return {"request": identity.carried} if identity.carried else {}


def _asked(visit: Visit) -> dict[str, str]:
    return {"request": visit.asked("request")} if visit.asked("request") else {}
