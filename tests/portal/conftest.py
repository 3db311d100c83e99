"""A desk for the tests of a module, and one of a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import House
from tests.portal.desk import Desk, open_desk


@pytest.fixture(scope="module")
def desk(house: House) -> Iterator[Desk]:
    """One desk for the tests of a module."""
    made = open_desk(house)
    yield made
    for each in made.browsers:
        each.http.close()


@pytest.fixture
def own_desk(own_house: House) -> Iterator[Desk]:
    """A desk of one test's own."""
    made = open_desk(own_house)
    yield made
    for each in made.browsers:
        each.http.close()
