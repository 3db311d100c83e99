"""Implementation guides and R4 itself, as data: one folder a guide, each with a README and its sources."""
