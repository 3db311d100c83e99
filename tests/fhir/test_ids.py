"""Ids are UUID 4, and never the same twice."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from fhir_server.fhir.ids import RandomIds


def test_every_id_is_a_random_uuid() -> None:
    """Version 4, RFC variant, lower case, all different."""
    ids = RandomIds()
    given = [ids() for _ in range(2000)]
    assert len(set(given)) == 2000
    for each in given:
        parsed = UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 4, RFC_4122)


def test_two_sources_share_nothing() -> None:
    """Each draws from the system."""
    one, other = RandomIds(), RandomIds()
    assert {one() for _ in range(500)}.isdisjoint({other() for _ in range(500)})
