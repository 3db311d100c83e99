"""The entries of the published documents: counted, described by hand, valid, and never lost (importers §12)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from test_cda_mutations import attempt, mutate

from importers.cda.document import Conversion, convert, read
from importers.cda.entries.dispatch import Bucket
from importers.limits import Limits
from importers.xml import parse

pytestmark = pytest.mark.shared_data

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
Judge = Callable[[dict[str, Any]], None]
ELECTROPHORESIS = (
    "CR-BIO_2021.01_Electrophorese", "BIO-CR-BIO_2021.01_Electrophorese", "BIO-CR-BIO_2023.01_Electrophorese",
    "BIO-CR-BIO_2024.01_Electrophorese", "CR-BIO_2023.01_Electrophorese", "CR_Bio_CDA_Niv3_v2", "CR_Bio_CDA_Niv3_v1",
)  # fmt: skip

# Where the resources made are not as many as the templates that the inventory counts: (file, class) → (counted, made,
# why). It counts occurrences of templates; a difference is argued for each.
ARGUED: dict[tuple[str, str], tuple[int, int, str]] = {
    ("AVC-AUNV_2.2", "lab_result"): (18, 19, "a result without template, in a section of results"),
    ("AVC-AUNV_2022.01", "lab_result"): (18, 19, "a result without template, in a section of results"),
    ("CANCER-FRCP_2021.01_Appareil", "problem"): (2, 1, "one value is NA, with no words: nothing to record"),
    ("CANCER-FRCP_2021.01_Transversale", "problem"): (2, 1, "one value is NA, with no words: nothing to record"),
    ("CANCER-FRCP_2022.01_Appareil", "problem"): (2, 1, "one value is NA, with no words: nothing to record"),
    ("CANCER-FRCP_2022.01_Transversale", "problem"): (2, 1, "one value is NA, with no words: nothing to record"),
    ("CSE-CS8_2021.01", "problem_negated"): (13, 12, "line 2341: the statement itself is null (NI)"),
    ("01_Modeles_contenus_CDA", "allergy"): (3, 2, "no-allergy-info: the section has an emptyReason"),
    ("01_Modeles_contenus_CDA", "medication_EVN"): (4, 3, "no-medication-info: the section has an emptyReason"),
    ("01_Modeles_contenus_CDA", "problem_negated"): (2, 0, "two no-known-problems with negationInd: confirmed"),
    ("01_Modeles_contenus_CDA", "problem"): (6, 6, "two no-problem-info less, two no-known-problems more"),
    ("OBP-SAP_2021.01", "medication_EVN"): (2, 1, "one treatment is that of the child"),
    ("OBP-SAP_2024.01", "medication_EVN"): (2, 1, "one treatment is that of the child"),
    ("OBP-SAP_2024.01", "problem"): (11, 8, "three problems are those of the child"),
    ("SDM-MR_2021.01", "medication_EVN"): (0, 1, "a coded administration without known template"),
    ("SDM-MR_2022.01", "medication_EVN"): (0, 1, "a coded administration without known template"),
    **{(name, "lab_result"): (44, 49, "five results nested under others, untemplated") for name in ELECTROPHORESIS},
    # MyHealth@EU and C-CDA.
    ("0000141G", "medication_INT"): (0, 1, "an order without the template that is counted"),
    ("RTD_CCD_Martha", "medication_INT"): (0, 1, "an order without the template that is counted"),
    ("RTD_CCD_Martha_as_PS", "medication_INT"): (0, 1, "an order without the template that is counted"),
    ("Transfer_Summary", "medication_INT"): (0, 2, "two planned administrations (mood INT)"),
}  # fmt: skip


@pytest.fixture(scope="session")
def converted(shared_data: Path) -> dict[str, Conversion]:
    """Every document, by its path under `data/cda`."""
    root = shared_data / "cda"
    files = [each for folder in ("fr", "eu", "us", "it") for each in sorted((root / folder).rglob("*.xml"))]
    return {
        each.relative_to(root).as_posix(): convert(
            read(each.read_bytes()), subject="Patient/p1", imported_at=IMPORTED_AT
        )
        for each in files
    }


@pytest.fixture(scope="session")
def inventory(shared_data: Path) -> dict[str, dict[str, Any]]:
    """What was counted in each document, by its path."""
    rows = json.loads((shared_data / "cda" / "inventory.json").read_text(encoding="utf-8"))["documents"]
    return {each["file"]: each for each in rows}


def has(resource: dict[str, Any], member: str, code: str) -> bool:
    """Whether a CodeableConcept, or a list of them, bears a code."""
    value = resource.get(member, [])
    concepts = value if isinstance(value, list) else [value]
    return any(coding["code"] == code for each in concepts for coding in each.get("coding", ()))


def class_of(resource: dict[str, Any]) -> str | None:
    """The class of the inventory that a resource is of."""
    name = resource["resourceType"]
    refuted = "_negated" if has(resource, "verificationStatus", "refuted") else ""
    if name == "Observation":
        if has(resource, "category", "vital-signs"):
            return "vital_sign"
        return "lab_result" if has(resource, "category", "laboratory") else None
    return {
        "AllergyIntolerance": f"allergy{refuted}",
        "Condition": f"problem{refuted}",
        "Immunization": "immunization_negated" if resource.get("status") == "not-done" else "immunization",
        "ImmunizationRecommendation": "immunization_recommended",
        "MedicationRequest": "medication_INT",
        "MedicationStatement": "medication_EVN_negated" if resource.get("status") == "not-taken" else "medication_EVN",
    }.get(name)


def test_every_document_is_converted_and_every_entry_counted_once(
    converted: dict[str, Conversion], shared_data: Path
) -> None:
    """Total = mapped + narrative-only + failed = the `entry` elements; none fails; each with its path and line."""
    assert len(converted) == 130
    for name, found in converted.items():
        counts = found.report.entries
        root = etree.fromstring((shared_data / "cda" / name).read_bytes(), etree.XMLParser(huge_tree=True))
        lines = [each.sourceline for each in root.iter("{urn:hl7-org:v3}entry")]
        assert [each.line for each in found.report.outcomes] == lines, name
        assert counts.total == counts.mapped + counts.narrative_only + counts.failed == len(lines), name
        assert counts.failed == 0, name
        buckets = Counter(each.bucket for each in found.report.outcomes)
        assert (buckets[Bucket.MAPPED], buckets[Bucket.NARRATIVE_ONLY]) == (counts.mapped, counts.narrative_only), name


def test_the_french_entries_that_are_mapped(converted: dict[str, Conversion]) -> None:
    """A floor: no change loses entries unseen."""
    total: Counter[str] = Counter()
    for name, found in converted.items():
        if name.startswith("fr/"):
            total["total"] += found.report.entries.total
            total["mapped"] += found.report.entries.mapped
    assert total["total"] == 1618
    assert total["mapped"] >= 1211


def test_the_resources_are_as_many_as_the_templates(
    converted: dict[str, Conversion], inventory: dict[str, dict[str, Any]]
) -> None:
    """Class by class for the French, European and American documents, but for what is argued in the table."""
    seen = set()
    for name, found in converted.items():
        if name.startswith("it/"):
            continue
        counted = {key: count for key, count in inventory[name]["entryCounts"].items() if "nested" not in key}
        made = Counter(key for each in found.discrete if (key := class_of(each)))
        stem = Path(name).stem.rpartition("__")[2].removeprefix("SEGUR_")
        for key in {*counted, *made}:
            argued = ARGUED.get((stem, key))
            if argued:
                seen.add((stem, key))
            expected = argued[:2] if argued else (counted.get(key, 0),) * 2
            assert (counted.get(key, 0), made[key]) == expected, (name, key)
    assert seen == set(ARGUED)


def test_dangling_references_are_those_of_the_inventory(
    converted: dict[str, Conversion], inventory: dict[str, dict[str, Any]]
) -> None:
    """Hundreds in the French examples, none an error; five documents have blanks behind ids that are there."""
    blank = {"SDM-MR_2021.01": 2, "SDM-MR_2022.01": 2, "SDM-MR_2024.01_nouveau-ne": 2}
    blank |= {"SDM-MR_2024.01_patiente-enceinte": 1, "SDM-MR_2024.01_patiente-post-grossesse": 2}
    for name, found in converted.items():
        if name.startswith("fr/") and found.report.level > 1:
            counted: int = inventory[name]["brokenReferences"]
            assert found.report.dangling == counted - blank.get(Path(name).stem, 0), name


def test_all_that_is_made_is_valid(converted: dict[str, Conversion], is_r4: Judge) -> None:
    """R4 by our validator and by fhir.resources, every resource of every document."""
    for found in converted.values():
        for resource in found.resources:
            if resource["resourceType"] != "Binary":
                is_r4(resource)


def test_everything_is_for_the_subject_and_of_its_document(converted: dict[str, Conversion]) -> None:
    """Nobody else's record, no id twice, no reference to what is not there."""
    for name, found in converted.items():
        ids = [each["id"] for each in (*found.discrete, *found.provenances, found.document_reference)]
        ids += [each.id for each in found.attachments] + ([found.composition["id"]] if found.composition else [])
        assert len(ids) == len(set(ids)), name
        known = {f"urn:uuid:{each}" for each in ids}
        made = (*found.discrete, found.composition, *found.provenances)
        text = json.dumps([each for each in made if each], default=str)
        referred = {part.partition('"')[0] for part in text.split('"reference": "')[1:]}
        strange = {each for each in referred if not each.startswith("#")} - known - {"Patient/p1"}
        assert strange == set(), name


