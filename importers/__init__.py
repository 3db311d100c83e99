"""Legacy documents in, FHIR out: bytes to plain data, with no access to the store."""
