"""A few hundred malformed requests: the short form of `python -m tests.fuzz`."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.campaign import Campaign
from tests.fuzz.generate import Generator
from tests.fuzz.house import furnish
from tests.fuzz.state import read_state

SEED = 20260
REQUESTS = 600


def test_malformed_requests_are_refused_and_change_nothing(tmp_path: Path) -> None:
    """No 500, no hang, an OperationOutcome on every refusal, no version in the store that no answer spoke of."""
    house = furnish(tmp_path)
    with house.serving():
        campaign = Campaign(house, Generator(SEED, house.targets()))
        campaign.run(range(REQUESTS))
    campaign.judge(read_state(house.store))
    campaign.judge_log()
    assert [f"{each.fault}: {each.case}" for each in campaign.findings] == []
    assert sum(campaign.statuses.values()) == REQUESTS
