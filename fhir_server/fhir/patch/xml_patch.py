"""XML Patch (RFC 5261): operations on the XML of a resource, in their order.

The document is the one that a read in XML gives out, without white space between its elements: a directive about white
space (`ws`) has nothing to do. Where among its siblings an element is added matters only to a list.
"""

from __future__ import annotations

from itertools import islice
from types import MappingProxyType
from typing import Final

from fhir_server.errors import Invalid, Issue, Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.patch import MOST_OPERATIONS, inapplicable
from fhir_server.fhir.patch.xml_selector import Selectors, Target, attribute_name
from fhir_server.fhir.xml import Element, attributes, declare, elements, is_element, local_name, parse_document, splice
from fhir_server.fhir.xml.read import resource_json
from fhir_server.fhir.xml.write import to_xml

# RFC 7351 names the first, and says where the operations are to be found: in the root, whatever it is called.
_ROOTS: Final = ("patch", "diff")
_ATTRIBUTES: Final = MappingProxyType(
    {
        "add": frozenset({"sel", "type", "pos"}),
        "replace": frozenset({"sel"}),
        "remove": frozenset({"sel", "ws"}),
    }
)


def apply(body: bytes, patch: bytes, definitions: Definitions) -> bytes:
    """The resource after every operation, or none; not yet judged by the validator.

    Malformed for what is no XML Patch. Invalid, naming the operation, where one does not fit, and where the outcome is
    no resource in XML.
    """
    root = patched(to_xml(body, definitions), patch)
    try:
        return resource_json(root, definitions)
    except Malformed as error:
        raise Invalid(issues=error.issues) from None


def patched(document: bytes, patch: bytes) -> Element:
    """The root of any XML document after every operation of a patch; errors as for `apply`."""
    root, operations = parse_document(document), _operations(patch)
    selectors = Selectors()
    for index, operation in enumerate(operations):
        _Operation(operation, f"patch[{index}]").run(root, selectors)
    return root


def _operations(patch: bytes) -> list[Element]:
    root = parse_document(patch)
    operations = list(elements(root))
    if local_name(root) not in _ROOTS or not operations:
        raise Malformed("An XML Patch is a `patch` with at least one operation in it.")
    if len(operations) > MOST_OPERATIONS:
        raise Invalid(issues=[Issue("too-costly", f"A patch may have {MOST_OPERATIONS} operations.")])
    return operations


class _Operation:
    """One `add`, `replace` or `remove`; `place` is where it stands in the patch."""

    def __init__(self, element: Element, place: str) -> None:
        self._element = element
        self._place = place

    def run(self, root: Element, selectors: Selectors) -> None:
        """Change the document."""
        name = local_name(self._element)
        if not _ATTRIBUTES.get(name, frozenset()).issuperset(key for key, _ in attributes(self._element)):
            raise self._malformed("An operation is `add`, `replace` or `remove`, with the attributes of RFC 5261.")
        target = self._located(root, selectors)
        if name == "add":
            self._add(target, root)
        elif target.holder is None:
            raise inapplicable("The root stays.", self._place)
        elif target.attribute:
            self._change_attribute(target.holder, target.attribute, name)
        else:
            splice(target.holder, target.index, self._replacement(target) if name == "replace" else [], removed=True)

    def _located(self, root: Element, selectors: Selectors) -> Target:
        try:
            found = list(islice(selectors.locate(self._element.get("sel", ""), self._element.nsmap, root), 2))
        except Malformed as error:
            raise self._malformed(str(error)) from None
        if len(found) != 1:
            raise inapplicable(f"The selector leads to {'several nodes' if found else 'nothing'}.", self._place)
        return found[0]

    def _add(self, target: Target, root: Element) -> None:
        kind, position = self._element.get("type"), self._element.get("pos")
        if position in ("before", "after"):
            if target.holder is None or target.attribute or kind:
                raise inapplicable("Nothing can stand before or after this.", self._place)
            splice(target.holder, target.index + (position == "after"), self._content())
            return
        element = root if target.holder is None else target.child
        if element is None or not is_element(element):
            raise inapplicable("Only an element has content.", self._place)
        if position not in (None, "prepend"):
            raise self._malformed("`pos` is prepend, before or after.")
        if kind:
            self._add_to_tag(element, kind)
        else:
            splice(element, 0 if position else 2 * len(element) + 1, self._content())

    def _add_to_tag(self, element: Element, kind: str) -> None:
        """An attribute, or the prefix of a namespace."""
        if kind.startswith("namespace::"):
            try:
                declare(element, kind.removeprefix("namespace::"), self._text())
            except ValueError:
                raise self._malformed("This is no prefix of a namespace.") from None
            return
        try:
            name = attribute_name(kind, self._element.nsmap)
        except Malformed:
            raise self._malformed("`type` is an attribute or a namespace.") from None
        if name in element.attrib:
            raise inapplicable("There is such an attribute already.", self._place)
        element.set(name, self._text())

    def _change_attribute(self, holder: Element, attribute: str, operation: str) -> None:
        if operation == "replace":
            holder.set(attribute, self._text())
        else:
            del holder.attrib[attribute]

    def _replacement(self, target: Target) -> list[str | Element]:
        """Text for text, one element for an element, one comment for a comment."""
        replaced = target.child
        if replaced is None:
            return [self._text()]
        content = [each for each in self._content() if not isinstance(each, str) or each.strip()]
        if len(content) != 1 or isinstance(content[0], str) or is_element(content[0]) != is_element(replaced):
            raise self._malformed("An element is replaced by one element, a comment by one comment.")
        return content

    def _content(self) -> list[str | Element]:
        """What the operation brings: texts and nodes, the latter taken out of it."""
        content: list[str | Element] = [self._element.text or ""]
        for node in list(self._element):
            content += [node, node.tail or ""]
            node.tail = None
        return content

    def _text(self) -> str:
        if len(self._element):
            raise self._malformed("Text is expected.")
        return self._element.text or ""

    def _malformed(self, text: str) -> Malformed:
        return Malformed(text, expression=self._place)
