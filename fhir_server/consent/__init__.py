"""The patient decides: what a caller may see and do, and the record of every access."""
