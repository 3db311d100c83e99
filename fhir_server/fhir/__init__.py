"""FHIR R4 as such: definitions, references, dates, bundles; pure, without input or output."""
