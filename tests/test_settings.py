"""What is set by environment variables is read whole, or refused by name."""

from __future__ import annotations

import pytest

from fhir_server.settings import PREFIX, Settings


def test_nothing_needs_to_be_set() -> None:
    """An empty environment gives the defaults; what other programs set is theirs."""
    assert Settings.from_environment({"PATH": "/bin", "OTHER_PORT": "1"}) == Settings()


def test_a_setting_is_read_as_what_it_is() -> None:
    """Numbers, switches in their usual spellings, and names out of a few."""
    given = {
        "PORT": "9000",
        "PRODUCTION": "Yes",
        "OWN_BY_STRUCTURE": "off",
        "INS_POLICY": "lenient",
        "LOG_LEVEL": "error",
    }
    read = Settings.from_environment({PREFIX + name: value for name, value in given.items()})
    assert (read.port, read.production, read.own_by_structure) == (9000, True, False)
    assert (read.ins_policy, read.log_level) == ("lenient", "error")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "-1"), ("PORT", "8k"), ("PRODUCTION", "maybe"), ("INS_POLICY", "Lenient"), ("LOG_LEVEL", "loud")],
)
def test_what_cannot_be_read_is_refused_and_its_variable_named(name: str, value: str) -> None:
    """A policy that is misspelt must not become the default one."""
    with pytest.raises(ValueError, match=PREFIX + name):
        Settings.from_environment({PREFIX + name: value})


@pytest.mark.parametrize(
    ("base_url", "base"),
    [("", "http://127.0.0.1:8080/fhir"), ("https://dossier.example/fhir/", "https://dossier.example/fhir")],
)
def test_the_fhir_base_has_no_slash_at_its_end(base_url: str, base: str) -> None:
    """It is what links and references begin with."""
    assert Settings(base_url=base_url).fhir_base == base
