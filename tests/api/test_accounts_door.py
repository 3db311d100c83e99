"""The administrator makes accounts over HTTP, and codes for them; nobody else does."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import Caller, House


def door(house: House, caller: Caller, method: str, path: str, **more: object) -> httpx.Response:
    """A request outside of the FHIR base."""
    return caller.request(method, f"{house.settings.web_base}/admin/accounts{path}", **more)


def test_an_account_is_made_given_a_code_and_ended(house: House) -> None:
    """201, 201, 204, then 404."""
    cast = house.cast
    given = {
        "login": "Ruth",
        "name": "Ruth",
        "patient": cast["mother"],
        "represents": [f"{cast['child']}={cast['representative']}"],
        "password": "correct horse battery",
    }
    made = door(house, house.admin, "POST", "", json=given)
    assert (made.status_code, made.json()) == (201, {"login": "ruth"})
    assert door(house, house.admin, "POST", "", json=given).status_code == 409
    code = door(house, house.admin, "POST", "/ruth/code")
    assert code.status_code == 201
    assert len(code.json()["code"]) == 19
    assert code.headers["cache-control"] == "no-store"
    assert door(house, house.admin, "DELETE", "/ruth").status_code == 204
    assert door(house, house.admin, "DELETE", "/ruth").status_code == 404
    assert door(house, house.admin, "POST", "/ruth/code").status_code == 404


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"login": ""}, "login"),
        ({"name": 7}, "name"),
        ({"represents": "all"}, "represents"),
        ({"admin": "yes"}, "admin"),
        ({"role": "ps"}, "role"),
        ({"patient": "Patient/nobody"}, "patient"),
        ({"patient": ""}, "patient"),
        ({"represents": ["Patient/1=Patient/1"]}, "represents"),
        ({"password": "short"}, ""),
        ({"password": "long" * 300}, ""),
    ],
    ids=str,
)
def test_what_is_no_account_is_refused_with_its_place(house: House, change: dict, member: str) -> None:
    """422."""
    given = {"login": "someone", "name": "Someone", "patient": house.cast["patient"], **change}
    answer = door(house, house.admin, "POST", "", json=given)
    assert answer.status_code == 422
    assert member in str(answer.json()["issue"][0].get("expression", ""))


@pytest.mark.parametrize("name", ["patient", "medecin_traitant", "app", "lgc", "nobody"])
def test_nobody_else_makes_accounts(house: House, name: str) -> None:
    """403, or 401 without a token."""
    given = {"login": "mine", "name": "Mine", "admin": True}
    status = 401 if name == "nobody" else 403
    caller = house.callers[name]
    assert door(house, caller, "POST", "", json=given).status_code == status
    assert door(house, caller, "POST", "/demo-admin/code").status_code == status
    assert door(house, caller, "DELETE", "/demo-admin").status_code == status
