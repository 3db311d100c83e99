"""The log says what happened and where, and of nobody; the fixture that watches over that can fail."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from fhir_server import logs
from fhir_server.demo.family import PATIENTS
from tests.conftest import House
from tests.log_watch import WATCH, LogWatch, watch

log = structlog.get_logger()


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged in this test, kept apart from what the suite watches over."""
    to = io.StringIO()
    logs.configure("info", to)
    yield to
    watch()


def failing(secret: str) -> None:
    """Raise what quotes a secret, caused by what does too."""
    local = secret.upper()
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise ValueError(f"{secret} {local}") from error


def test_a_fault_is_told_by_its_kind_and_its_place(written: io.StringIO) -> None:
    """Neither its message nor the values around it, of which tracebacks are full."""
    try:
        failing("Vandenberghe")
    except ValueError:
        log.exception("the fault")
    (line,) = written.getvalue().splitlines()
    assert 'event="the fault"' in line
    assert 'fault="ValueError KeyError"' in line
    assert "failing:" in line
    assert "vandenberghe" not in line.lower()


def test_other_libraries_say_their_pattern_only(written: io.StringIO) -> None:
    """What they put into it, and what follows its first line, may be anybody's."""
    try:
        failing("Vandenberghe")
    except ValueError:
        logging.getLogger("asyncio").exception("never retrieved %s\nfuture: Vandenberghe", "Vandenberghe")
    logging.getLogger("httpx").info("HTTP Request: GET https://host/Patient?name=Vandenberghe")
    (line,) = written.getvalue().splitlines()
    assert 'event="never retrieved %s"' in line
    assert "logger=asyncio" in line
    assert "vandenberghe" not in line.lower()


def test_a_line_names_the_request_it_belongs_to(written: io.StringIO) -> None:
    """By the id that its answer had."""
    token = logs.REQUEST.set("0123")
    log.warning("something")
    logs.REQUEST.reset(token)
    log.debug("not of this level")
    log.warning("something else")
    first, second = written.getvalue().splitlines()
    assert "request_id=0123" in first
    assert "request_id" not in second


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"who": PATIENTS[0].family.lower()}, "a name"),
        ({"query": f"identifier=urn|{PATIENTS[1].ins}&x"}, "an INS"),
        ({"born": "19790328"}, "a birth date"),
        ({"header": "Bearer abcDEF-123_xyz"}, "a token"),
    ],
)
def test_the_watch_over_the_logs_of_the_suite_can_fail(said: dict[str, str], kind: str) -> None:
    """One line with somebody in it, in any spelling, and the test in which it is written fails."""
    own = LogWatch()
    own.forbid("a token", "abcDEF-123_xyz")
    logs.configure("debug", own)
    try:
        log.debug("a line", **said)
    finally:
        watch()
    assert [found for found, _ in own.told()] == [kind]
    assert own.told() == []


def test_the_watch_sees_the_log_of_a_running_server(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of the suite that fails writes a line there, with the request and without what it was about."""
    from fhir_server.api import door

    async def fail(*given: object) -> None:
        raise RuntimeError(f"{PATIENTS[0].family} {house.patient.token}")

    monkeypatch.setattr(door, "answer", fail)
    before = WATCH.lines
    answer = house.patient.get(f"{house.patient.reference}?name={PATIENTS[0].family}")
    assert answer.status_code == 500
    assert WATCH.lines > before
    line = WATCH.getvalue().splitlines()[-1]
    assert answer.headers["x-request-id"] in line
    assert "RuntimeError" in line
