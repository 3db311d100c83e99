"""The profiles and code sets of French documents: what is an error, what only warns, and the published examples."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.validation.french import document_codes, unknown_codes
from fhir_server.validation.profiles import breaches, profiles
from tests.conftest import ROOT, House
from tests.interactions.provided import (
    PDSM,
    bundle,
    coded,
    document,
    folder,
    posted,
    provide,
    sha1,
    submission,
    urn,
)
from tests.interactions.test_iti_65 import PDF, links, refused, send, told

FULL = document("Patient/1", PDF, "Binary/1")
SET = submission("Patient/1", "DocumentReference/1")


def without(resource: dict[str, Any], path: str) -> dict[str, Any]:
    """The resource without the element at that path."""
    name, _, rest = path.partition(".")
    kept = {**resource}
    if not rest:
        del kept[name]
    elif isinstance(kept[name], list):
        kept[name] = [without(each, rest) for each in kept[name]]
    else:
        kept[name] = without(kept[name], rest)
    return kept


def found(resource: dict[str, Any], severity: str = "error") -> list[str]:
    """Where a resource breaks the profile that it claims."""
    [profile] = resource["meta"]["profile"]
    return [each.expression for each in breaches(resource, profile) if each.severity == severity]


def test_a_comprehensive_document_has_nothing_wrong() -> None:
    """§4.1: neither an error nor a warning; so has its set and its folder (§4.2)."""
    for resource in (FULL, SET, folder("Patient/1", "DocumentReference/1")):
        assert found(resource) == found(resource, "warning") == []


@pytest.mark.parametrize(
    "path",
    [
        "contained",
        "masterIdentifier",
        "type",
        "category",
        "subject",
        "author",
        "securityLabel",
        "context",
        "content.attachment.contentType",
        "content.attachment.language",
        "content.attachment.url",
        "content.attachment.title",
        "content.attachment.creation",
        "content.format",
        "context.period.start",
        "context.facilityType",
        "context.practiceSetting",
        "context.sourcePatientInfo",
    ],
)
def test_what_both_builds_require_is_required(path: str) -> None:
    """§4.1: an error that names the place."""
    [place] = found(without(FULL, path))
    assert place.replace("[0]", "") == f"DocumentReference.{path}"


@pytest.mark.parametrize("path", ["date", "custodian", "authenticator"])
def test_what_one_build_requires_is_a_warning(path: str) -> None:
    """§4.1."""
    assert found(without(FULL, path)) == []
    assert found(without(FULL, path), "warning") == [f"DocumentReference.{path}"]


@pytest.mark.parametrize(
    "change",
    [
        {"docStatus": "final"},
        {"modifierExtension": [{"url": "http://x", "valueBoolean": True}]},
        {"status": "entered-in-error"},
    ],
)
def test_what_no_build_allows_is_an_error(change: dict[str, Any]) -> None:
    """§4.1: and data beside the url."""
    assert found(FULL | change) == [f"DocumentReference.{next(iter(change))}"]
    attachment = FULL["content"][0]["attachment"] | {"data": "eA=="}
    assert found(FULL | {"content": [FULL["content"][0] | {"attachment": attachment}]})


def test_references_that_are_not_contained_only_warn() -> None:
    """§4.1: published examples break it."""
    resource = FULL | {"author": [{"reference": "PractitionerRole/1"}]}
    assert found(resource) == []
    assert found(resource, "warning") == ["DocumentReference.author"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"status": "retired"}, "status"),
        ({"mode": "snapshot"}, "mode"),
        ({"code": coded("http://x", "submissionset")}, "code"),
        ({"extension": SET["extension"][:1]}, "extension"),
        ({"encounter": {"reference": "Encounter/1"}}, "encounter"),
    ],
)
def test_a_submission_set_is_one(change: dict[str, Any], place: str) -> None:
    """§4.2."""
    assert found(SET | change) == [f"List.{place}"]


@pytest.mark.parametrize(
    ("element", "outside"),
    [
        ("type", {"type": coded("http://loinc.org", "1-8")}),
        ("category", {"category": [coded("TRE_A03-ClasseDocument", "12")]}),
        ("context.facilityType", {"context": FULL["context"] | {"facilityType": coded("http://snomed.info/sct", "1")}}),
        (
            "context.practiceSetting",
            {"context": FULL["context"] | {"practiceSetting": coded("http://snomed.info/sct", "1")}},
        ),
    ],
)
def test_a_code_outside_of_its_set_warns(element: str, outside: dict[str, Any]) -> None:
    """COD-1, COD-2, COD-4, COD-5, COD-8."""
    assert list(unknown_codes(FULL)) == []
    [issue] = unknown_codes(FULL | outside)
    assert (issue.severity, issue.expression) == ("warning", f"DocumentReference.{element}")


def test_the_format_codes_of_ihe_are_taken() -> None:
    """COD-3."""
    format_ = {
        "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    }
    for each, issues in ((format_, 0), (format_ | {"system": "http://x"}, 1)):
        assert len(list(unknown_codes(FULL | {"content": [FULL["content"][0] | {"format": each}]}))) == issues


def test_the_class_and_the_date_are_filled(house: House) -> None:
    """COD-11, §4.3: with a warning each; a class that does not belong to the type is kept with one."""
    patient = house.cast["patient"]
    sent = provide(patient, PDF)
    for name in ("category", "date"):
        del sent["entry"][1]["resource"][name]
    answer = send(house.lgc, sent)
    stored = house.patient.get(links(answer)[1]).json()
    assert stored["category"][0]["coding"][0]["code"] == "10"
    assert stored["date"] == stored["content"][0]["attachment"]["creation"]
    assert told(answer, 1) == ["DocumentReference.category", "DocumentReference.date"]
    other = send(house.lgc, provide(patient, PDF, category=[coded("TRE_A03-ClasseDocument", "11")]))
    assert told(other, 1) == ["DocumentReference.category"]


def test_a_label_is_spelt_right_and_an_unknown_one_refused(house: House) -> None:
    """COD-8, COD-9."""
    wrong = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument"
    sent = provide(house.cast["patient"], PDF, securityLabel=[coded(wrong, "N")])
    stored = house.patient.get(links(send(house.lgc, sent))[1]).json()
    levels = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    assert stored["securityLabel"] == [coded(levels, "N")]
    unknown = provide(house.cast["patient"], PDF, securityLabel=[coded(wrong, "MASQUE_TOUS")])
    refused(send(house.lgc, unknown), 422, "Bundle.entry[1].resource.securityLabel[0].coding[0]")


def test_the_statement_lists_the_profiles_that_are_checked(house: House) -> None:
    """Those, and no others."""
    [rest] = house.patient.get("metadata").json()["rest"]
    stated = {each for resource in rest["resource"] for each in resource.get("supportedProfile", ())}
    assert set(profiles()) <= stated


@pytest.mark.shared_data
def test_the_code_sets_are_those_that_are_published(shared_data: Path) -> None:
    """The table is what the package says; the tables beside it agree."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("compile_fr", ROOT / "terminologies" / "fr" / "compile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.compiled(str(shared_data / "fr" / "packages" / "pdsm-combined.tgz"))
    assert made == orjson.loads((ROOT / "terminologies" / "fr" / "document-codes.json").read_bytes())
    lines = (shared_data / "fr" / "codes" / "JDV_J07-XdsTypeCode.tsv").read_text("utf-8").splitlines()
    assert {tuple(each.split("\t")[:2]) for each in lines if not each.startswith("#")} == document_codes()["type"]


