"""Which handler makes resources of which kind of statement; a kind that is not here is a part of another.

A handler is `(statement, entry) -> references of what it made of the statement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from importers.cda.entries.allergy import allergy, concern
from importers.cda.entries.attachment import attachment
from importers.cda.entries.condition import condition
from importers.cda.entries.entry import Handler
from importers.cda.entries.family import family_history
from importers.cda.entries.immunization import immunization
from importers.cda.entries.laboratory import laboratory_act, laboratory_results
from importers.cda.entries.medication import dispense, medication, prescription
from importers.cda.entries.observation import measurements, observation, organizer
from importers.cda.entries.procedure import finding, procedure
from importers.cda.entries.recommendation import recommendation
from importers.cda.entries.specimen import specimen
from importers.cda.entries.visit import visit

HANDLERS: Final[Mapping[str, Handler]] = {
    "allergy": allergy,
    "allergy-concern": concern,
    "attachment": attachment,
    "diagnosis": concern,
    "dispense": dispense,
    "encounter": visit,
    "family-history": family_history,
    "family-observation": family_history,
    "immunization": immunization,
    "immunization-recommendation": recommendation,
    "medication": medication,
    "prescription": prescription,
    "lab-act": laboratory_act,
    "results": laboratory_act,
    "lab-battery": laboratory_results,
    "lab-isolate": laboratory_results,
    "lab-result": observation,
    "result": observation,
    "specimen": specimen,
    "vital-signs": organizer,
    "organizer": organizer,
    "vital-sign": observation,
    "social-history": observation,
    "pregnancy": observation,
    "score": observation,
    "survey": observation,
    "simple-observation": observation,
    "narrative": measurements,
    "problem": condition,
    "problem-concern": concern,
    "procedure": procedure,
    "procedure-finding": finding,
}
