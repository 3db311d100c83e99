"""The personal record: documents, and the people they are about."""