SYSTEMS = {
    "CIS": "urn:oid:1.2.250.1.213.2.3.1",
    "CIP": "urn:oid:1.2.250.1.213.2.3.3",
    "ATC": "http://www.whocc.no/atc",
    "CIM-10": "http://hl7.org/fhir/sid/icd-10",
    "LOINC": "http://loinc.org",
    "SNOMED": "http://snomed.info/sct",
    "EDQM": "http://standardterms.edqm.eu",
}


def codes(concept: dict[str, Any]) -> list[str]:
    """The codings as `PREFIX code`."""
    prefixes = {system: prefix for prefix, system in SYSTEMS.items()}
    return [f"{prefixes.get(each['system'], each['system'])} {each['code']}" for each in concept["coding"]]


def of_type(found: Conversion, name: str) -> list[dict[str, Any]]:
    """The discrete resources of a type."""
    return [each for each in found.discrete if each["resourceType"] == name]


def immunization_facts(resource: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The facts of a vaccination, of those that are described."""
    protocol, contained = resource.get("protocolApplied", [{}]), resource.get("contained", [])
    reactions = {f"#{each['id']}": each["valueCodeableConcept"] for each in contained}
    facts = {
        "occurrence": resource["occurrenceDateTime"],
        "codes": codes(resource["vaccineCode"]),
        "lot": resource["lotNumber"],
        "dose": protocol[0].get("doseNumberPositiveInt"),
        "route": codes(resource["route"])[0] if "route" in resource else None,
        "site": codes(resource["site"])[0] if "site" in resource else None,
        "status": resource["status"],
        "reaction": next(
            (codes(reactions[each["detail"]["reference"]])[0] for each in resource.get("reaction", [])), None
        ),
    }
    return {name: facts[name] for name in wanted}


def test_the_entries_described_by_hand_give_the_facts_expected(
    converted: dict[str, Conversion], shared_data: Path
) -> None:
    """`expected.json` holds exactly: counts, vaccinations, allergies, conditions, medications."""
    expected = json.loads((shared_data / "cda" / "expected.json").read_text(encoding="utf-8"))["documents"]
    assert len(expected) == 3
    for row in expected:
        found = converted[row["file"]]
        counts = {name: len(of_type(found, name)) for name in row["counts"] if name != "lab Observation"}
        laboratory = [each for each in of_type(found, "Observation") if class_of(each) == "lab_result"]
        assert {**counts, "lab Observation": len(laboratory)} == row["counts"], row["file"]
        vaccinations = row.get("immunizations", [])
        made = of_type(found, "Immunization")
        assert len(made) == len(vaccinations)
        assert [immunization_facts(one, wanted) for one, wanted in zip(made, vaccinations, strict=True)] == vaccinations
        assert [
            {
                "agent": f"{codes(each['code'])[0]} {each['code']['coding'][0]['display']}",
                "onset": each["onsetDateTime"],
                "clinicalStatus": each["clinicalStatus"]["coding"][0]["code"],
            }
            for each in of_type(found, "AllergyIntolerance")
        ] == [{name: each[name] for name in each if name != "type_code"} for each in row.get("allergies", [])]
        assert [
            {
                "code": codes(each["code"])[0],
                "onset": each.get("onsetDateTime"),
                "abatement": each.get("abatementDateTime"),
            }
            for each in of_type(found, "Condition")
        ] == row.get("conditions", [])
        assert [
            {
                "code": codes(each["medicationCodeableConcept"])[0],
                "text": each["medicationCodeableConcept"]["text"],
                "start": each["effectivePeriod"]["start"],
            }
            for each in of_type(found, "MedicationStatement")
        ] == row.get("medications", [])


def test_narrative_is_never_lost(converted: dict[str, Conversion], shared_data: Path) -> None:
    """Every word of every section text of every document stands in the Composition."""
    for name, found in converted.items():
        if found.composition is None:
            continue
        root = etree.fromstring(
            (shared_data / "cda" / name).read_bytes(), etree.XMLParser(huge_tree=True, remove_comments=True)
        )
        written = Counter(
            "".join("".join(map(str, each.itertext())).split())
            for each in root.iter("{urn:hl7-org:v3}text")
            if etree.QName(each.getparent()).localname == "section"  # type: ignore[arg-type]
        )
        told = Counter(words for section in found.composition.get("section", []) for words in texts(section))
        written.pop("", None)
        missing = {words[:40] for words in written - told if words.replace("\u00a0", "")}
        # A link to an attachment adds its title to the words of its section.
        assert len(missing) <= sum(1 for _ in root.iter("{urn:hl7-org:v3}renderMultiMedia")), (name, missing)


def texts(section: dict[str, Any]) -> list[str]:
    """The words of a section and of those in it, without white space."""
    div = section.get("text", {}).get("div")
    own = ["".join("".join(map(str, etree.fromstring(div).itertext())).split())] if div else []
    return own + [words for inner in section.get("section", []) for words in texts(inner)]


def test_damaged_documents_are_refused_or_sound(shared_data: Path, is_r4: Judge) -> None:
    """Real documents with thirty nodes damaged: no exception but ours, every entry counted, nobody else's record."""
    dice = random.Random(20261122)
    files = sorted((shared_data / "cda" / "fr").rglob("*.xml"))
    names = ["drop", "double", "move", "rename", "attribute", "lose", "text", "nullify", "wrap"]
    junk = ["", "0", "-1", "1e400", "20231301", "NA", "\u00a0", "<&>", "#", "true", "a" * 70, "%"]
    for path in dice.sample(files, 12):
        root = parse(path.read_bytes(), Limits())
        for _ in range(30):
            if len(root):
                mutate(root, (dice.choice(names), dice.randrange(10**6), dice.randrange(10**6), dice.choice(junk)))
        parsed, _ = attempt(partial(read, etree.tostring(root)))
        if parsed is None:
            continue
        found = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT)
        counts = found.report.entries
        assert counts.total == counts.mapped + counts.narrative_only + counts.failed == len(found.report.outcomes)
        for resource in found.discrete:
            is_r4(resource)
            about = {resource[name]["reference"] for name in ("subject", "patient") if name in resource}
            assert about == {"Patient/p1"}
