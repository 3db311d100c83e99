"""A FHIR R4 server for a person's own health record, where the patient decides who sees what."""

__version__ = "0.1.0"
