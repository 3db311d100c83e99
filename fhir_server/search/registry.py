"""Which search parameters each resource type has: those of R4 and the project's own, compiled when first asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson

from fhir_server.fhir.definitions import Definitions, ElementDefinition
from fhir_server.fhir.path import Path, compile_path
from fhir_server.search.kinds import KINDS, Kind
from fhir_server.search.kinds.sink import Sink
from fhir_server.search.kinds.string import add_name

# Answered from the row itself, not from the index.
FROM_THE_ROW: Final = frozenset({"_id", "_lastUpdated"})
# Strings that are parts of a HumanName.
_NAME_PARTS: Final = frozenset({"family", "given"})
# What a resource is about decides whose record it is in; its other ties to a Patient count only for types without these
# (consent/compartment.py, which refuses a resource that names two).
_ABOUT: Final = ("patient", "subject", "beneficiary", "individual")
# Types that R4 leaves out of the Patient compartment although they can name their patient.
_BESIDE: Final = {"Contract": "subject", "Device": "patient", "GuidanceResponse": "subject", "Task": "patient"}

Index: TypeAlias = Callable[[dict[str, Any], Sink], None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter of one resource type.

    `type`: number, date, string, token, reference, composite, quantity, uri or special. `url`: the canonical of its
    definition. `types`: the FHIR types it indexes, none when it is not `built`. `system`: of elements of type code, the
    one that R4 requires their codes to be of, "" where it is not one. `components` of a composite: (id of the R4
    parameter, FHIRPath relative to `expression`).
    """

    code: str
    type: str
    url: str
    expression: str = ""
    targets: frozenset[str] = field(default_factory=frozenset)
    aliases: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    built: bool = True
    types: tuple[str, ...] = ()
    system: str = ""

    @property
    def kind(self) -> Kind:
        """How its values are extracted and asked for; KeyError unless it is built."""
        return KINDS[self.type]


@dataclass(frozen=True, slots=True)
class ProjectParameter:
    """A search parameter that R4 does not have, or has under fewer names."""

    base: tuple[str, ...]
    parameter: Parameter


@dataclass(frozen=True, slots=True)
class _Compiled:
    """All that is known of one resource type; `names` has the aliases too."""

    parameters: Mapping[str, Parameter]
    names: Mapping[str, Parameter]
    indexes: tuple[Index, ...]
    holders: frozenset[str]


