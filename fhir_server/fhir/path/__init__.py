"""FHIRPath (https://hl7.org/fhirpath/N1): text → tree (the whole grammar) → closure (what search parameters use)."""

from fhir_server.fhir.path.closures import Path
from fhir_server.fhir.path.compile import compile_path
from fhir_server.fhir.path.parse import parse
from fhir_server.fhir.path.tokens import PathError

__all__ = ["Path", "PathError", "compile_path", "parse"]
