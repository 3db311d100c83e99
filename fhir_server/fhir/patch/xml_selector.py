"""The selectors of XML Patch: the part of XPath that RFC 5261 §4.1 allows, read and followed by hand: no more can run.

One thing more is taken, since the values of FHIR stand in attributes: a predicate may compare what a path of children
leads to, as in `identifier[system/@value='urn:x']`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fhir_server.errors import Invalid, Issue, Malformed
from fhir_server.fhir.xml import FHIR, XHTML, Element, elements, is_comment, string_value

_LONGEST: Final = 1_000
_VISITS: Final = 500_000

_NAME: Final = r"[^\W\d][\w.\-]*"
_QNAME: Final = rf"(?:{_NAME}:)?{_NAME}"
_node = re.compile(rf"text\(\)|comment\(\)|@{_QNAME}|{_QNAME}|\*").match
_predicate = re.compile(
    rf"\[\s*(?:([0-9]{{1,9}})|(\.|(?:{_QNAME}/)*@?{_QNAME})\s*=\s*(?:'([^']*)'|\"([^\"]*)\"))\s*\]", re.ASCII
).match
# Prefixes of FHIR's own documents, which patches use without declaring them.
_USUAL: Final = {"f": FHIR, "fhir": FHIR, "h": XHTML, "xhtml": XHTML}

Namespaces: TypeAlias = Mapping[str | None, str]
_Visit: TypeAlias = Callable[[int], None]
_Test: TypeAlias = Callable[[Element, int, _Visit], bool]


@dataclass(frozen=True, slots=True)
class Target:
    """What a selector leads to: an attribute of `holder`, or a part of its content, or the root, which nothing holds.

    `index` counts the content: texts have even numbers, empty ones too, and there is a child between each two.
    """

    holder: Element | None
    index: int = 0
    attribute: str = ""

    @property
    def child(self) -> Element | None:
        """The element or comment that it is, if it is one."""
        if self.holder is None or self.attribute or self.index % 2 == 0:
            return None
        return self.holder[self.index // 2]


@dataclass(frozen=True, slots=True)
class _Step:
    """`name`: of an element or attribute as lxml has it, `*` for any element, `text()`, `comment()`."""

    name: str
    tests: tuple[_Test, ...] = ()
    is_attribute: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it leads to what is no element, and so is the last."""
        return self.is_attribute or self.name.endswith("()")


class Selectors:
    """The selectors of one patch, which may look at so many nodes of the resource and no more."""

    def __init__(self) -> None:
        self._left = _VISITS

    def locate(self, selector: str, namespaces: Namespaces, root: Element) -> Iterator[Target]:
        """Every part of the document that a selector leads to. Malformed if it is none of RFC 5261."""
        first, *steps = _steps(selector, namespaces)
        found = self._fitting([root], first)
        for step in steps:
            if step.is_part:
                return (target for holder in found for target in self._parts(holder, step))
            found = [child for holder in found for child in self._fitting(list(elements(holder)), step)]
        return (_place(element) for element in found)

    def _fitting(self, siblings: list[Element], step: _Step) -> list[Element]:
        self._visit(len(siblings))
        fitting = [each for each in siblings if step.name in ("*", each.tag)]
        for test in step.tests:
            self._visit(len(fitting))
            fitting = [each for place, each in enumerate(fitting, 1) if test(each, place, self._visit)]
        return fitting

    def _parts(self, holder: Element, step: _Step) -> list[Target]:
        """The attribute, the texts or the comments of an element."""
        if step.is_attribute:
            return [Target(holder, attribute=step.name)] if step.name in holder.attrib else []
        self._visit(len(holder))
        if step.name == "text()":
            texts = [holder.text, *(child.tail for child in holder)]
            found = [Target(holder, 2 * index) for index, text in enumerate(texts) if text]
        else:
            found = [Target(holder, 2 * index + 1) for index, child in enumerate(holder) if is_comment(child)]
        for test in step.tests:
            found = [target for place, target in enumerate(found, 1) if test(holder, place, self._visit)]
        return found

    def _visit(self, nodes: int) -> None:
        self._left -= nodes
        if self._left < 0:
            raise Invalid(issues=[Issue("too-costly", f"The selectors of a patch may look at {_VISITS} nodes.")])


