"""`_text` and `_content`: the words of a resource."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.search.entries import Prose
from fhir_server.search.extract import extract
from fhir_server.search.parse import parse
from fhir_server.search.predicate import Words, conj, disj, negate
from fhir_server.search.registry import SearchRegistry

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p title="aside">Œdème <b>aigu</b></p>du&#160;poumon &amp; toux</div>'


def prose(registry: SearchRegistry, type_: str, **elements: Any) -> dict[str, str]:
    found = extract(registry, type_, {"resourceType": type_, **elements}, BASE).prose
    assert all(isinstance(each, Prose) for each in found)
    return {each.param: each.words for each in found}


def test_the_words_of_the_narrative_are_its_text(registry: SearchRegistry) -> None:
    """Without markup, in normal form, each once; content has only what is beyond them."""
    narrative = {"status": "generated", "div": DIV}
    found = prose(registry, "Condition", text=narrative, note=[{"text": "Toux, toux sèche"}])
    assert found == {"_text": "oedeme aigu du poumon toux", "_content": "seche"}
    assert prose(registry, "Condition", text=narrative, note=[{"text": "TOUX"}]).keys() == {"_text"}


def test_content_is_what_people_read(registry: SearchRegistry) -> None:
    """Strings, markdown, displays and texts of codes, names; wherever they are."""
    found = prose(
        registry,
        "Observation",
        code={"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": "Systolic"}], "text": "Tension"},
        subject={"reference": "Patient/p", "display": "Zoé"},
        note=[{"text": "au *repos*", "time": "2024-01-01"}],
        component=[{"code": {"text": "Bras gauche"}, "valueString": "élevée"}],
        referenceRange=[{"text": "normale"}],
    )
    assert found == {"_content": "systolic tension zoe au repos bras gauche elevee normale"}
    assert prose(registry, "Patient", name=[{"family": "Le Gall", "given": ["Anne"]}]) == {"_content": "le gall anne"}


def test_what_only_looks_like_text_is_not_content(registry: SearchRegistry) -> None:
    """Ids, identifiers, codes, urls, dates, numbers, contents, contained resources, extensions."""
    found = prose(
        registry,
        "DocumentReference",
        id="identity",
        meta={"source": "http://source", "tag": [{"display": "tag"}]},
        identifier=[{"system": "urn:oid:1", "value": "identifier"}],
        status="current",
        contained=[{"resourceType": "Patient", "name": [{"text": "contained"}]}],
        extension=[{"url": "http://x", "valueString": "extension"}],
        date="2024-01-01T00:00:00Z",
        content=[
            {"attachment": {"contentType": "text/plain", "url": "http://url", "data": "ZGF0YQ==", "title": "Titre"}}
        ],
    )
    assert found == {"_content": "titre"}


@pytest.mark.parametrize(
    "elements",
    [{"text": "x"}, {"text": {"div": 1}}, {"code": "x"}, {"code": {"text": {"a": "b"}}}, {"note": [1, None, "x"]}],
)
def test_other_shapes_say_nothing(registry: SearchRegistry, elements: dict[str, Any]) -> None:
    """And break nothing."""
    assert prose(registry, "Observation", **elements) == {}


def test_a_nested_resource_has_all_its_words(registry: SearchRegistry) -> None:
    """Types that hold themselves, however deep."""
    item: dict[str, Any] = {"linkId": "1", "text": "bottom"}
    for depth in range(100):
        item = {"linkId": "1", "text": f"level {depth % 3}", "item": [item]}
    assert prose(registry, "Questionnaire", item=[item])["_content"] == "1 level 0 2 bottom"


def test_words_are_bounded(registry: SearchRegistry) -> None:
    """The first 100,000 characters, five thousand words."""
    words = " ".join(f"w{number}" for number in range(50_000))
    found = prose(registry, "Observation", note=[{"text": words}], text={"div": f"<div>{words}</div>"})
    assert all(len(each.split()) == 5_000 for each in found.values())


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("Œdème aigu", Words("_text", ("aigu", "oedeme"))),
        ('"oedeme aigu"', Words("_text", ("aigu", "oedeme"))),
        ("l'eau", Words("_text", ("eau", "l"))),
        ("a,b", disj(Words("_text", ("a",)), Words("_text", ("b",)))),
        (r"a\,b", Words("_text", ("a", "b"))),
        ("a AND b", Words("_text", ("a", "b"))),
        ("a OR b c", disj(Words("_text", ("a",)), Words("_text", ("b", "c")))),
        ("NOT a b", conj(Words("_text", ("b",)), negate(Words("_text", ("a",))))),
        (
            "(bone OR liver) and metastases",
            conj(Words("_text", ("metastases",)), disj(Words("_text", ("bone",)), Words("_text", ("liver",)))),
        ),
    ],
)
def test_words_are_asked_in_any_order_with_the_operators_of_r4(
    registry: SearchRegistry, value: str, meaning: Any
) -> None:
    """All of them, unless OR says otherwise."""
    assert parse(registry, ("Condition",), [("_text", value)], strict=True, base_url=BASE).plan.where == meaning


WORDS = st.sampled_from(["os", "foie", "métastase", "Rein"])
ASKED = st.recursive(
    WORDS.map(lambda word: ("word", word)),
    lambda inner: (
        st.tuples(st.just("AND"), inner, inner)
        | st.tuples(st.just("OR"), inner, inner)
        | st.tuples(st.just("NOT"), inner)
    ),
    max_leaves=5,
)


def written(asked: Any) -> str:
    match asked:
        case "word", word:
            return str(word).upper()
        case "NOT", inner:
            return f"NOT ({written(inner)})"
        case operator, left, right:
            return f"({written(left)}) {operator} ({written(right)})"
    raise AssertionError


def said(asked: Any, words: set[str]) -> bool:
    match asked:
        case "word", word:
            return word in words
        case "NOT", inner:
            return not said(inner, words)
        case "AND", left, right:
            return said(left, words) and said(right, words)
        case _, left, right:
            return said(left, words) or said(right, words)
    raise AssertionError


def depth(asked: Any) -> int:
    return 1 if asked[0] == "word" else 1 + max(map(depth, asked[1:]))


@given(st.sets(WORDS), st.sets(WORDS), ASKED.filter(lambda asked: depth(asked) < 5))
def test_words_are_found_as_they_are_asked_for(
    registry: SearchRegistry, narrative: set[str], note: set[str], asked: Any
) -> None:
    """Case and accents aside; `_content` has what the narrative has and more."""
    resource = {
        "resourceType": "Observation",
        "id": "o",
        "text": {"div": f"<div>{' '.join(narrative)}</div>"},
        "note": [{"text": " ".join(note)}],
    }
    world = World(registry, [resource])
    assert world.found("Observation", "_text", written(asked)) == ({"o"} if said(asked, narrative) else set())
    assert world.found("Observation", "_content", written(asked)) == ({"o"} if said(asked, narrative | note) else set())
