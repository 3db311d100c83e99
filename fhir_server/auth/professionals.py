"""A professional as Pro Santé Connect tells of them: one caller for each exercice and activity (spec access §1).

The profession that decides what they may read comes from here and from nowhere else (PRO-3). Members read:
`SubjectNameID` or `otherIds` (IdNat_PS), `SubjectRefPro.exercices[].activities[]`, `Acces_Regulation_Medicale`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.auth.contexts import REGULATION
from fhir_server.fhir.identity import FINESS, IDNPS, RPPS, SIRENE, rpps_of, structure_identifiers

_STUDENT: Final = "E"
_TRUE: Final = frozenset({"true", "vrai", "1", "oui"})
_NUMBERS: Final = (FINESS, SIRENE)


def professionals(claims: Mapping[str, Any]) -> tuple[Actor, ...]:
    """Whom these claims may act as, one for each activity of each exercice; none when they tell of no professional with
    an RPPS number in practice. `reference` is left empty: the directory knows it."""
    rpps = _rpps(claims)
    if not rpps:
        return ()
    found = []
    for practice in _objects(_object(claims.get("SubjectRefPro")).get("exercices")):
        # Rights of a profession are not those of whoever studies for it.
        if _text(practice, "codeProfession") and _text(practice, "codeCategorieProfessionnelle") != _STUDENT:
            found += [_actor(claims, rpps, practice, activity) for activity in _objects(practice.get("activities"))]
    return tuple(dict.fromkeys(found))


def _actor(claims: Mapping[str, Any], rpps: str, practice: Mapping[str, Any], activity: Mapping[str, Any]) -> Actor:
    structure, keys = _structure(activity)
    family = _text(practice, "nomDexercice") or _text(claims, "family_name")
    given = _text(practice, "prenomDexercice") or _text(claims, "given_name")
    regulates = str(claims.get("Acces_Regulation_Medicale", "")).lower() in _TRUE
    return Actor(
        role="ps",
        reference="",
        name=f"{given} {family}".strip() or f"RPPS {rpps}",
        jti="",
        keys=frozenset({f"rpps:{rpps}", *keys, *({REGULATION} if regulates else ())}),
        profession=_text(practice, "codeProfession"),
        specialty=_text(practice, "codeSavoirFaire"),
        structure=structure,
        structure_name=_text(activity, "raisonSocialeSite") or _text(activity, "enseigneCommercialeSite"),
        sector=_text(activity, "codeSecteurDactivite"),
    )


def _rpps(claims: Mapping[str, Any]) -> str:
    given = [{"system": IDNPS, "value": _text(claims, "SubjectNameID")}]
    given += [
        {"system": RPPS if len(_text(each, "identifiant")) == 11 else IDNPS, "value": _text(each, "identifiant")}
        for each in _objects(claims.get("otherIds"))
        if _text(each, "origine") == "RPPS"
    ]
    numbers = {number for number in map(rpps_of, given) if number}
    # Two different numbers are two persons: nobody can say which.
    return numbers.pop() if len(numbers) == 1 else ""


def _structure(activity: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """The number of the place of work that names it here, and the keys of all numbers that it has."""
    numbers = [
        _text(activity, name)
        for name in ("numeroFinessSite", "numeroSiretSite", "numeroFinessetablissementJuridique", "numeroSirenSite")
    ]
    national = structure_identifiers(_text(activity, "ancienIdentifiantDeLaStructure"))
    numbers += [each["value"] for each in national if each["system"] in _NUMBERS]
    known = [each for each in numbers if each] or [_text(activity, "identifiantTechniqueDeLaStructure")]
    return known[0], frozenset(f"org:{each}" for each in known if each)


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found.strip() if isinstance(found, str) else ""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else iter(())
