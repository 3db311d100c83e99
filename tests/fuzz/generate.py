"""Requests that a server must refuse: case number n of a seed is always the same damage."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.fuzz import bodies, doors, patches, queries, reading, xml_bodies
from tests.fuzz.case import Case
from tests.fuzz.targets import Targets

# Each kind, and how often.
_KINDS: Final[tuple[tuple[Callable[[Random, Targets], dict[str, Any]], int], ...]] = (
    (bodies.resource_tree, 16),
    (bodies.resource_text, 8),
    (bodies.stored_tree, 6),
    (bodies.references, 8),
    (bodies.consent, 8),
    (bodies.bundle, 8),
    (bodies.bundle_request, 6),
    (patches.bundle_patch, 6),
    (patches.patch, 14),
    (patches.conditional, 8),
    (xml_bodies.xml_resource, 14),
    (xml_bodies.xml_bundle, 4),
    (bodies.document, 4),
    (bodies.binary, 2),
    (doors.path, 8),
    (doors.header, 5),
    (doors.method, 3),
    (doors.token, 4),
    (doors.protocol, 1),
    (queries.query, 14),
    (queries.cursor, 4),
    (reading.search, 24),
    (reading.history, 5),
    (reading.everything, 4),
)
# Of all requests, how many ask for their answer in some form.
_IN_SOME_FORM: Final = 0.15
# Of a body, in bytes. A longer one is cut, which makes it no better.
_LONGEST: Final = 4_000_000


class Generator:
    """All cases of one seed against one house."""

    def __init__(self, seed: int, targets: Targets) -> None:
        self._seed = seed
        self._targets = targets
        self._kinds = [kind for kind, weight in _KINDS for _ in range(weight)]

    def case(self, index: int) -> Case:
        """Case number `index`."""
        random = Random(f"{self._seed} {index}")
        kind = random.choice(self._kinds)
        parts = {"index": index, "kind": kind.__name__, "actor": random.choice(self._targets.actors)}
        given: dict[str, Any] = kind(random, self._targets)
        if random.random() < _IN_SOME_FORM:
            given = xml_bodies.in_some_form(random, given)
        given["body"] = given.get("body", b"")[:_LONGEST]
        return Case(**{**parts, **given})
