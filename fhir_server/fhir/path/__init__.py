"""FHIRPath (https://hl7.org/fhirpath/N1): one grammar, compiled in two ways.

`compile_expression` is all of FHIRPath with the additions of FHIR R4 (https://hl7.org/fhir/R4/fhirpath.html): for
FHIRPath Patch, invariants and whatever comes from outside. It gives nodes that know their place in the tree.

`compile_path` is the part that search parameters are written in. Its types are settled while compiling, its items are
the plain JSON values: a path costs a microsecond, some twenty times less, and an index is made of dozens for every
resource written. What it does not build, it refuses.
"""

from fhir_server.fhir.path.closures import Path
from fhir_server.fhir.path.compile import compile_path, compile_tree
from fhir_server.fhir.path.expression import Expression, compile_expression, expression_of
from fhir_server.fhir.path.frame import Budget
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.parse import parse
from fhir_server.fhir.path.tokens import PathError

__all__ = [
    "Budget",
    "Expression",
    "Node",
    "Path",
    "PathError",
    "compile_expression",
    "compile_path",
    "compile_tree",
    "expression_of",
    "parse",
]
