"""Code systems, value sets and other tables of codes, as data: one folder a source, each with a README."""
