"""The access rules told a second time, naively, row by row: shares no code with the engine (spec access §3.5)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from fhir_server.search.facts import Facts
from tests.consent.consent_worlds import HOUR, NOW, World, link

_MATRIX: dict[str, Any] = json.loads(files("terminologies").joinpath("access", "matrix.json").read_text())
_CROSS_BORDER = {"60591-5", "57833-6", "60593-1", "11502-2", "18842-5", "100719-4", "85430-7", "18748-4"}


def seen(world: World) -> frozenset[str]:
    """The live rows that the rules show."""
    return frozenset(link(row) for row in world.rows if link(row) not in world.dead and sees(world, row))


def sees(world: World, row: Facts, depth: int = 2) -> bool:
    """Whether the caller sees the row."""
    if world.actor.role not in ("patient", "rep", "ps", "lgc", "app", "ncp", "admin"):
        return False
    if row.kind == "public":
        return True
    if row.rtype == "Binary":
        return _sees_content(world, row)
    if not _sees_plain(world, row):
        return False
    if row.rtype == "List" and row.type_code in ("submissionset", "folder"):
        return any(
            link(each) in row.links
            and link(each) not in world.dead
            and each.rtype not in ("Patient", "RelatedPerson", "CareTeam", "Provenance", "Composition", "Task", "List")
            and each.patient is not None
            and _sees_plain(world, each)
            for each in world.rows
        )
    if row.rtype in ("Provenance", "Composition", "Task", "List"):
        return depth > 0 and _sees_all_that_it_carries(world, row, depth)
    return True


def _sees_all_that_it_carries(world: World, row: Facts, depth: int) -> bool:
    for target in world.rows:
        if link(target) not in row.links or target.kind != "record":
            continue
        if link(target) in world.dead:
            return False
        if target.rtype == "Patient" and target.patient in world.policies:
            continue
        if target.rtype == "Binary" and depth < 2:
            return False
        if not sees(world, target, depth - 1):
            return False
    return True


def _sees_content(world: World, row: Facts) -> bool:
    pointing = [each for each in world.rows if link(row) in each.links and link(each) not in world.dead]
    if any(each.rtype == "DocumentReference" and _sees_plain(world, each) for each in pointing):
        return True
    return not pointing and bool(row.authors & _me(world)) and NOW - row.deposited_at < HOUR


def _me(world: World) -> set[str]:
    actor = world.actor
    if actor.role == "ps":
        return {key for key in actor.keys if key[:5] == "rpps:"}
    if actor.role == "app":
        return {key for key in actor.keys if key[:7] == "client:"}
    return {actor.reference}


def _live(world: World, patient: str | None, *ids: str) -> list[Any]:
    found = []
    for each in world.policies[str(patient)].directives:
        begun = each.period.low is None or each.period.low <= NOW
        over = each.period.high is not None and each.period.high <= NOW
        if each.id in ids and each.active and begun and not over:
            found.append(each)
    return found


def _sees_plain(world: World, row: Facts) -> bool:
    if row.patient not in world.policies:
        return False
    policy, role = world.policies[row.patient], world.actor.role
    if not policy.exists or not policy.open:
        return False
    closing = {each.consent for each in policy.directives if each.id == "D01" and each.active}
    if closing or not policy.readable:
        mendable = row.rtype == "Consent" and (not closing or row.id in closing)
        return role in ("patient", "rep") and mendable and _holder(world, row, role, world.actor.reference)
    if role in ("patient", "rep"):
        return _holder(world, row, role, world.actor.reference)
    if row.rtype in ("Consent", "AuditEvent"):
        return False
    return {"ps": _professional, "app": _application, "ncp": _gateway}.get(role, lambda *_: False)(world, row)


def _holder(world: World, row: Facts, role: str, reference: str) -> bool:
    if row.patient not in world.actor.patients:
        return False
    if row.vis & 2 and not (row.release_at is not None and row.release_at <= NOW):
        return False
    if role == "patient":
        return reference == "Patient/" + str(row.patient)
    period = (world.policies[str(row.patient)].representatives or {}).get(reference)
    if period is None or (period[0] is not None and period[0] > NOW) or (period[1] is not None and period[1] <= NOW):
        return False
    return not row.vis & 4


def _professional(world: World, row: Facts) -> bool:
    actor, policy = world.actor, world.policies[str(row.patient)]
    keys = set(actor.keys)
    me = _me(world)
    opened = _opened(world, row)
    for mode in ("centre_15", "bris_de_glace"):
        if mode in opened and not any(each.purpose == mode for each in _live(world, row.patient, "D02")):
            break
    else:
        mode = ""
    treating = bool(policy.practitioners & keys) or any(each.actor in me for each in _live(world, row.patient, "D06"))
    own = bool(row.authors & (me | {key for key in keys if key.startswith("org:")}))
    kept_apart = row.rtype in ("Appointment", "AppointmentResponse", "Communication", "Task")
    takes_part = kept_apart and bool(row.participants & keys)
    outside = row.rtype in ("Patient", "RelatedPerson", "CareTeam")
    outside = outside or (row.rtype == "List" and row.type_code in ("submissionset", "folder"))
    kind = (outside or _matrix(actor.profession, row)) and not kept_apart
    if not (kind or own or takes_part):
        return False
    open_to_me = treating or mode or "consult" in opened or _in_team(world, row) or _granted(world, row)
    if not (open_to_me or own or takes_part):
        return False
    for deny in _live(world, row.patient, "D03", "D07", "D08"):
        if deny.id == "D07" and deny.actor is None:
            continue
        if mode == "centre_15" and deny.id == "D03":
            continue
        names_me = deny.actor in me if treating else deny.actor is None or deny.actor in keys
        if names_me and _selects(world, deny, row):
            return False
    return treating or own or not _masked(world, row)


def _opened(world: World, row: Facts) -> set[str]:
    found = set()
    for text in world.actor.openings:
        regime, patient, until = text.split("|")
        if patient == row.patient and int(until) > NOW:
            found.add(regime)
    return found


def _in_team(world: World, row: Facts) -> bool:
    consented = [each.team for each in _live(world, row.patient, "D04")]
    for team in world.policies[str(row.patient)].teams:
        if team.link in consented and _now(team.period):
            for member in team.members:
                if _now(member.period) and set(member.keys) & set(world.actor.keys):
                    return True
    return False


def _now(period: tuple[int | None, int | None]) -> bool:
    return not (period[0] is not None and period[0] > NOW) and not (period[1] is not None and period[1] <= NOW)


def _granted(world: World, row: Facts) -> bool:
    for grant in _live(world, row.patient, "D05"):
        excepted = grant.except_label is not None and _labelled(grant.except_label, row)
        if grant.actor in world.actor.keys and not excepted:
            return True
    return False


def _application(world: World, row: Facts) -> bool:
    actor = world.actor
    if not actor.authoriser or not _holder(world, row, actor.authoriser, actor.authoriser_key):
        return False
    if row.rtype == "Communication" or _masked(world, row) or _denied(world, row):
        return False
    shares = [each for each in _live(world, row.patient, "D09") if each.actor in actor.keys]
    return any(each.label is None or _labelled(each.label, row) for each in shares)


def _gateway(world: World, row: Facts) -> bool:
    actor = world.actor
    opened = [each for each in _live(world, row.patient, "D10") if each.actor == "country:" + actor.country]
    if not opened or actor.purpose != "TREAT" or actor.mode != "normal":
        return False
    if row.type_code not in _CROSS_BORDER and row.rtype != "Patient":
        return False
    return not row.vis & 2 and not _masked(world, row) and not _denied(world, row)


def _denied(world: World, row: Facts) -> bool:
    names = set(world.actor.keys) | {"country:" + world.actor.country}
    return any(
        (each.actor is None or each.actor in names) and _selects(world, each, row)
        for each in _live(world, row.patient, "D03", "D07", "D08")
        if not (each.id == "D07" and each.actor is None)
    )


def _masked(world: World, row: Facts) -> bool:
    if row.vis & (1 | 8 | 16):
        return True
    masks = [each for each in _live(world, row.patient, "D07") if each.actor is None]
    return any(_selects(world, each, row) for each in masks)


def _selects(world: World, directive: Any, row: Facts) -> bool:
    if directive.id == "D03":
        return True
    if directive.id == "D07":
        lineages = world.policies[str(row.patient)].lineages or {}
        return row.lineage == lineages.get(directive.instance, directive.instance)
    if not _labelled(directive.label, row):
        return False
    low, high = directive.data_period
    if row.data_time is None:
        return True
    return (low is None or row.data_time >= low) and (high is None or row.data_time < high)


def _labelled(label: Any, row: Facts) -> bool:
    return label.value in row.labels if label.column == "labels" else row.class_code == label.value


def _matrix(profession: str, row: Facts) -> bool:
    for kind, code in (("type", row.type_code), ("class", row.class_code), ("cat", row.class_code)):
        for each in _MATRIX["rows"]:
            if each["profession"] == f"TRE_G15|{profession}" and each["target"] == f"{kind}|{code}":
                return bool(each["allow"])
    return bool(_MATRIX["defaults"].get(profession, _MATRIX["defaults"]["*"]) == "allow")