class SearchRegistry:
    """The search parameters of every resource type. Everything given out is read-only.

    `zone` is where dates without an offset are read, in resources and in searches alike; what is indexed under one zone
    must be indexed again for another. Every method raises KeyError for a resource type that R4 does not have.
    """

    def __init__(
        self, definitions: Definitions, extra: Iterable[ProjectParameter] | None = None, *, zone: tzinfo = UTC
    ) -> None:
        """`extra`: the parameters that R4 does not have; None means those packaged with the project."""
        self.zone = zone
        self._definitions = definitions
        self._extra = project_parameters() if extra is None else tuple(extra)
        self._types: dict[str, _Compiled] = {}

    @property
    def resource_types(self) -> frozenset[str]:
        """The types that can be searched."""
        return self._definitions.resource_types

    def parameters(self, resource_type: str) -> Mapping[str, Parameter]:
        """code → parameter, those of every resource included."""
        return self._type(resource_type).parameters

    def searchable(self, resource_type: str) -> tuple[Parameter, ...]:
        """Those that can be asked for, by code."""
        return tuple(sorted((each for each in self.parameters(resource_type).values() if each.built), key=_code))

    def find(self, resource_type: str, name: str) -> Parameter | None:
        """The parameter of that code or alias."""
        return self._type(resource_type).names.get(name)

    def indexes(self, resource_type: str) -> tuple[Index, ...]:
        """What adds the entries of a resource of that type to a Sink."""
        return self._type(resource_type).indexes

    def holders(self, resource_type: str) -> frozenset[str]:
        """The codes that ask for the patient whose record a resource is in, such as `patient` and `subject`: what is
        found by them for Patient/x is in the record of x and in no other."""
        return self._type(resource_type).holders

    def compartment(self, name: str, resource_type: str) -> tuple[str, ...]:
        """The codes by which a resource of that type is in a compartment `name`; `{def}`: it is the compartment.
        KeyError for an unknown compartment."""
        return self._definitions.compartment(name).get(resource_type, ())

    def _type(self, resource_type: str) -> _Compiled:
        if resource_type not in self._types:
            self._types[resource_type] = self._compile(resource_type)
        return self._types[resource_type]

    def _compile(self, resource_type: str) -> _Compiled:
        parameters, indexes = {}, []
        for parameter in self._known(resource_type):
            parameters[parameter.code] = parameter
            if parameter.built:
                path = compile_path(parameter.expression, self._definitions, resource_type)
                system = self._system(parameter, resource_type) if path.types == ("code",) else ""
                parameters[parameter.code] = replace(parameter, types=path.types, system=system)
                if parameter.code not in FROM_THE_ROW:
                    indexes.append(_index(parameter, path))
        names = {name: each for each in parameters.values() for name in (each.code, *each.aliases)}
        return _Compiled(MappingProxyType(parameters), names, tuple(indexes), self._holding(resource_type, parameters))

    def _known(self, resource_type: str) -> Iterable[Parameter]:
        """The parameters of R4, and the project's own, which take the place of those of the same code."""
        found = {
            code: Parameter(
                code=code,
                type=each.type,
                url=each.url,
                expression=each.expression,
                targets=frozenset({"Patient"}) if code == "patient" else each.targets,
                components=each.components,
                built=bool(each.expression) and each.type in KINDS and each.usage == "normal",
            )
            for code, each in self._definitions.search_parameters(resource_type).items()
        }
        found.update({each.parameter.code: each.parameter for each in self._extra if resource_type in each.base})
        return found.values()

    def _system(self, parameter: Parameter, resource_type: str) -> str:
        """The one system of the codes that every element of the parameter is bound to, "" if there is not one."""
        systems: set[str] = set()
        for path in _paths(parameter, resource_type):
            bound = self._element(resource_type, path).binding
            codes = self._definitions.codes(bound.value_set) if bound and bound.strength == "required" else None
            systems.update(codes or ("", "of its own"))
        return systems.pop() if len(systems) == 1 else ""

    def _element(self, resource_type: str, path: str) -> ElementDefinition:
        *outer, last = path[1:].split(".")
        type_ = resource_type
        for name in outer:
            type_ = self._definitions.type(type_).properties[name][1]
        return self._definitions.type(type_).elements[last]

    def _holding(self, resource_type: str, parameters: Mapping[str, Parameter]) -> frozenset[str]:
        if resource_type == "Patient":
            return frozenset()
        placing = [code for code in self.compartment("Patient", resource_type) if code in parameters]
        deciding = [code for code in placing if code in _ABOUT] or placing or [_BESIDE.get(resource_type, "")]
        places = {path for code in deciding for path in _paths(parameters.get(code), resource_type)}
        return frozenset(
            code
            for code, each in parameters.items()
            if "Patient" in each.targets and (paths := _paths(each, resource_type)) and paths <= places
        )


def project_parameters() -> tuple[ProjectParameter, ...]:
    """The search parameters of the guides that the project follows, from the packaged `profiles`."""
    rows = orjson.loads(files("profiles").joinpath("pdsm", "search-parameters.json").read_bytes())
    return tuple(
        ProjectParameter(
            base=tuple(row["base"]),
            parameter=Parameter(
                code=row["code"],
                type=row["type"],
                url=row["url"],
                expression=row["expression"],
                targets=frozenset(row.get("targets", ())),
                aliases=tuple(row.get("aliases", ())),
            ),
        )
        for row in rows
    )


def _code(parameter: Parameter) -> str:
    return parameter.code


def _paths(parameter: Parameter | None, resource_type: str) -> set[str]:
    """The elements that the branches of the parameter's expression for that type lead to, functions left off."""
    expression = parameter.expression if parameter else ""
    return set(re.findall(rf"\b{resource_type}((?:\.\w+\b(?!\())+)", expression))


def _index(parameter: Parameter, path: Path) -> Index:
    """Adds the entries of one parameter. KeyError when the expression leads to a type that its kind does not know."""
    code, run = parameter.code, path.run
    adds = {type_: parameter.kind.add[type_] for type_ in path.types}
    if code in _NAME_PARTS and "string" in adds:
        adds["string"] = add_name
    if path.paired:

        def index_pairs(resource: dict[str, Any], sink: Sink) -> None:
            for type_, value in run(resource):
                adds[type_](code, value, sink)

        return index_pairs
    (add,) = adds.values()

    def index(resource: dict[str, Any], sink: Sink) -> None:
        for value in run(resource):
            add(code, value, sink)

    return index
