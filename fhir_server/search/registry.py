"""Which search parameters each resource type has: those of R4 and the project's own, compiled when first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import orjson

from fhir_server.fhir.definitions import Definitions, ElementDefinition, SearchParameter
from fhir_server.fhir.path import compile_path
from fhir_server.search.composite import components
from fhir_server.search.index import Indexes, index_of
from fhir_server.search.kinds.prose import Layouts
from fhir_server.search.parameter import FROM_THE_ROW, SPECIAL, Parameter, ProjectParameter, places

__all__ = ["Parameter", "ProjectParameter", "SearchRegistry", "project_parameters"]

# What a resource is about decides whose record it is in; its other ties to a Patient count only for types without these
# (consent/compartment.py, which refuses a resource that names two).
_ABOUT: Final = ("patient", "subject", "beneficiary", "individual")
# Types that R4 leaves out of the Patient compartment although they can name their patient.
_BESIDE: Final = {"Contract": "subject", "Device": "patient", "GuidanceResponse": "subject", "Task": "patient"}


@dataclass(frozen=True, slots=True)
class _Compiled:
    """All that is known of one resource type; `names` has the aliases too."""

    parameters: Mapping[str, Parameter]
    names: Mapping[str, Parameter]
    indexes: Indexes
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
        self.definitions = definitions
        self._extra = project_parameters() if extra is None else tuple(extra)
        packaged = frozenset(project_parameters()) if self._extra else frozenset()
        self.custom = frozenset(
            each.parameter.code for each in self._extra if each.parameter.built and each not in packaged
        )
        """The codes of parameters that did not come with this server."""
        self._layouts = Layouts(definitions)
        self._types: dict[str, _Compiled] = {}

    @property
    def resource_types(self) -> frozenset[str]:
        """The types that can be searched."""
        return self.definitions.resource_types

    def parameters(self, resource_type: str) -> Mapping[str, Parameter]:
        """code → parameter, those of every resource included."""
        return self._type(resource_type).parameters

    def searchable(self, resource_type: str) -> tuple[Parameter, ...]:
        """Those that can be asked for, by code."""
        return tuple(sorted((each for each in self.parameters(resource_type).values() if each.built), key=_code))

    def find(self, resource_type: str, name: str) -> Parameter | None:
        """The parameter of that code or alias."""
        return self._type(resource_type).names.get(name)

    def indexes(self, resource_type: str) -> Indexes:
        """What adds the entries of a resource of that type to a Sink."""
        return self._type(resource_type).indexes

    def holders(self, resource_type: str) -> frozenset[str]:
        """The codes that ask for the patient whose record a resource is in, such as `patient` and `subject`: what is
        found by them for Patient/x is in the record of x and in no other."""
        return self._type(resource_type).holders

    def compartment(self, name: str, resource_type: str) -> tuple[str, ...]:
        """The codes by which a resource of that type is in a compartment `name`; `{def}`: it is the compartment.
        KeyError for an unknown compartment."""
        return self.definitions.compartment(name).get(resource_type, ())

    def members(self, name: str) -> tuple[str, ...]:
        """The types whose resources can be in a compartment `name`, itself included; KeyError for an unknown one."""
        placed = self.definitions.compartment(name)
        return tuple(type_ for type_ in sorted(self.resource_types) if placed.get(type_) or type_ == name)

    def _type(self, resource_type: str) -> _Compiled:
        if resource_type not in self._types:
            self._types[resource_type] = self._compile(resource_type)
        return self._types[resource_type]

    def _compile(self, resource_type: str) -> _Compiled:
        parameters: dict[str, Parameter] = {}
        indexes = Indexes(self._layouts.of(resource_type))
        # Composites are made of the others.
        for known in sorted(self._known(resource_type), key=lambda each: each.type == "composite"):
            parameter = self._typed(known, resource_type, parameters)
            parameters[parameter.code] = parameter
            if parameter.built and parameter.expression and parameter.code not in FROM_THE_ROW:
                indexes.add(*index_of(parameter, self.definitions, resource_type))
        parameters = dict(sorted(parameters.items()))
        names = {name: each for each in parameters.values() for name in (each.code, *each.aliases)}
        return _Compiled(MappingProxyType(parameters), names, indexes, self._holding(resource_type, parameters))

    def _typed(self, parameter: Parameter, resource_type: str, known: Mapping[str, Parameter]) -> Parameter:
        """With what can only be told for one resource type."""
        if not (parameter.built and parameter.expression):
            return parameter
        if parameter.type == "composite":
            defined = self.definitions.search_parameters(resource_type)[parameter.code]
            return replace(parameter, components=components(defined, self.definitions, resource_type, known))
        path = compile_path(parameter.expression, self.definitions, resource_type)
        system = self._system(parameter, resource_type) if path.types == ("code",) else ""
        return replace(parameter, types=path.types, system=system, single=self._is_single(parameter, resource_type))

    def _known(self, resource_type: str) -> Iterable[Parameter]:
        """The parameters of R4, and the project's own, which take the place of those of the same code."""
        found = {
            code: Parameter(
                code=code,
                type=each.type,
                url=each.url,
                expression=each.expression,
                targets=frozenset({"Patient"}) if code == "patient" else each.targets,
                built=_is_built(each),
                usage=each.usage,
            )
            for code, each in self.definitions.search_parameters(resource_type).items()
        }
        found.update({each.parameter.code: each.parameter for each in self._extra if resource_type in each.base})
        return found.values()

    def _system(self, parameter: Parameter, resource_type: str) -> str:
        """The one system of the codes that every element of the parameter is bound to, "" if there is not one."""
        systems: set[str] = set()
        for path in places(parameter.expression, resource_type):
            bound = self._element(resource_type, path).binding
            codes = self.definitions.codes(bound.value_set) if bound and bound.strength == "required" else None
            systems.update(codes or ("", "of its own"))
        return systems.pop() if len(systems) == 1 else ""

    def _is_single(self, parameter: Parameter, resource_type: str) -> bool:
        """Whether its one branch for the type is a plain path of elements that do not repeat."""
        found = sorted(places(parameter.expression, resource_type))
        if len(found) != 1 or "(" in parameter.expression:
            return False
        steps = found[0][1:].split(".")
        paths = ("." + ".".join(steps[: end + 1]) for end in range(len(steps)))
        return not any(self._element(resource_type, path).many for path in paths)

    def _element(self, resource_type: str, path: str) -> ElementDefinition:
        *outer, last = path[1:].split(".")
        type_ = resource_type
        for name in outer:
            type_ = self.definitions.type(type_).properties[name][1]
        return self.definitions.type(type_).elements[last]

    def _holding(self, resource_type: str, parameters: Mapping[str, Parameter]) -> frozenset[str]:
        if resource_type == "Patient":
            return frozenset()
        placing = [code for code in self.compartment("Patient", resource_type) if code in parameters]
        deciding = [code for code in placing if code in _ABOUT] or placing or [_BESIDE.get(resource_type, "")]
        elements = {path for code in deciding for path in places(_expression(parameters.get(code)), resource_type)}
        return frozenset(
            code
            for code, each in parameters.items()
            if "Patient" in each.targets and (paths := places(each.expression, resource_type)) and paths <= elements
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


def _expression(parameter: Parameter | None) -> str:
    return parameter.expression if parameter else ""


def _is_built(defined: SearchParameter) -> bool:
    """All but positions (`near`), queries by name, and what R4 gives no expression for."""
    return defined.code in SPECIAL or (bool(defined.expression) and defined.type != "special")
