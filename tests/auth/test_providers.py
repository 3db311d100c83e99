"""Identity providers come of the settings: whole, with a secret that is one, or the server does not start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.auth.providers import providers
from fhir_server.settings import Settings


@pytest.fixture
def whole(tmp_path: Path) -> Settings:
    """Pro Santé Connect, configured."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    return replace(Settings(), psc_issuer="https://psc.example.org", psc_client_id="us", psc_secret_file=str(secret))


def test_without_an_issuer_there_is_no_provider() -> None:
    """The default."""
    assert providers(Settings()) == {}


def test_what_is_configured_is_there(whole: Settings) -> None:
    """With the levels and clients that are accepted by default."""
    (provider,) = providers(whole).values()
    assert (provider.name, provider.secret) == ("psc", "s3cret")
    assert provider.acr == {"eidas1", "eidas3"}
    assert provider.clients == {"us"}
    franceconnect = replace(
        whole, fc_issuer="https://fc.example.org", fc_client_id="us", fc_secret_file=whole.psc_secret_file
    )
    assert providers(franceconnect)["fc"].acr == {"eidas2", "eidas3"}


@pytest.mark.parametrize(
    "change",
    [{"psc_client_id": ""}, {"psc_secret_file": ""}, {"psc_secret_file": "/nowhere"}, {"psc_issuer": "http://a.org"}],
    ids=str,
)
def test_one_that_is_configured_in_part_stops_the_start(whole: Settings, change: dict[str, str]) -> None:
    """The setting is named."""
    (name,) = change
    with pytest.raises(ValueError, match=name):
        providers(replace(whole, **change))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_can_read_is_none(whole: Settings, mode: int) -> None:
    """And one in an empty file neither."""
    path = Path(whole.psc_secret_file)
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        providers(whole)
    path.chmod(0o600)
    path.write_text("")
    with pytest.raises(ValueError, match="psc_secret_file"):
        providers(whole)
