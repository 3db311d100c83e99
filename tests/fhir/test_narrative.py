"""A narrative shows and does nothing else: https://hl7.org/fhir/R4/narrative.html, txt-1 and txt-2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Malformed
from fhir_server.fhir.narrative import narrative_problems
from fhir_server.fhir.xml import parse_fragment


def div(inner: str) -> str:
    """A narrative around it."""
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'


ELEMENTS = (
    "a abbr acronym address b bdo big blockquote caption cite code dd dfn div dl dt em h1 h2 h3 h4 h5 h6 i kbd li ol p "
    "pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
)


@pytest.mark.parametrize("name", ELEMENTS.split())
def test_the_elements_of_basic_html_are_allowed(name: str) -> None:
    """Chapters 7 to 11 and 15 of HTML 4.0, links and images."""
    assert narrative_problems(div(f"<{name}>x</{name}>")) == []


@pytest.mark.parametrize(
    "inner",
    [
        "x<br/><hr/><img src='#photo' alt='x'/>",
        "<img src='data: image/png;base64,AAAA'/>",
        "<img src='DATA:image/jpeg;base64,AAAA'/>",
        "<img src='http://example.org/x.png'/>",
        "<img src='scan/x.png'/>",
        "<a href='https://example.org'>x</a><a href='#x'>y</a><a href='Patient/1'>t</a>",
        "<a href='tel:+33123456789'>x</a><a href='mailto:a@example.org'>z</a><a name='here'>y</a>",
        "<p style='color: red; background: url(data:image/png;base64,AAAA)' class='a b' title='x' xml:lang='fr'>x</p>",
        "<table border='1'><colgroup><col width='1'/></colgroup><tr><td colspan='2' valign='top'>x</td></tr></table>",
        "a &lt;script&gt; &amp; &#233; é <!-- said -->",
        "2 &lt; 3",
    ],
)
def test_what_only_shows_is_allowed(inner: str) -> None:
    """Images from here, there or inside; links; styles; tables; entities of XML; comments."""
    assert narrative_problems(div(inner)) == []


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>x",
        "<SCRIPT>alert(1)</SCRIPT>x",
        "<style>p {}</style>x",
        "<link rel='stylesheet' href='x.css'/>x",
        "<iframe src='http://example.org'/>x",
        "<object/>x",
        "<embed src='x'/>x",
        "<form><input/></form>x",
        "<base href='http://example.org'/>x",
        "<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>x",
        "<p xmlns='http://example.org'>x</p>",
        "<p xmlns=''>x</p>",
        "<font>x</font>",
        "<ins>x</ins>",
        "<p onclick='alert(1)'>x</p>",
        "<img src='x' onerror='alert(1)'/>",
        "<p ONCLICK='alert(1)'>x</p>",
        "<p id='x' data-x='y'>x</p>",
        "<a xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='javascript:alert(1)'>x</a>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href=' JaVaScRiPt:alert(1)'>x</a>",
        "<a href='java&#10;script:alert(1)'>x</a>",
        "<a href='&#x1;javascript:alert(1)'>x</a>",
        "<a href='vbscript:x'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<blockquote cite='javascript:alert(1)'>x</blockquote>",
        "<img src='javascript:alert(1)'/>",
        "<img src='data:text/html,x'/>",
        "<p style='width: expression(alert(1))'>x</p>",
        "<p style='width: exp/**/ression(alert(1))'>x</p>",
        "<p style='width: \\65xpression(alert(1))'>x</p>",
        "<p style='behavior: url(x.htc)'>x</p>",
        "<p style='-moz-binding: url(x)'>x</p>",
        "<p style='background: url(javascript:alert(1))'>x</p>",
        "<p style=\"background: url( 'jav&#9;ascript:alert(1)' )\">x</p>",
        "<p style='@import url(x.css)'>x</p>",
    ],
)
def test_what_could_act_is_refused(inner: str) -> None:
    """Elements, attributes, schemes and styles that run code, load sheets or leave HTML."""
    assert len(narrative_problems(div(inner))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "<p>x</p>",
        "<div>x</div>",
        div("<p>x"),
        div("x") + div("y"),
        div("&nbsp;"),
        div("<p a='1' a='2'>x</p>"),
        "<!DOCTYPE div>" + div("x"),
        '<!DOCTYPE div [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + div("&x;"),
        '<?xml version="1.0" encoding="UTF-8"?>' + div("x"),
        div("<?php x ?>"),
        div("<![CDATA[<img src=x onerror=alert(1)>]]>"),
        div("<!--><img src=x onerror=alert(1)>-->x"),
        div("<!---><img src=x onerror=alert(1)>-->x"),
        div("\x00x"),
        div("\ud800"),
        div("<p>" * 300 + "x" + "</p>" * 300),
    ],
)
def test_what_is_no_xhtml_div_is_refused(text: str) -> None:
    """Not well-formed, another root, a DOCTYPE, what a browser would read in another way."""
    assert len(narrative_problems(text)) == 1


@pytest.mark.parametrize("inner", ["", " \n\t", "<p> </p>", "<!-- x -->", "<br/>", "<img alt='x'/>"])
def test_a_narrative_says_something(inner: str) -> None:
    """Rule txt-2: text that is not white space, or an image with a source."""
    assert narrative_problems(div(inner)) == ["A narrative has some text or an image."]


def test_all_kinds_of_problems_come_at_once_and_each_once() -> None:
    """Ten scripts are one sentence."""
    inner = "<script/>" * 10 + "<p onclick='x' onload='y'>x</p><a href='javascript:x'>y</a>"
    assert len(narrative_problems(div(inner))) == 3


def test_no_problem_repeats_what_the_narrative_says() -> None:
    """Health data stays where it is."""
    for text in ("<div>Dupond", div("<Dupond/>"), div("<p Dupond='Dupond'/>"), div("<a href='Dupond:x'>Dupond</a>")):
        assert narrative_problems(text)
        assert not any("Dupond" in problem for problem in narrative_problems(text))


@given(st.text(alphabet="<>/='\"ab!-[]&;? x", max_size=60))
def test_any_text_is_answered(text: str) -> None:
    """Whatever it looks like."""
    assert narrative_problems(text)
    narrative_problems(div(text))


@pytest.mark.parametrize(
    "text", ["<a>", "", "<!DOCTYPE a><a/>", "<a>&b;</a>", "<?xml version='1.0' encoding='x'?><a/>"]
)
def test_xml_that_cannot_be_read_is_malformed(text: str) -> None:
    """The door to lxml speaks the vocabulary of the house."""
    with pytest.raises(Malformed):
        parse_fragment(text)


def test_xml_is_read_into_its_elements() -> None:
    """With comments kept."""
    root = parse_fragment("<a b='c'><!-- d --><e>f</e></a>")
    assert root.tag == "a"
    assert root.get("b") == "c"
    assert len(root) == 2
