"""What every page has: of WCAG 2.2 as far as markup shows it, and the headers that keep it to itself."""

from __future__ import annotations

from itertools import pairwise

from tests.portal.browser import Page


def check(name: str, page: Page, language: str) -> None:
    """What every page has, of WCAG 2.2 as far as the markup shows it."""
    root = page.root
    assert root.get("lang") == language, name
    assert root.xpath("string(//title)").strip(), name
    assert len(root.xpath("//h1")) == 1, name
    assert len(root.xpath("//main")) == 1, name
    levels = [int(each.tag[1]) for each in root.iter("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels)), (name, levels)
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids)), (name, ids)
    labelled = {each.get("for") for each in root.iter("label")}
    for field in root.iter("input", "select", "textarea"):
        assert field.get("type") == "hidden" or field.get("id") in labelled, (name, field.attrib)
    for each in root.xpath("//*[@aria-describedby]"):
        assert set(each.get("aria-describedby").split()) <= set(ids), name
    for choice in root.xpath("//input[@type='radio' or @type='checkbox']"):
        lone = len(root.xpath(f"//input[@name='{choice.get('name')}']")) == 1
        assert lone or choice.xpath("ancestor::fieldset/legend"), (name, choice.attrib)
    for link in root.xpath("//a[starts-with(@href, '#')]"):
        assert link.get("href")[1:] in ids, (name, link.attrib)
    for control in root.iter("button", "a"):
        assert (control.get("aria-label") or "".join(control.itertext())).strip(), name
    assert not root.xpath("//script | //@onclick | //@style | //style"), name


def check_headers(name: str, page: Page) -> None:
    """Kept by nobody, framed by nobody, loading nothing but its style."""
    headers = page.response.headers
    assert headers["cache-control"] == "no-store", name
    assert headers["x-content-type-options"] == "nosniff", name
    rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'", name
    assert rules["style-src"] == "'self'", name
    assert rules["frame-ancestors"] == "'none'", name
    assert rules["form-action"].startswith("'self'"), name
    assert "script-src" not in rules, name
