"""The identity providers that the settings name: Pro Santé Connect for professionals, FranceConnect for patients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fhir_server.settings import Settings

PRO_SANTE_CONNECT: Final = "psc"
FRANCE_CONNECT: Final = "fc"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Provider:
    """One OpenID provider as it is registered with. `acr`: the levels accepted; `clients`: those whose access tokens
    are taken in exchange."""

    name: str
    issuer: str
    client_id: str
    secret: str
    scope: str
    acr: frozenset[str]
    clients: frozenset[str] = frozenset()


def providers(settings: Settings) -> Mapping[str, Provider]:
    """Those that are configured, by name. Raises ValueError, naming the setting, for one that is so in part only."""
    found = {}
    if settings.psc_issuer:
        clients = frozenset(settings.psc_clients.split()) or frozenset({settings.psc_client_id})
        found[PRO_SANTE_CONNECT] = Provider(
            PRO_SANTE_CONNECT,
            _issuer("psc_issuer", settings.psc_issuer),
            _given("psc_client_id", settings.psc_client_id),
            read_secret("psc_secret_file", settings.psc_secret_file),
            settings.psc_scope,
            frozenset(settings.psc_acr.split()),
            clients,
        )
    if settings.fc_issuer:
        found[FRANCE_CONNECT] = Provider(
            FRANCE_CONNECT,
            _issuer("fc_issuer", settings.fc_issuer),
            _given("fc_client_id", settings.fc_client_id),
            read_secret("fc_secret_file", settings.fc_secret_file),
            settings.fc_scope,
            frozenset(settings.fc_acr.split()),
        )
    return found


def read_secret(setting: str, path: str) -> str:
    """The secret in a file that only its owner can read; raises ValueError otherwise."""
    try:
        if Path(_given(setting, path)).stat().st_mode & 0o077 and os.name == "posix":
            raise ValueError(f"{setting}: the file is open to others than its owner; chmod 600 it")
        secret = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"{setting}: the file cannot be read") from error
    return _given(setting, secret)


def safe(url: str) -> bool:
    """Whether what is sent there stays between the two ends: https, or this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _issuer(setting: str, url: str) -> str:
    if not safe(url):
        raise ValueError(f"{setting}: an https url is expected")
    return url


def _given(setting: str, text: str) -> str:
    if not text:
        raise ValueError(f"{setting} is not set")
    return text
