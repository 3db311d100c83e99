"""What R4 itself defines: types and their elements, search parameters, compartments, operations, required codes.

Read from the tables under `profiles/r4` and `terminologies/r4`, which `profiles/r4/compile.py` makes from the official
package. Everything given out is read-only; what is large is built when first asked for and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import orjson

Kind = Literal["resource", "complex-type", "primitive-type", "backbone"]
Row = dict[str, Any]

_SEARCH_PARAMETER = "http://hl7.org/fhir/SearchParameter/"
_OPERATION = "http://hl7.org/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class Binding:
    """A value set bound to an element (https://hl7.org/fhir/R4/terminologies.html#strength).

    `widest` is the value set beyond which no code may go even when the binding is weaker than required.
    """

    strength: Literal["required", "extensible", "preferred", "example"]
    value_set: str
    widest: str = ""


@dataclass(frozen=True, slots=True)
class ElementDefinition:
    """One element of a type (https://hl7.org/fhir/R4/elementdefinition.html).

    `name` is without `[x]`. `types` are names to give to `Definitions.type`: a datatype, or the path of the backbone
    element itself (`Patient.contact`), or the path a contentReference leads to. `targets` are the resource types a
    Reference may point to, none meaning any. `simple` says that a Quantity has no comparator (SimpleQuantity).
    """

    path: str
    name: str
    types: tuple[str, ...]
    min: int = 0
    many: bool = False
    choice: bool = False
    targets: frozenset[str] = frozenset()
    simple: bool = False
    binding: Binding | None = None
    is_modifier: bool = False
    is_summary: bool = False
    xml_attribute: bool = False

    @property
    def json_names(self) -> Mapping[str, str]:
        """JSON property → type: `{"valueString": "string", …}` of a choice, `{"name": "HumanName"}` otherwise."""
        if not self.choice:
            return {self.name: self.types[0]}
        return {self.name + name[0].upper() + name[1:]: name for name in self.types}


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A resource type, a datatype, or a backbone element under its path.

    `elements` holds the inherited ones too, in the order R4 gives them (the order of XML), by name without `[x]`.
    `properties` leads from a JSON property to its element and type.
    """

    name: str
    kind: Kind
    base: str
    elements: Mapping[str, ElementDefinition]
    properties: Mapping[str, tuple[ElementDefinition, str]]

    @property
    def is_primitive(self) -> bool:
        """Whether its values are JSON strings, numbers or booleans."""
        return self.kind == "primitive-type"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule in FHIRPath, evaluated on the element it is stated on."""

    key: str
    severity: Literal["error", "warning"]
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter (https://hl7.org/fhir/R4/searchparameter.html).

    `expression` is a FHIRPath union over all its base types, empty where R4 gives none (`_text`, `_content` …).
    `components` of a composite are (id of the parameter, FHIRPath relative to `expression`).
    """

    id: str
    code: str
    base: tuple[str, ...]
    type: Literal["number", "date", "string", "token", "reference", "composite", "quantity", "uri", "special"]
    expression: str = ""
    targets: frozenset[str] = frozenset()
    components: tuple[tuple[str, str], ...] = ()
    modifiers: tuple[str, ...] = ()
    usage: Literal["normal", "phonetic", "nearby"] = "normal"

    @property
    def url(self) -> str:
        """The canonical of the parameter."""
        return _SEARCH_PARAMETER + self.id


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """A parameter of an operation; `max` is a number or `*`, `type` empty where it has parts."""

    name: str
    use: Literal["in", "out"]
    min: int
    max: str
    type: str = ""
    search: str = ""
    targets: tuple[str, ...] = ()
    parts: tuple[OperationParameter, ...] = ()


@dataclass(frozen=True, slots=True)
class OperationDefinition:
    """An operation (https://hl7.org/fhir/R4/operationdefinition.html): of which types, and what it takes and gives."""

    id: str
    code: str
    kind: Literal["operation", "query"]
    affects_state: bool
    resources: tuple[str, ...]
    parameters: tuple[OperationParameter, ...]

    @property
    def url(self) -> str:
        """The canonical of the operation."""
        return _OPERATION + self.id


@dataclass(frozen=True, eq=False)
class Definitions:
    """The definitions of R4, made once by `load_definitions` and passed around.

    Equal to nothing but itself, so that what is compiled from it can be kept under it.
    """

    _rows: Mapping[str, Row]
    _types: dict[str, TypeDefinition] = field(default_factory=dict, repr=False)
    _search: dict[str, Mapping[str, SearchParameter]] = field(default_factory=dict, repr=False)

    @cached_property
    def resource_types(self) -> frozenset[str]:
        """The 146 types a resource can have; not the abstract Resource and DomainResource."""
        return frozenset(
            name for name, row in self._rows.items() if row["kind"] == "resource" and not row.get("abstract")
        )

    def type(self, name: str) -> TypeDefinition:
        """The type of this name (`Patient`, `HumanName`, `code`, `Patient.contact`); KeyError if there is none."""
        if name not in self._types:
            self._types[name] = self._build(name)
        return self._types[name]

    def ancestry(self, name: str) -> Iterator[str]:
        """The type and what it specialises, nearest first: `Patient`, `DomainResource`, `Resource`."""
        while name:
            yield name
            name = self._rows[name].get("base", "")

    def invariants(self, path: str) -> tuple[Invariant, ...]:
        """The rules stated on a type or element path, without those it inherits."""
        return tuple(Invariant(key, *rule) for key, rule in self._invariants.get(path, {}).items())

    def search_parameters(self, resource_type: str) -> Mapping[str, SearchParameter]:
        """code → parameter of a resource type, with those every resource has; KeyError for an unknown type."""
        if resource_type not in self._search:
            bases = set(self.ancestry(resource_type))
            known = self.search_parameters_by_id.values()
            found = {p.code: p for p in known if not bases.isdisjoint(p.base)}
            self._search[resource_type] = MappingProxyType(dict(sorted(found.items())))
        return self._search[resource_type]

    @cached_property
    def search_parameters_by_id(self) -> Mapping[str, SearchParameter]:
        """Every search parameter by the last part of its canonical; where the components of a composite lead."""
        table = _table("profiles", "search_parameters.json")
        return MappingProxyType({id: _search_parameter(id, row) for id, row in table.items()})

    def compartment(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """resource type → codes of the search parameters that place it in the compartment `Patient`, `Encounter`,
        `Device`, `Practitioner` or `RelatedPerson` (`{def}`: the resource itself). KeyError for another name."""
        return self._compartments[name]

    @cached_property
    def operations(self) -> tuple[OperationDefinition, ...]:
        """The operations R4 defines, by id."""
        table = _table("profiles", "operations.json")
        return tuple(_operation(id, row) for id, row in table.items())

    def codes(self, value_set: str) -> Mapping[str, frozenset[str] | None] | None:
        """system → codes of a value set that some element requires; None for a system as a whole, whose codes the
        package does not list (MIME types, UCUM). None if the value set is not one of those."""
        return self._codes.get(value_set.partition("|")[0])

    @cached_property
    def _invariants(self) -> Mapping[str, Row]:
        return _table("profiles", "invariants.json")

    @cached_property
    def _compartments(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        table = _table("profiles", "compartments.json")
        return {
            name: MappingProxyType({type: tuple(codes) for type, codes in rows.items()}) for name, rows in table.items()
        }

    @cached_property
    def _codes(self) -> Mapping[str, Mapping[str, frozenset[str] | None]]:
        table = _table("terminologies", "codes.json")
        return {
            url: MappingProxyType({s: frozenset(c) if c is not None else None for s, c in systems.items()})
            for url, systems in table.items()
        }

    def _build(self, name: str) -> TypeDefinition:
        """The type with its own elements after those of its base."""
        row = self._rows[name]
        base = row.get("base", "")
        elements = dict(self.type(base).elements) if base else {}
        own = (self._element(name, e) for e in row.get("elements", ()))
        elements.update((element.name, element) for element in own)
        properties = {key: (e, type) for e in elements.values() for key, type in e.json_names.items()}
        return TypeDefinition(
            name,
            row["kind"],
            base,
            MappingProxyType(elements),
            MappingProxyType(properties),
        )

    def _element(self, parent: str, row: Row) -> ElementDefinition:
        """One element of the type or backbone element `parent`."""
        path = f"{parent}.{row['name']}"
        declared = row.get("content") or (path if path in self._rows else row["type"])
        bound = row.get("binding")
        return ElementDefinition(
            path=path,
            name=row["name"].removesuffix("[x]"),
            types=(declared,) if isinstance(declared, str) else tuple(declared),
            min=row.get("min", 0),
            many=row.get("many", False),
            choice=row["name"].endswith("[x]"),
            targets=frozenset(row.get("targets", ())),
            simple=row.get("simple", False),
            binding=Binding(*bound) if bound else None,
            is_modifier=row.get("modifier", False),
            is_summary=row.get("summary", False),
            xml_attribute=row.get("attribute", False),
        )


def load_definitions() -> Definitions:
    """The definitions of R4 as packaged with the server. Reads the table of elements now, the others when asked."""
    return Definitions(_table("profiles", "elements.json"))


def _table(folder: str, name: str) -> dict[str, Row]:
    """One packaged table of R4."""
    table: dict[str, Row] = orjson.loads(files(folder).joinpath("r4", name).read_bytes())
    return table


def _search_parameter(id: str, row: Row) -> SearchParameter:
    return SearchParameter(
        id=id,
        code=row["code"],
        base=tuple(row["base"]),
        type=row["type"],
        expression=row.get("expression", ""),
        targets=frozenset(row.get("targets", ())),
        components=tuple((component, path) for component, path in row.get("components", ())),
        modifiers=tuple(row.get("modifiers", ())),
        usage=row.get("usage", "normal"),
    )


def _operation(id: str, row: Row) -> OperationDefinition:
    return OperationDefinition(
        id=id,
        code=row["code"],
        kind=row["kind"],
        affects_state=row.get("affects", False),
        resources=tuple(row.get("resources", ())),
        parameters=tuple(_operation_parameter(p) for p in row.get("parameters", ())),
    )


def _operation_parameter(row: Row) -> OperationParameter:
    return OperationParameter(
        name=row["name"],
        use=row["use"],
        min=row.get("min", 0),
        max=row["max"],
        type=row.get("type", ""),
        search=row.get("search", ""),
        targets=tuple(row.get("targets", ())),
        parts=tuple(_operation_parameter(p) for p in row.get("parts", ())),
    )
