"""Links between the pages of a Bundle: bound to the caller and the question, sealed, decided anew on every page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from fhir_server.context import Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.bundle import Link
from fhir_server.search.plan import Value

CURSOR: Final = "_cursor"

Pairs = Sequence[tuple[str, str]]


def split(request: Request) -> tuple[str, list[tuple[str, str]]]:
    """The cursor of a request, "" for the first page, and its other parameters. Raises Malformed for two cursors."""
    cursors = [value for name, value in request.query if name == CURSOR]
    if len(cursors) > 1:
        raise Malformed("One page at a time.", expression=CURSOR)
    return (cursors[0] if cursors else ""), [pair for pair in request.query if pair[0] != CURSOR]


class Pages:
    """The pages of one question: `path` under the base, `asked` its parameters as understood."""

    def __init__(self, ctx: Context, path: str, asked: Pairs) -> None:
        self._cursors = ctx.services.cursors
        self._url = f"{ctx.base}/{path}".rstrip("/")
        self._asked = list(asked)
        self._question = f"{path}?{urlencode(self._asked)}"
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
        pairs = [*self._asked, (CURSOR, cursor)] if cursor else self._asked
        return self._url + (f"?{urlencode(pairs)}" if pairs else "")


def binding(ctx: Context) -> str:
    """Whose page it is: a link handed to someone else opens nothing (access §5)."""
    return f"{ctx.actor.role} {ctx.actor.reference} {ctx.actor.client} {' '.join(ctx.actor.patients)}"
