"""For whom software asks: complete, understood, and registered for it, or no token (access §1, L68)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.contexts import Emergency, gateway, professional
from fhir_server.auth.refusals import Refused
from tests.oauth import STRUCTURE, eu_context, pro_context

LGC = Client(
    "lgc",
    "Logiciel",
    "lgc",
    "private_key_jwt",
    structures=(STRUCTURE,),
    software="Logiciel de cabinet",
    software_version="7.1",
)
NCP = Client("de", "NCP", "ncp", "private_key_jwt", country="DE")
SOFTWARE = {"name": "Logiciel de cabinet", "version": "7.1", "approval": "A-1"}


def without(context: dict[str, Any], name: str) -> dict[str, Any]:
    """The same, without a member."""
    return {key: value for key, value in context.items() if key != name}


def test_a_professional_is_named_by_the_context_and_by_nothing_else() -> None:
    """RPPS, structure and client are the keys; the client's own rights are added."""
    actor, emergency = professional(LGC, pro_context(secret=True))
    assert emergency is None
    assert actor == Actor(
        "ps",
        "",
        "Claire MARTIN",
        "",
        frozenset({"rpps:99900000011", "org:990000001", "client:lgc"}),
        profession="10",
        specialty="SM54",
        structure="990000001",
        sector="SA07",
        client="lgc",
        software="Logiciel de cabinet 7.1",
        secret=True,
    )
    actor, _ = professional(replace(LGC, regulation=True, software_version=""), pro_context(specialties=[]))
    assert "right:regulation" in actor.keys
    assert actor.specialty == ""


@pytest.mark.parametrize("name", sorted(pro_context()))
def test_a_professional_context_is_complete(name: str) -> None:
    """Every member is there, and is what it has to be."""
    for wrong in (without(pro_context(), name), pro_context() | {name: None}, pro_context() | {name: 1}):
        with pytest.raises(Refused) as refusal:
            professional(LGC, wrong)
        assert (refusal.value.code, refusal.value.status) == ("access_denied", 403)


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        {},
        "899900000011",
        pro_context(role="admin"),
        pro_context(id="99900000011"),
        pro_context(id="8999000000111"),
        pro_context(id=""),
        pro_context(structure="1990000002"),
        pro_context(structure="990000001"),
        pro_context(structure="3990000001"),
        pro_context(structure=""),
        pro_context(specialties="SM54"),
        pro_context(specialties=[1]),
        pro_context(profession=""),
        pro_context(secret="false"),
        pro_context(purpose="curiosity"),
        pro_context(purpose=""),
        pro_context(software={"name": "Logiciel de cabinet", "version": "7.1"}),
        pro_context(software={**SOFTWARE, "name": "Other"}),
        pro_context(software={**SOFTWARE, "version": "7.2"}),
        pro_context(software={**SOFTWARE, "approval": " "}),
        pro_context(software={**SOFTWARE, "more": "x"}),
        pro_context(reason="a reason that is long enough"),
        pro_context(patient="Patient/p"),
    ],
    ids=str,
)
def test_what_is_no_professional_context_gives_no_token(context: Any) -> None:
    """Also what says more than is understood."""
    with pytest.raises(Refused):
        professional(LGC, context)


def test_an_emergency_has_a_reason_and_one_patient() -> None:
    """And a Centre 15 is one by its registration."""
    urgent = {"purpose": "bris_de_glace", "reason": "  inconscient, seul  ", "patient": "Patient/p"}
    assert professional(LGC, pro_context(**urgent))[1] == Emergency("bris_de_glace", "Patient/p", "inconscient, seul")
    assert professional(LGC, pro_context(**urgent))[0].mode == "normal"
    for wrong in ({"reason": "short"}, {"reason": None}, {"patient": "p"}, {"patient": None}, {"purpose": "centre_15"}):
        with pytest.raises(Refused):
            professional(LGC, pro_context(**urgent | wrong))
    for missing in ("reason", "patient"):
        with pytest.raises(Refused):
            professional(LGC, without(pro_context(**urgent), missing))
    regulates = replace(LGC, regulation=True)
    assert professional(regulates, pro_context(**urgent | {"purpose": "centre_15"}))[1] is not None


def test_a_gateway_is_its_country_with_what_it_asserts() -> None:
    """All of it is kept, for the access log."""
    actor = gateway(NCP, eu_context())
    assert (actor.role, actor.country, actor.name, actor.structure_name) == ("ncp", "DE", "Anna Weber", "Klinikum")
    assert actor.keys == {"country:DE", "client:de"}
    assert len(actor.asserted) == 11
    assert "provider.healthcare_provider_address=Berlin" in actor.asserted


def test_a_context_of_the_union_is_complete() -> None:
    """Each member of each part, of the country of the gateway, professional and provider together."""
    wrong: list[Any] = [None, {}, [], {"professional": eu_context()["professional"]}, {**eu_context(), "more": {}}]
    for part, said in eu_context().items():
        wrong += [{**eu_context(), part: without(said, name)} for name in said]
        wrong += [{**eu_context(), part: {**said, name: value}} for name in said for value in ("", " ", None, 1)]
        wrong += [{**eu_context(), part: {**said, "more": "x"}}, {**eu_context(), part: None}]
    wrong += [eu_context(country_code="FR"), eu_context(healthcare_provider_identifier="H-8")]
    for context in wrong:
        with pytest.raises(Refused):
            gateway(NCP, context)
    with pytest.raises(Refused, match=r"eu_context\.professional lacks hp_identifier"):
        gateway(NCP, {**eu_context(), "professional": without(eu_context()["professional"], "hp_identifier")})
