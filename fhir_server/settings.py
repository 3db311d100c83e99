"""Everything that can be set, each from one environment variable; none is needed to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final

PREFIX: Final = "FHIR_SERVER_"
CANONICAL_BASE: Final = "https://example.org/fhir-server"


def _setting(default: Any, sentence: str, *choices: str) -> Any:
    return field(default=default, metadata={"sentence": sentence, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The settings; `docs/settings.md` is held to this list by a test."""

    store: str = _setting("sqlite:fhir-server.db", "Where the record is kept: `sqlite:PATH`.")
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
    def fhir_base(self) -> str:
        """The FHIR base without a trailing slash."""
        return (self.base_url or f"http://{self.host}:{self.port}/fhir").rstrip("/")


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