@pytest.mark.shared_data
def test_every_required_element_of_the_published_profile_is_judged(shared_data: Path) -> None:
    """§4.1: what the reference build requires and is not of R4 itself has a rule, error or warning."""
    package = shared_data / "fr" / "packages" / "partage-de-documents-de-sante-package.tgz"
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/StructureDefinition-pdsm-comprehensive-document-reference.json")
        assert member
        published = orjson.loads(member.read())
    required = {
        each["path"].removeprefix("DocumentReference.")
        for each in published["snapshot"]["element"]
        if each.get("min") and ":" not in each["id"] and each["path"].count(".") > 0
    }
    judged = {".".join(rule.path) for rule in profiles()[f"{PDSM}pdsm-comprehensive-document-reference"].rules}
    of_r4 = {"status", "content.attachment", "relatesTo.code", "relatesTo.target"}
    verified = {"content.attachment.size", "content.attachment.hash"}
    assert {
        each for each in required if "." not in each or each.startswith(("content", "context.p", "context.f"))
    } <= judged | of_r4 | verified


@pytest.mark.shared_data
def test_the_published_examples_are_taken_as_the_plan_says(house: House, shared_data: Path) -> None:
    """DOC-9: the comprehensive example is refused for its size and hash, and taken when they are right; the simplified
    one likewise; those with an INS that is nobody's are 404 (PAT-12)."""
    folder_ = shared_data / "fr" / "examples"
    patient = house.cast["patient"]

    def example(name: str) -> dict[str, Any]:
        resource: dict[str, Any] = orjson.loads((folder_ / name).read_bytes())
        for each in ("id", "text"):
            resource.pop(each, None)
        for each in resource.get("contained", ()):
            # Not R4: contained resources have no lastUpdated (dom-4).
            each.pop("meta", None)
        if resource["subject"]["reference"].startswith("Patient/"):
            resource["subject"] = {"reference": patient}
        return resource

    whole = example("pdsm/DocumentReference-exemple-pdsm-documentreference.json")
    # Not R4 either: what is contained is referred to (dom-3).
    whole["author"] = [{"reference": f"#{each['id']}"} for each in whole["contained"]]
    attachment = whole["content"][0]["attachment"]
    document_url, binary_url = urn(), urn()
    attachment["url"] = binary_url
    data = orjson.loads((folder_ / "pdsm/Binary-6789.json").read_bytes())["data"]
    content = {"resourceType": "Binary", "contentType": "application/pdf", "data": data}
    sent = bundle(posted(submission(patient, document_url)), posted(whole, document_url), posted(content, binary_url))
    places = [f"Bundle.entry[1].resource.content[0].attachment.{name}" for name in ("size", "hash")]
    refused(send(house.lgc, sent), 422, *places)
    attachment |= {"size": 11, "hash": sha1(b"Hello World")}
    answer = send(house.lgc, sent)
    assert answer.status_code == 200, answer.text
    simple = example("pdsm/DocumentReference-PDSmSimplifiedExample.json")
    assert house.lgc.post("DocumentReference", simple).status_code == 422
    simple["content"][0]["attachment"] |= {"size": 11, "hash": sha1(b"Hello World")}
    assert house.lgc.post("DocumentReference", simple).status_code == 201
    of_nobody = example("dmp/DocumentReference-example-td2-iti105-publication-simplifiee.json")
    assert house.lgc.post("DocumentReference", of_nobody).status_code == 404
    of_nobody["subject"] = {"reference": patient}
    assert house.lgc.post("DocumentReference", of_nobody).status_code == 201
