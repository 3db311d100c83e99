"""Whom a statement is about: the patient, unless it or its section names a relative.

The mother in the certificate of a newborn, the child in a pregnancy: what is said of them is never the patient's own.
Source: CDA R2 `subject/relatedSubject`; importers page §6 rule 1.
"""

from __future__ import annotations

from lxml import etree

from importers.cda.elements import attribute, child


def is_another(subject: etree._Element | None) -> bool:
    """Whether the `subject` of a statement or a section, if it has one, is not the patient."""
    related = child(subject, "relatedSubject")
    return related is not None and attribute(related, "classCode") != "PAT"