def _place(element: Element) -> Target:
    holder = element.getparent()
    return Target(None) if holder is None else Target(holder, 2 * holder.index(element) + 1)


def _steps(selector: str, namespaces: Namespaces) -> list[_Step]:
    text = selector.strip().removeprefix("/")
    if len(text) > _LONGEST:
        raise Malformed(f"A selector has at most {_LONGEST} characters.")
    steps, at = [], 0
    while True:
        step, at = _step(text, at, namespaces)
        steps.append(step)
        if steps[0].is_part:
            raise _no_selector()
        if at == len(text):
            return steps
        if text[at] != "/" or step.is_part:
            raise _no_selector()
        at += 1


def _step(text: str, at: int, namespaces: Namespaces) -> tuple[_Step, int]:
    node = _node(text, at)
    if node is None:
        raise _no_selector()
    name, at = node[0], node.end()
    if name.startswith("@"):
        return _Step(_attribute(name, namespaces), is_attribute=True), at
    is_element = not name.endswith("()")
    tests = []
    while found := _predicate(text, at):
        if not (is_element or found[1]):
            raise _no_selector()
        tests.append(_test(found, namespaces))
        at = found.end()
    return _Step(_element(name, namespaces) if is_element and name != "*" else name, tuple(tests)), at


def _test(found: re.Match[str], namespaces: Namespaces) -> _Test:
    """What a predicate asks of an element and of its place among those that fitted so far."""
    if found[1]:
        number = int(found[1])
        return lambda element, place, visit: place == number
    value = found[3] if found[3] is not None else found[4]
    names = [] if found[2] == "." else found[2].split("/")
    attribute = _attribute(names.pop(), namespaces) if names and names[-1].startswith("@") else ""
    way = [_element(name, namespaces) for name in names]

    def test(element: Element, place: int, visit: _Visit) -> bool:
        ends = _below(element, way, visit)
        return any((each.get(attribute) if attribute else _text(each, visit)) == value for each in ends)

    return test


def _below(element: Element, way: list[str], visit: _Visit) -> list[Element]:
    found = [element]
    for tag in way:
        visit(sum(map(len, found)))
        found = [child for holder in found for child in elements(holder) if child.tag == tag]
    return found


def _text(element: Element, visit: _Visit) -> str:
    text = string_value(element)
    visit(len(text) // 100)
    return text


def attribute_name(name: str, namespaces: Namespaces) -> str:
    """`@name` as lxml has it; without prefix it is in no namespace. Malformed if it is none."""
    found = _node(name)
    if found is None or found[0] != name or not name.startswith("@"):
        raise _no_selector()
    return _attribute(name, namespaces)


def _attribute(name: str, namespaces: Namespaces) -> str:
    prefix, _, local = name[1:].rpartition(":")
    return f"{{{_namespace(prefix, namespaces)}}}{local}" if prefix else local


def _element(name: str, namespaces: Namespaces) -> str:
    """A name without prefix is in the default namespace of the patch (RFC 5261 §4.2.2), which is FHIR's or XHTML."""
    prefix, _, local = name.rpartition(":")
    if prefix:
        return f"{{{_namespace(prefix, namespaces)}}}{local}"
    return f"{{{XHTML if namespaces.get(None) == XHTML else FHIR}}}{local}"


def _namespace(prefix: str, namespaces: Namespaces) -> str:
    found = namespaces.get(prefix) or _USUAL.get(prefix)
    if found is None:
        raise Malformed("A prefix of the selector stands for no namespace.")
    return found


def _no_selector() -> Malformed:
    return Malformed("`sel` is not a selector of RFC 5261.")
