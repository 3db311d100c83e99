"""Links between the pages of a Bundle: bound to the caller and the question, sealed, decided anew on every page.

What the client said of the form it wants (`_format`, `_pretty`) goes with the links, but is no part of the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from fhir_server.context import Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.bundle import Link
from fhir_server.search.plan import Value

CURSOR: Final = "_cursor"
ABOUT_FORM: Final = ("_format", "_pretty")
"""Parameters that the door reads (https://hl7.org/fhir/R4/http.html#parameters)."""

Pairs = Sequence[tuple[str, str]]


def split(request: Request) -> tuple[str, list[tuple[str, str]]]:
    """The cursor of a request, "" for the first page, and its other parameters. Raises Malformed for two cursors."""
    cursors = [value for name, value in request.query if name == CURSOR]
    if len(cursors) > 1:
        raise Malformed("One page at a time.", expression=CURSOR)
    return (cursors[0] if cursors else ""), [pair for pair in request.query if pair[0] != CURSOR]


class Pages:
    """The pages of one question: `path` under the base, `asked` its parameters as understood.

    `query`: these parameters, urlencoded.
    """

    def __init__(self, ctx: Context, request: Request, path: str, asked: Pairs) -> None:
        self.query = urlencode(asked)
        self._cursors = ctx.services.cursors
        self._url = f"{ctx.base}/{path}".rstrip("/")
        self._form = urlencode([pair for pair in request.query if pair[0] in ABOUT_FORM])
        self._question = f"{path}?{self.query}"
        self._caller = binding(ctx)

    def after(self, cursor: str) -> tuple[tuple[Value, ...], int] | None:
        """Where the page before ended, None for the first page. Raises Malformed for another caller's or question's
        cursor, and for an altered one."""
        return self._cursors.open(cursor, query=self._question, binding=self._caller) if cursor else None

    def links(self, cursor: str, last: tuple[tuple[Value, ...], int] | None) -> list[Link]:
        """self, first where there is more than one page, next where something visible follows. `last`: the place of
        the last row of a page that more follow, else None."""
        links = [Link("self", self._link(cursor))]
        if cursor or last:
            links.append(Link("first", self._link("")))
        if last:
            sealed = self._cursors.seal(last, query=self._question, binding=self._caller)
            links.append(Link("next", self._link(sealed)))
        return links

    def _link(self, cursor: str) -> str:
        query = "&".join(filter(None, (self.query, self._form, cursor and urlencode({CURSOR: cursor}))))
        return f"{self._url}?{query}" if query else self._url


def binding(ctx: Context) -> str:
    """Whose page it is: a link handed to someone else opens nothing (access §5)."""
    return f"{ctx.actor.role} {ctx.actor.reference} {ctx.actor.client} {' '.join(ctx.actor.patients)}"
