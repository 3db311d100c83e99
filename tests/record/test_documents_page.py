"""The page for vendors of professional software: its requests run as they stand there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT, House

PAGE = (ROOT / "docs" / "api" / "documents.md").read_text("utf-8")
REQUESTS = re.findall(r"<!-- runs -->\n```\n(.*?)```", PAGE, re.S)


def test_every_transaction_has_its_request() -> None:
    """Two deposits, two searches, two changes."""
    assert [each.split()[0] for each in REQUESTS] == ["POST", "POST", "GET", "GET", "PATCH", "PATCH"]


@pytest.fixture(scope="module")
def answers(house: House) -> list[int]:
    """What each request of the page is answered, one after the other."""
    statuses = []
    for request in REQUESTS:
        head, _, body = request.partition("\n\n")
        first, *headers = head.strip().splitlines()
        method, url = first.split(" ", 1)
        named = dict(each.split(": ", 1) for each in headers)
        answer = house.lgc.request(
            method, url.removeprefix("/fhir/").removeprefix("/fhir"), content=body.encode(), headers=named
        )
        statuses.append(answer.status_code)
    return statuses


def test_the_requests_of_the_page_run(answers: list[int]) -> None:
    """201 for what is published, 200 for all else."""
    assert answers == [201, 200, 200, 200, 200, 200]
