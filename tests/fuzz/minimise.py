"""From a fault to the request to send again: the smallest that shows it, the one of many that did it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from tests.fuzz.campaign import Finding
from tests.fuzz.case import Case
from tests.fuzz.damage import dump, places
from tests.fuzz.house import House
from tests.fuzz.state import count_versions
from tests.fuzz.verdict import faults
from tests.fuzz.wire import Closed, Connection

_TRIES = 400


def smallest(house: House, finding: Finding) -> Case:
    """The smallest case found within 400 requests that has the same fault; the case itself when none has."""
    return asyncio.run(_smallest(house, finding))


def culprits(house: House, suspects: Iterable[Case]) -> list[Case]:
    """Those that are refused, and leave a version behind all the same, when they are sent again one by one."""
    return asyncio.run(_culprits(house, suspects))


async def _culprits(house: House, suspects: Iterable[Case]) -> list[Case]:
    connection, found = Connection(house.port), []
    for case in suspects:
        before = count_versions(house.store)
        try:
            response = await connection.send(case.wire(house.token(case)), head=case.method == "HEAD")
        except (TimeoutError, Closed):
            continue
        if response.status >= 400 and count_versions(house.store) > before:
            found.append(case)
    await connection.close()
    return found


async def _smallest(house: House, finding: Finding) -> Case:
    best, tries = finding.case, 0
    connection = Connection(house.port)
    again = True
    while again:
        again = False
        for candidate in _smaller(best):
            tries += 1
            if tries > _TRIES:
                break
            if await _shows(house, connection, candidate, finding.fault):
                best, again = candidate, True
                break
    await connection.close()
    return best


async def _shows(house: House, connection: Connection, case: Case, fault: str) -> bool:
    token = house.token(case)
    try:
        response = await connection.send(case.wire(token), head=case.method == "HEAD")
    except TimeoutError:
        return fault == "no answer in time"
    except Closed:
        return fault == "the connection was closed without an answer"
    return fault in faults(case, response, token)


def _smaller(case: Case) -> Iterator[Case]:
    for index in range(len(case.headers)):
        yield replace(case, headers=case.headers[:index] + case.headers[index + 1 :])
    if case.chunked:
        yield replace(case, chunked=False)
    path, _, query = case.target.partition("?")
    pairs = query.split("&")
    for index in range(len(pairs) if query else 0):
        left = "&".join(pairs[:index] + pairs[index + 1 :])
        yield replace(case, target=f"{path}?{left}" if left else path)
    yield from (replace(case, body=body) for body in _smaller_bodies(case.body))


def _smaller_bodies(body: bytes) -> Iterator[bytes]:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        size = len(body) // 2
        while size:
            for start in range(0, len(body), size):
                yield body[:start] + body[start + size :]
            size = size // 2 if size > 8 else 0
        return
    for number in range(sum(1 for _ in places(tree))):
        left: Any = copy.deepcopy(tree)
        container, key = list(places(left))[number]
        del container[key]
        yield dump(left)
