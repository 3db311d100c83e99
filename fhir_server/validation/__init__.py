"""Is this JSON a FHIR R4 resource?"""
