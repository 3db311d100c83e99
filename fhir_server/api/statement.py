"""GET /metadata: what the server can, in each form that it is asked for in."""

from __future__ import annotations

import asyncio

from fhir_server.api.negotiate import PLAIN, Form
from fhir_server.api.responses import in_form
from fhir_server.context import Answer, Services
from fhir_server.interactions.capabilities import stated


class Statement:
    """Made when first asked for, since it reads every type and a start should not wait for that; its forms are kept."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._answers: dict[Form, tuple[bytes, Answer]] = {}

    async def answer(self, form: Form = PLAIN) -> Answer:
        """The statement in that form."""
        plain = await stated(self._services)
        known, answer = self._answers.get(form, (b"", Answer(200)))
        if known is not plain:
            answer = Answer(200, plain)
            if form != PLAIN:
                answer = await asyncio.to_thread(in_form, answer, form, self._services.definitions)
            self._answers[form] = plain, answer
        return answer
