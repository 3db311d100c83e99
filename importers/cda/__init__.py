"""HL7 CDA R2 documents, levels 1 to 3, as FHIR resources."""
