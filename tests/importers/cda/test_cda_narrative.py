"""The narrative block of a section becomes safe XHTML (importers §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhir_server.fhir.narrative import narrative_problems
from importers.cda.narrative import xhtml

MEDIA = {"img": ("urn:uuid:6f0e3c5e-35c1-4b62-9c0a-8a6a3a1f0001", "Radio & co"), "doc": ("urn:uuid:2", "Lettre")}


def shown(content: str, namespaces: str = "") -> str:
    """What is inside the div of a text with that content."""
    element = etree.fromstring(f'<text xmlns="urn:hl7-org:v3" {namespaces}>{content}</text>')
    found = xhtml(element, "s1-", MEDIA)
    assert found is not None
    assert narrative_problems(found) == []
    return found.removeprefix('<div xmlns="http://www.w3.org/1999/xhtml">').removesuffix("</div>")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a &amp; b &lt; c", "a &amp; b &lt; c"),
        ("<paragraph>a</paragraph>", "<p>a</p>"),
        ('<content ID="x" styleCode="Bold">a</content>', '<span id="s1-x">a</span>'),
        ("<list><item>a</item></list>", "<ul><li>a</li></ul>"),
        ('<list listType="ordered"><caption>t</caption><item>a</item></list>', "<ol><span>t</span><li>a</li></ol>"),
        (
            '<list listType="ordered"><item><list><item>a</item></list></item></list>',
            "<ol><li><ul><li>a</li></ul></li></ol>",
        ),
        (
            '<table border="1" width="100%"><caption>t</caption><thead><tr><th align="left">a</th></tr></thead>'
            '<tbody><tr ID="r"><td colspan="2" rowspan="x">b</td></tr></tbody></table>',
            "<table><caption>t</caption><thead><tr><th>a</th></tr></thead>"
            '<tbody><tr id="s1-r"><td colspan="2">b</td></tr></tbody></table>',
        ),
        ("<table><tr><td/><td>b</td></tr></table>", "<table><tr><td></td><td>b</td></tr></table>"),
        ('<table><colgroup><col width="1"/></colgroup><tbody><tr><td>b</td></tr></tbody></table>',
         "<table><colgroup><col/></colgroup><tbody><tr><td>b</td></tr></tbody></table>"),
        ("a<br/>b<sub>2</sub><sup>3</sup>", "a<br/>b<sub>2</sub><sup>3</sup>"),
        ("<footnote>n</footnote>", "<span>n</span>"),
        ("a  \n\t b\u00a0c", "a b\u00a0c"),
        ("<![CDATA[<script>x</script>]]>", "&lt;script&gt;x&lt;/script&gt;"),
    ],
)  # fmt: skip
def test_each_element_has_its_xhtml(given: str, expected: str) -> None:
    """Names of the allow-list; attributes but the ID, the spans and links are dropped, white space folded."""
    assert shown(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('<linkHtml href="https://a.fr/?a=1&amp;b=2">l</linkHtml>', '<a href="https://a.fr/?a=1&amp;b=2">l</a>'),
        ('<linkHtml href="#x">l</linkHtml>', '<a href="#s1-x">l</a>'),
        ('<linkHtml href="javascript:alert(1)">l</linkHtml>', "<span>l</span>"),
        ('<linkHtml href=" javascript:alert(1)">l</linkHtml>', "<span>l</span>"),
        ('<linkHtml href="&#106;avascript:alert(1)">l</linkHtml>', "<span>l</span>"),
        ('<linkHtml href="data:text/html,x">l</linkHtml>', "<span>l</span>"),
        ("<linkHtml>l</linkHtml>", "<span>l</span>"),
        ('<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>', "alert(1)"),
        ('<paragraph onclick="x()" style="color:red">a</paragraph>', "<p>a</p>"),
        ('<iframe src="x">a</iframe><object data="x">b</object>', "ab"),
        ('<img src="x" onerror="y"/>a', "a"),
        ('<content ID="&quot; onclick=&quot;x">a</content>', '<span id="s1-&quot; onclick=&quot;x">a</span>'),
    ],
)
def test_nothing_active_gets_through(given: str, expected: str) -> None:
    """Links of two schemes and within the text; of any other element the text alone stays."""
    assert shown(given) == expected


def test_media_are_linked_and_never_inlined() -> None:
    """By the ID of the attachment, with its title; an unknown one leaves no link."""
    link = f'<a href="{MEDIA["img"][0]}">Radio &amp; co</a>'
    assert shown('<renderMultiMedia referencedObject="img"/>') == f"<span>{link}</span>"
    both = shown('<renderMultiMedia referencedObject="img doc"><caption>c</caption></renderMultiMedia>')
    assert both == f'<span>{link}<a href="urn:uuid:2">Lettre</a><span>c</span></span>'
    assert shown('a<renderMultiMedia referencedObject="other"/>') == "a<span></span>"


def test_prefixes_and_other_namespaces_change_nothing() -> None:
    """`c:td` is a cell like any other."""
    prefixed = "<c:table><c:tbody><c:tr><c:td ID='a'>x</c:td></c:tr></c:tbody></c:table><c:paragraph>y</c:paragraph>"
    found = shown(prefixed, 'xmlns:c="urn:hl7-org:v3"')
    assert found == '<table><tbody><tr><td id="s1-a">x</td></tr></tbody></table><p>y</p>'


@pytest.mark.parametrize("content", ["", "  ", "<paragraph/>", "<table><tbody><tr><td> </td></tr></tbody></table>"])
def test_an_empty_narrative_is_none(content: str) -> None:
    """txt-2 wants something to read."""
    assert xhtml(etree.fromstring(f'<text xmlns="urn:hl7-org:v3">{content}</text>'), "s1-", MEDIA) is None
    assert xhtml(None, "s1-", MEDIA) is None


NAMES = (
    "table thead tbody tr th td list item paragraph content caption linkHtml renderMultiMedia br col script style a b x"
)
TREES = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6),
    lambda inner: st.tuples(
        st.sampled_from(NAMES.split()),
        st.dictionaries(
            st.sampled_from(["ID", "href", "colspan", "referencedObject", "onclick", "listType", "style"]),
            st.sampled_from(["#a", "http://x", "javascript:x", '"><script>', "2", "img", "ordered", "a'b", "é"]),
            max_size=2,
        ),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


def built(tree: object) -> etree._Element:
    """The tree as an element of a text."""
    root = etree.Element("{urn:hl7-org:v3}text", nsmap={None: "urn:hl7-org:v3"})

    def grow(parent: etree._Element, node: object) -> None:
        if isinstance(node, str):
            last = parent[-1] if len(parent) else None
            if last is None:
                parent.text = (parent.text or "") + node
            else:
                last.tail = (last.tail or "") + node
            return
        name, attributes, inner = node  # type: ignore[misc]
        element = etree.SubElement(parent, f"{{urn:hl7-org:v3}}{name}", attributes)
        for each in inner:
            grow(element, each)

    grow(root, tree)
    return root


@given(TREES)
def test_any_block_becomes_a_narrative_that_may_be_shown_and_keeps_its_words(tree: object) -> None:
    """Whatever the nesting: well-formed, of the allow-list, no word lost."""
    element = built(tree)
    found = xhtml(element, "s1-", {})
    words = "".join("".join(map(str, element.itertext())).split())
    if found is None:
        assert words.replace("\u00a0", "") == ""
        return
    assert narrative_problems(found) == []
    assert "".join("".join(map(str, etree.fromstring(found).itertext())).split()) == words
