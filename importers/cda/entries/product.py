"""The product of a treatment: what it is called and coded, its form, its active ingredients, its lot.

Source: CI-SIS FR-Produit-de-sante (1.2.250.1.213.1.1.3.43), IHE PCC Product Entry, IHE Pharmacy Medicine Entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from importers.cda.elements import attribute, child, text
from importers.cda.entries.entry import Entry
from importers.cda.quantities import ratio
from importers.issues import CANONICAL_BASE

MEDICATION_PRODUCT: Final = f"{CANONICAL_BASE}/StructureDefinition/medication-product"
CONTAINED_ID: Final = "product"
ATC: Final = "http://www.whocc.no/atc"


@dataclass(frozen=True, slots=True)
class Product:
    """A product: `concept` its codes and name, `details` an R4 Medication of what a concept cannot say, or empty.

    `names` are all the ways it is written, in its codes and in the narrative.
    """

    concept: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    names: frozenset[str | None] = frozenset()

    def members(self) -> dict[str, Any]:
        """The members of a medication resource that name it.

        The concept stands in `medicationCodeableConcept`, where every search finds it; form, ingredients and lot stand
        in a contained Medication to which an extension points.
        """
        if not self.details:
            return {"medicationCodeableConcept": self.concept}
        return {
            "contained": [{"resourceType": "Medication", "id": CONTAINED_ID, "code": self.concept, **self.details}],
            "extension": [{"url": MEDICATION_PRODUCT, "valueReference": {"reference": f"#{CONTAINED_ID}"}}],
            "medicationCodeableConcept": self.concept,
        }


def product(consumable: etree._Element | None, entry: Entry) -> Product | None:
    """The product under a `consumable` or `product`; None where nothing tells what it is.

    Its text is its name, as on the box, and not the cell of the narrative that its code points to. What has no code of
    its own is coded by its generic class, then by its ingredient.
    """
    manufactured = child(consumable, "manufacturedProduct")
    material = child(manufactured, "manufacturedMaterial")
    if manufactured is None or material is None:
        return None
    generic = _concept(_any(_any(material, "asSpecializedKind"), "generalizedMedicineClass"), entry)
    ingredients = [found for each in material.iterchildren("{*}ingredient") if (found := _ingredient(each, entry))]
    coded, name = entry.concept(child(material, "code")), text(child(material, "name"))
    concept = _joined({**(coded or {}), **({"text": name} if name else {})} or None, generic)
    if concept is None or "coding" not in concept:
        concept = _of_ingredients(concept, ingredients)
    if concept is None:
        return None
    details = {
        "manufacturer": _manufacturer(child(manufactured, "manufacturerOrganization")),
        "form": entry.concept(_any(material, "formCode")),
        "ingredient": ingredients,
        "batch": _batch(material, entry),
    }
    displays = [each.get("display") for each in concept.get("coding", ())]
    names = frozenset((name, concept.get("text"), (coded or {}).get("text"), *displays))
    return Product(concept, {name: part for name, part in details.items() if part}, names)


def _any(parent: etree._Element | None, name: str) -> etree._Element | None:
    """The first child of that local name: the extensions for medicines stand in several namespaces."""
    return None if parent is None else next(parent.iterchildren("{*}" + name), None)


def _concept(element: etree._Element | None, entry: Entry) -> dict[str, Any] | None:
    return None if element is None else entry.concept(_any(element, "code"), text(_any(element, "name")))


def _joined(concept: dict[str, Any] | None, generic: dict[str, Any] | None) -> dict[str, Any] | None:
    """The concept with the codings of its generic class behind its own, which is how an ATC code is found."""
    if concept is None or generic is None:
        return concept or generic
    codings = [*concept.get("coding", ()), *generic.get("coding", ())]
    return {**concept, "coding": codings} if codings else concept


def _of_ingredients(named: dict[str, Any] | None, ingredients: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A product without code, by its one ingredient: its ATC code is one of products; else by the names of all."""
    concepts = [each["itemCodeableConcept"] for each in ingredients]
    if len(concepts) == 1:
        codings = [each for each in concepts[0].get("coding", ()) if named is None or each.get("system") == ATC]
        named = named or {name: part for name, part in concepts[0].items() if name == "text"}
        return {**({"coding": codings} if codings else {}), **named}
    names = [each["text"] for each in concepts if "text" in each]
    return named or ({"text": " + ".join(names)} if names else None)


def _ingredient(element: etree._Element, entry: Entry) -> dict[str, Any] | None:
    concept = _concept(_any(element, "ingredient"), entry)
    if concept is None:
        return None
    strength = ratio(_any(element, "quantity"))
    return {
        "itemCodeableConcept": concept,
        **({"isActive": True} if attribute(element, "classCode") == "ACTI" else {}),
        **({"strength": strength} if strength else {}),
    }


def _batch(material: etree._Element, entry: Entry) -> dict[str, str]:
    lot = child(material, "lotNumberText")
    number = None if lot is None or lot.get("nullFlavor") else text(lot)
    expires = entry.moment(_any(material, "expirationTime"))
    return {name: said for name, said in (("lotNumber", number), ("expirationDate", expires)) if said}


def _manufacturer(organization: etree._Element | None) -> dict[str, str]:
    name = text(child(organization, "name"))
    return {"display": name} if name else {}
