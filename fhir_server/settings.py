"""Everything that can be set, each from one environment variable; none is needed to start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PREFIX: Final = "FHIR_SERVER_"
CANONICAL_BASE: Final = "https://example.org/fhir-server"


def _setting(default: Any, sentence: str, *choices: str) -> Any:
    return field(default=default, metadata={"sentence": sentence, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The settings; `docs/settings.md` is held to this list by a test."""

    store: str = _setting("sqlite:fhir-server.db", "Where the record is kept: `sqlite:PATH`.")
    kek_file: str = _setting(
        "",
        "Encrypts the store: the file (mode 0600), or `env:NAME`, with the key that encrypts its keys, 64 hexadecimal"
        " digits. Empty: no encryption.",
    )
    kek_file_before: str = _setting("", "The key before that one, until `fhir-server keys rotate` has ended.")
    key_store: str = _setting(
        "", "The file of data keys of an encrypted store; empty: that of the store with `.keys` behind its name."
    )
    data_region: str = _setting("", "Where the data must stay, such as `FR`; set, it wants `store_locations`.")
    store_locations: str = _setting(
        "",
        "Where stores and their keys may lie in that region, separated by blanks: folders, for a store with a url"
        " hosts. A store elsewhere is not opened. Empty: anywhere.",
    )
    outbound_hosts: str = _setting(
        "",
        "Hosts (`host` or `host:port`, separated by blanks) that the server itself may connect to, beside the identity"
        " providers set: those of clients' keys and of gateways.",
    )
    outbound_private: bool = _setting(False, "These names may lead to addresses of a private network.")
    host: str = _setting("127.0.0.1", "The address to listen on.")
    port: int = _setting(8080, "The port to listen on.")
    base_url: str = _setting(
        "", "The public FHIR base in links and references; empty: `http://HOST:PORT/fhir`. Never taken from a header."
    )
    custodian: str = _setting(
        "fhir-server", "The name of the organisation that keeps the record (Consent.organization)."
    )
    ins_policy: str = _setting(
        "strict", "`strict` refuses an INS whose key is wrong, `lenient` warns.", "strict", "lenient"
    )
    production: bool = _setting(False, "Refuse test and demonstration INS (OID .10 and .11) on import.")
    own_by_structure: bool = _setting(True, "The depositing structure counts as an author of what it deposited.")
    mt_block_effective: bool = _setting(True, "A block that names the médecin traitant holds for him too.")
    cumul_invisible_masque: bool = _setting(
        False, "A document may be hidden from the patient and masked to professionals at once."
    )
    patch_tolerant: bool = _setting(
        True, "A JSON Patch may be written as samples of the French guides are; the answer warns of it."
    )
    consult_minutes: int = _setting(60, "How long an attested consent opens a record at the most, in minutes.")
    emergency_minutes: int = _setting(120, "How long a declared emergency opens a record, in minutes.")
    express_consent_sectors: str = _setting(
        "SA66", "Sectors of activity whose professionals need a grant of the patient's own, separated by commas."
    )
    timezone: str = _setting(
        "Europe/Paris",
        "Where a date or time without an offset is read, in resources and in searches; `fhir-server reindex` after a"
        " change.",
    )
    max_body_bytes: int = _setting(64_000_000, "The largest request body, in bytes.")
    max_depth: int = _setting(64, "The deepest nesting of a JSON body.")
    max_entries: int = _setting(5_000, "The most entries of one batch or transaction.")
    max_attachment_bytes: int = _setting(
        10_000_000, "The largest decoded attachment of an imported document, in bytes."
    )
    page_size: int = _setting(20, "Entries of a search page when `_count` is not given.")
    max_page_size: int = _setting(500, "The most entries of a search page; a larger `_count` is cut to it.")
    max_included: int = _setting(1_000, "The most resources that `_include` and `_revinclude` add to a search page.")
    max_everything: int = _setting(
        10_000, "The most entries of one answer to `$everything`; without `_count`, what exceeds them comes in pages."
    )
    session_idle_minutes: int = _setting(15, "After how many minutes without use a login ends.")
    session_max_minutes: int = _setting(240, "After how many minutes a login ends at the latest.")
    psc_issuer: str = _setting("", "The issuer url of Pro Santé Connect; empty: professionals cannot log in by it.")
    psc_client_id: str = _setting("", "What this server is registered as with Pro Santé Connect.")
    psc_secret_file: str = _setting("", "The file with its client secret there, readable by its owner only.")
    psc_scope: str = _setting("openid scope_all", "The scopes asked for there.")
    psc_acr: str = _setting("eidas1 eidas3", "The levels of authentication (`acr`) accepted from there.")
    psc_clients: str = _setting(
        "", "Clients of Pro Santé Connect whose access tokens are exchanged for ours; empty: `psc_client_id` only."
    )
    fc_issuer: str = _setting("", "The issuer url of FranceConnect; empty: patients cannot log in by it.")
    fc_client_id: str = _setting("", "What this server is registered as with FranceConnect.")
    fc_secret_file: str = _setting("", "The file with its client secret there, readable by its owner only.")
    fc_scope: str = _setting("openid", "The scopes asked for there.")
    fc_acr: str = _setting("eidas2 eidas3", "The levels of authentication (`acr`) accepted from there.")
    demo: bool = _setting(
        False, "Serve the store of a demonstration, with its known people; loopback only. Set by `fhir-server demo`."
    )
    audit_seal_minutes: int = _setting(10, "Every how many minutes the end of the access log is sealed; 0: never.")
    audit_key_file: str = _setting(
        "", "PEM file (mode 0600) with the Ed25519 keys of seals, the signing one first; empty: kept in the store."
    )
    rate_subject: int = _setting(1_200, "Requests a minute of one person or software; 0: as many as they like.")
    rate_client: int = _setting(60_000, "Requests a minute of one client, for all who use it; 0: no limit.")
    rate_address: int = _setting(30_000, "Requests a minute from one network address; 0: no limit.")
    rate_lookup: int = _setting(60, "Searches for a patient by identity, a minute and professional; 0: no limit.")
    new_patients: int = _setting(
        30, "Records that a professional opens for the first time in 90 days, within an hour; 0: no limit."
    )
    step_up_acr: str = _setting(
        "", "The `acr` with which that many again are opened; whoever lacks it is asked to log in so. Empty: refused."
    )
    trusted_proxies: str = _setting(
        "", "Addresses of proxies whose X-Forwarded-For is believed, separated by blanks; empty: nobody's."
    )
    log_level: str = _setting(
        "info",
        "`debug`, `info`, `warning` or `error`. Logs never hold health data.",
        "debug",
        "info",
        "warning",
        "error",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `FHIR_SERVER_<NAME>`; raises ValueError naming the variable that cannot be read."""
        given = {}
        for each in fields(cls):
            name = PREFIX + each.name.upper()
            if name in environment:
                given[each.name] = _read(name, environment[name], type(each.default))
                choices = each.metadata["choices"]
                if choices and given[each.name] not in choices:
                    raise ValueError(f"{name} must be one of {', '.join(choices)}")
        return cls(**given)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The timezone; raises ValueError for a name that the machine does not know."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise ValueError(f"{PREFIX}TIMEZONE must be the name of a time zone, such as Europe/Paris") from None

    @cached_property
    def fhir_base(self) -> str:
        """The FHIR base without a trailing slash."""
        return (self.base_url or f"http://{self.host}:{self.port}/fhir").rstrip("/")

    @cached_property
    def web_base(self) -> str:
        """The url that /oauth, /login and /.well-known lie under, without a trailing slash: the issuer of tokens."""
        above, slash, last = self.fhir_base.rpartition("/fhir")
        return above if slash and not last else "/".join(self.fhir_base.split("/", 3)[:3])


def _read(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError(f"{name} must be true or false")
    if kind is int:
        if not text.isdigit():
            raise ValueError(f"{name} must be a whole number")
        return int(text)
    return text


def secret_at(name: str, place: str) -> str:
    """A secret that setting `name` keeps at `place`: a file that only its owner can read, or `env:NAME`.

    Raises ValueError naming the setting, never what stands there.
    """
    variable = PREFIX + name.upper()
    if place.startswith("env:"):
        found = os.environ.get(place.removeprefix("env:"), "")
    else:
        try:
            with Path(place).open(encoding="utf-8") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                    raise ValueError(f"{variable}: the file is open to others than its owner: chmod 600 it")
                found = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{variable}: the file cannot be read") from error
    if not found.strip():
        raise ValueError(f"{variable}: there is no secret")
    return found.strip()
