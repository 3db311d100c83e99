"""GET /metadata: what the server can, in each form that it is asked for in."""

from __future__ import annotations

import asyncio

from fhir_server.api.negotiate import PLAIN, Form
from fhir_server.api.responses import in_form
from fhir_server.context import Answer, Services
from fhir_server.interactions.capabilities import capability_statement


class Statement:
    """Made when first asked for, since it reads every type and a start should not wait for that; and made again when a
    reindex has put other search parameters in force."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started = services.clock()
        self._stated = services.registry
        self._answers: dict[Form, Answer] = {}
        self._making = asyncio.Lock()

    async def answer(self, form: Form = PLAIN) -> Answer:
        """The statement in that form. Nobody else waits for its making."""
        if self._stated is not self._services.registry or form not in self._answers:
            async with self._making:
                await self._make(form)
        return self._answers[form]

    async def _make(self, form: Form) -> None:
        if self._stated is not self._services.registry:
            self._stated, self._answers = self._services.registry, {}
        if PLAIN not in self._answers:
            self._answers[PLAIN] = Answer(200, await capability_statement(self._services, self._started))
        if form not in self._answers:
            plain = Answer(200, self._answers[PLAIN].body)
            self._answers[form] = await asyncio.to_thread(in_form, plain, form, self._services.definitions)
