"""The FHIR REST interactions, one file each."""
