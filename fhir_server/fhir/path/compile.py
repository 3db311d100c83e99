"""From tree to closure: the part of FHIRPath that the search parameters of R4 are written in.

Types are followed while compiling, by the definitions of R4, so that a choice element such as `Observation.value` costs
a few dictionary look-ups when it runs, `as Quantity` costs nothing, and a misspelt element is an error before the first
resource is seen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path import closures
from fhir_server.fhir.path.closures import NOTHING, Path
from fhir_server.fhir.path.parse import parse
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.tree import (
    Binary,
    Call,
    Expression,
    Item,
    Literal,
    Member,
    Special,
    TypeOperation,
    type_name,
)

# What `resolve()` yields: the reference, of which nothing but the type of its target is known.
_RESOLVED: Final = "%resolved"


def compile_path(text: str, definitions: Definitions, focus: str) -> Path:
    """Compile `text` for a focus of type `focus` (a resource type, a datatype, or the path of a backbone element).

    Branches that begin with the name of another resource type yield nothing. Raises PathError for text that is not
    FHIRPath, for elements and types that R4 does not have, and for what is not built.
    """
    try:
        return compile_tree(parsed(text), definitions, focus)
    except RecursionError:
        raise PathError("nested too deeply") from None


# The dates of clinical resources are one expression over thirty types, and compiled for each.
parsed: Final = lru_cache(maxsize=1024)(parse)
"""The tree of an expression that comes with the server, or that it was told to search by."""


def compile_tree(expression: Expression, definitions: Definitions, focus: str) -> Path:
    """The same for a part of an expression that is parsed."""
    return _Compiler(definitions).compile(expression, closures.itself((focus,)))


class _Compiler:
    """`focus` is, in every method, the path of `$this`."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def compile(self, expression: Expression, focus: Path) -> Path:
        match expression:
            case Literal(kind, value) if kind in ("string", "boolean", "integer"):
                return closures.constant(kind, value)
            case Special("this"):
                return focus
            case Member(None, name) if name[:1].isupper():
                return focus if self._of_type(focus, self._known(name)) else NOTHING
            case Member(of, name):
                return self._member(self._of(of, focus), name)
            case Item(of, Literal("integer", int(index))):
                return closures.item(self.compile(of, focus), index)
            case TypeOperation(operator, of, type_):
                return self._type_operation(operator, self.compile(of, focus), type_)
            case Binary(operator, left, right):
                return self._binary(operator, self.compile(left, focus), self.compile(right, focus))
            case Call(of, name, arguments):
                return self._call(self._of(of, focus), name, arguments)
        raise PathError(f"{type(expression).__name__.lower()} is not built")

    def _of(self, expression: Expression | None, focus: Path) -> Path:
        return focus if expression is None else self.compile(expression, focus)

    def _binary(self, operator: str, left: Path, right: Path) -> Path:
        match operator:
            case "|":
                return closures.union(left, right)
            case "=" | "!=":
                return closures.equals(left, right, operator == "=")
            case "and":
                return closures.both(_boolean(left), _boolean(right))
            case "or":
                return closures.either(_boolean(left), _boolean(right))
        raise PathError(f"the operator {operator} is not built")

    def _call(self, of: Path, name: str, arguments: tuple[Expression, ...]) -> Path:
        match name, arguments:
            case (("as" | "ofType" | "is"), (argument,)):
                return self._type_operation(name, of, type_name(argument))
            case "where", (criterion,):
                return self._where(of, criterion)
            case "exists", ():
                return closures.exists(of)
            case "exists", (criterion,):
                return closures.exists(self._where(of, criterion))
            case "extension", (Literal("string") as url,):
                return self._extension(of, url)
            case "hasExtension", (Literal("string") as url,):
                return closures.exists(self._extension(of, url))
            case "resolve", ():
                return Path((_RESOLVED,), closures.values(of)) if of.types else NOTHING
        raise PathError(f"{name}() with {len(arguments)} arguments is not built")

    def _where(self, of: Path, criterion: Expression) -> Path:
        if not of.types:
            return NOTHING
        return closures.where(of, _boolean(self.compile(criterion, closures.itself(of.types))))

    def _extension(self, of: Path, url: Expression) -> Path:
        return self._where(self._member(of, "extension"), Binary("=", Member(None, "url"), url))

    def _member(self, of: Path, name: str) -> Path:
        found = {type_: element for type_ in of.types if (element := self._element(type_, name))}
        if not found and of.types:
            raise PathError(f"no element {name} in {' or '.join(of.types)}")
        if not of.paired:
            return closures.step(of, found[of.types[0]]) if found else NOTHING
        by_type = {type_: closures.step(closures.itself((type_,)), element) for type_, element in found.items()}
        return closures.branch(of, by_type)

    def _element(self, type_: str, name: str) -> dict[str, str]:
        """JSON property → type of one element, nothing if the type has no such element."""
        if type_ == _RESOLVED:
            raise PathError("resolve() is built for `resolve() is [type]` alone")
        definition = self._definitions.type(type_)
        element = definition.elements.get(name)
        if element and definition.is_primitive:
            raise PathError("the id and extensions of a primitive value are not built")
        return dict(element.json_names) if element else {}

    def _type_operation(self, operator: str, of: Path, name: str) -> Path:
        """`as` keeps the items of the type however many there are, as the search parameters of R4 expect."""
        type_ = self._known(name.removeprefix("FHIR."))
        kept = self._of_type(of, type_)
        if of.types == (_RESOLVED,) and operator == "is":
            return closures.refers(of, type_)
        if of.types == ("Resource",) and not kept:
            return closures.is_resource(of, type_) if operator == "is" else closures.resources(of, type_)
        if _RESOLVED in of.types:
            raise PathError("resolve() is built for `resolve() is [type]` alone")
        if operator == "is":
            return closures.has_type(of, kept)
        if of.types and not kept:
            raise PathError(f"{' or '.join(of.types)} can never be {type_}")
        return closures.only(of, kept)

    def _of_type(self, of: Path, wanted: str) -> tuple[str, ...]:
        """The types of a path that are `wanted` or a specialisation of it."""
        return tuple(each for each in of.types if each != _RESOLVED and wanted in self._definitions.ancestry(each))

    def _known(self, name: str) -> str:
        try:
            return self._definitions.type(name).name
        except KeyError:
            raise PathError(f"R4 has no type {name}") from None


def _boolean(path: Path) -> Path:
    if path.types not in ((), ("boolean",)):
        raise PathError("a condition was expected")
    return path
