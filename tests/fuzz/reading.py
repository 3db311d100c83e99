"""Reads that nearly mean something: every kind of criteria, on every path that is searched; histories; records."""

from __future__ import annotations

from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.fuzz import nasty
from tests.fuzz.bodies import JSON
from tests.fuzz.damage import damage_text, damage_tree, dump
from tests.fuzz.targets import SEARCHED, Targets

FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")

# What makes sense for parameters of a type.
_GOOD: Final = {
    "date": ("2024", "ge2024-01", "lt2026-02-28T10:00:00+01:00", "sa2024", "eb2030", "ap2025-06", "ne2024"),
    "number": ("0.8", "gt0", "le1e3", "ap2"),
    "quantity": ("6.5", "gt5|http://unitsofmeasure.org|%", "le0.0065||", "ne6.5|http://unitsofmeasure.org|1", "ap7||%"),
    "token": ("http://loinc.org|4548-4", "4548-4", "final", "|x", "http://loinc.org|", "active,inactive", "true"),
    "reference": ("Patient/x", "x", "Practitioner/y,Device/z", "http://example.org/fhir/Patient/1", "#a"),
    "string": ("mar", "Élise", "a,b", "100%_", "\\,"),
    "uri": ("http://example.org/x", "urn:oid:1.2.3", "http://example.org/"),
    "special": ("a", "(a OR b) AND NOT c", "x and y"),
}
_MODIFIERS: Final = {
    "token": ("not", "not", "text", "of-type", "in", "missing", "above"),
    "reference": ("identifier", "missing", "Patient", "Practitioner", "above"),
    "string": ("exact", "contains", "missing"),
    "uri": ("above", "below", "missing"),
}
_OPERATORS: Final = {
    "string": ("eq", "ne", "co", "sw", "ew", "pr"),
    "token": ("eq", "ne", "pr", "in"),
    "uri": ("eq", "ne", "sw", "pr"),
    "reference": ("eq", "ne", "re", "pr"),
}
_ORDERED: Final = ("eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr")
_HOPS: Final = (1, 1, 1, 1, 2, 2, 3, 6)
_WORDS: Final = (
    *("dossier", "(dossier OR synthèse) AND patient", "NOT x", '"du patient"', "((((((a))))))", "OR", "a " * 60),
    *("x AND NOT (y OR z)", "dossier médical", "NOT NOT x", "l'eau", "$"),
)
_COMPARTMENTS: Final = (
    "Patient",
    "Patient",
    "Patient",
    "Practitioner",
    "RelatedPerson",
    "Encounter",
    "Device",
    "Group",
)


def search(random: Random, targets: Targets) -> dict[str, Any]:
    """A search that has a meaning, but for one thing or another."""
    type_ = random.choice(SEARCHED)
    path = random.choice((type_, type_, type_, "", _compartment(random, targets, type_)))
    pairs = [criterion(random, targets, type_) for _ in range(random.choice((0, 1, 1, 1, 2)))]
    pairs += [_shaping(random, targets, type_) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    of_patient = {"patient", "subject"} & {name for name, _ in targets.parameters[type_]}
    if path in ("", type_) and of_patient and random.random() < 0.8:
        pairs.append(f"{random.choice(sorted(of_patient))}={_patient(random, targets)}")
    if not path and random.random() < 0.9:
        pairs.append(
            "_type=" + ",".join([type_, *random.sample((*SEARCHED, "Nosuch", ""), random.choice((0, 0, 0, 1)))])
        )
    random.shuffle(pairs)
    headers = (("Prefer", "handling=strict"),) if random.random() < 0.2 else ()
    if random.random() < 0.2:
        cut = random.randrange(len(pairs) + 1)
        target = f"/fhir/{path}/_search".replace("//", "/").replace("/*", "") + "?" + "&".join(pairs[:cut])
        return {"method": "POST", "target": target, "headers": (FORM, *headers), "body": "&".join(pairs[cut:]).encode()}
    return {"target": f"/fhir/{path}?{'&'.join(pairs)}", "headers": headers}


def history(random: Random, targets: Targets) -> dict[str, Any]:
    """The history of one, of a type, of everything, from or at any moment."""
    path = random.choice(
        (random.choice(targets.stored) + "/", f"{random.choice(SEARCHED)}/", "", "Nosuch/", "Patient/x/")
    )
    return {"target": f"/fhir/{path}_history?{'&'.join(_moments(random))}"}


def everything(random: Random, targets: Targets) -> dict[str, Any]:
    """A whole record, asked for by url or by Parameters that are damaged."""
    path = random.choice((_patient(random, targets) + "/", "", "Patient/nosuch/"))
    path = f"/fhir/{path}$everything" if path else "/fhir/Patient/$everything"
    days = [f"{name}={_moment(random)}" for name in ("start", "end", "_since") if random.random() < 0.4]
    more = [
        f"_type={','.join(random.sample((*SEARCHED, *SEARCHED, 'Nosuch'), 2))}",
        f"_count={random.choice(('1', '3', '1000', *nasty.NUMBERS))}",
    ]
    query = "&".join([*days, *(each for each in more if random.random() < 0.4)])
    if random.random() < 0.6:
        return {"target": f"{path}?{query}"}
    sent = {"name": "start", "valueDate": "2024-01-01"}, {"name": "_type", "valueCode": random.choice(SEARCHED)}
    parameters = {"resourceType": "Parameters", "parameter": list(sent)}
    if random.random() < 0.7:
        damage_tree(random, parameters)
    body = dump(parameters) if random.random() < 0.8 else damage_text(random, dump(parameters))
    return {"method": "POST", "target": f"{path}?{query}", "headers": (JSON,), "body": body}


def criterion(random: Random, targets: Targets, type_: str) -> str:
    """One criterion of any of the kinds for that type, as `name=value`."""
    kind = random.randrange(10)
    if kind < 4:
        name, value = _test(random, targets, type_)
    elif kind < 6:
        name, value = _chain(random, targets, type_, random.choice(_HOPS))
    elif kind < 8:
        name, value = _backwards(random, targets, type_, random.choice(_HOPS))
    elif kind == 8:
        name, value = "_filter", _filter(random, targets, type_)
    else:
        name, value = random.choice(("_text", "_content", "_list")), random.choice((*_WORDS, nasty.text(random)))
    return f"{quote(name, safe=':')}={quote(value, safe='|:/,$*()', errors='replace')[:4_000]}"


def _filter(random: Random, targets: Targets, type_: str, depth: int = 0) -> str:
    """A `_filter` of a few tests."""
    tests = []
    for _ in range(random.choice((1, 1, 2, 3))):
        name, kind = random.choice([each for each in targets.parameters[type_] if each[1] in _GOOD])
        value = random.choice(_GOOD[kind]).partition(",")[0].lstrip("gelntsabp ")
        if kind == "reference" and random.random() < 0.7:
            value = random.choice(targets.stored)
        if random.random() < 0.15:
            (name, value), kind = _chain(random, targets, type_, 1), "token"
        operator = random.choice(_OPERATORS.get(kind, _ORDERED) if random.random() < 0.9 else _ORDERED)
        value = random.choice(("true", "false")) if operator == "pr" else value
        value = nasty.text(random) if random.random() < 0.1 else value
        test = f"{name} {operator} " + (f'"{value}"' if random.random() < 0.6 else value)
        if random.random() < 0.3 and depth < 3:
            test = random.choice(("({})", "not({})", "not ({})")).format(_filter(random, targets, type_, depth + 1))
        tests.append(test)
    return random.choice((" and ", " or ")).join(tests)


def _test(random: Random, targets: Targets, type_: str) -> tuple[str, str]:
    """A parameter of the type and a value that fits it; one in twenty does not."""
    name, kind = random.choice(targets.parameters[type_])
    if kind == "composite":
        kinds = random.choices(("token", "quantity", "date", "reference", "string"), k=2)
        return name, "$".join(random.choice(_GOOD[each]).partition(",")[0] for each in kinds)
    value = random.choice(_GOOD.get(kind, ("x",)))
    if kind == "reference" and random.random() < 0.7:
        value = random.choice(targets.stored)
    if random.random() < 0.25:
        modifier = random.choice(_MODIFIERS.get(kind, ("missing",)))
        name, value = f"{name}:{modifier}", random.choice(("true", "false")) if modifier == "missing" else value
    return name, nasty.text(random) if random.random() < 0.05 else value


def _chain(random: Random, targets: Targets, type_: str, hops: int) -> tuple[str, str]:
    """What something refers to that is as asked."""
    links = [each for each in targets.links if each[0] == type_]
    if not links or random.random() < 0.05:
        return f"{random.choice(('nosuch', '_id', 'code'))}.{random.choice(('nosuch', '_id'))}", "x"
    _, reference, there = random.choice(links)
    name, value = _test(random, targets, there) if hops == 1 else _chain(random, targets, there, hops - 1)
    return f"{reference}:{there}.{name}", value


def _backwards(random: Random, targets: Targets, type_: str, hops: int) -> tuple[str, str]:
    """What is referred to by something that is as asked."""
    links = [each for each in targets.links if each[2] == type_]
    if not links or random.random() < 0.05:
        return f"_has:{random.choice(SEARCHED)}:nosuch:_id", "x"
    there, reference, _ = random.choice(links)
    name, value = _test(random, targets, there) if hops == 1 else _backwards(random, targets, there, hops - 1)
    return f"_has:{there}:{reference}:{name}", value


def _reference(random: Random, targets: Targets, type_: str) -> str:
    names = [name for name, kind in targets.parameters[type_] if kind == "reference"]
    return random.choice((*names, *names, "nosuch"))


def _shaping(random: Random, targets: Targets, type_: str) -> str:
    """What says how the answer is made up."""
    names = [name for name, _ in targets.parameters[type_]]
    there = random.choice((type_, type_, random.choice(SEARCHED), "*"))
    include = random.choice(("{0}:{1}", "{0}:{1}", "{0}:{1}:Patient", "{0}:*", "*", "{0}", "{0}:nosuch:Nosuch")).format(
        there, _reference(random, targets, there if there != "*" else type_)
    )
    sort = ",".join(random.choice(("", "-")) + random.choice((*names, "_id", "_lastUpdated")) for _ in range(3))
    return random.choice(
        (
            f"_include{random.choice(('', '', ':iterate', ':recurse'))}={include}",
            f"_revinclude{random.choice(('', '', ':iterate'))}={include}",
            f"_sort={sort}",
            f"_sort={random.choice(('', '-'))}{random.choice(names)}",
            f"_summary={random.choice(('true', 'true', 'false', 'text', 'data', 'count', ''))}",
            f"_elements={random.choice(('id', 'status,code', 'name.family', 'nosuch', '', 'meta,text,contained'))}",
            f"_count={random.choice(('0', '1', '2', '3', '1000000', '-1'))}",
            f"_total={random.choice(('accurate', 'estimate', 'none'))}",
            f"_contained={random.choice(('true', 'false', 'both'))}",
        )
    )


def _compartment(random: Random, targets: Targets, type_: str) -> str:
    name = random.choice(_COMPARTMENTS)
    owner = random.choice((*targets.of(name), f"{name}/nosuch"))
    return f"{owner}/{random.choice((type_, type_, '*'))}"


def _patient(random: Random, targets: Targets) -> str:
    return random.choice((targets.people["patient"], targets.people["patient"], random.choice(targets.of("Patient"))))


def _moments(random: Random) -> list[str]:
    names = random.choices(("_since", "_at", "_count", "_cursor", "_sort"), (8, 8, 8, 1, 1), k=random.choice((1, 1, 2)))
    values = (
        random.choice(("1", "2", "3", "0", nasty.NUMBERS[-1])) if name == "_count" else _moment(random)
        for name in names
    )
    return [f"{name}={value}" for name, value in zip(names, values, strict=True)]


def _moment(random: Random) -> str:
    moments = ("2020", "2026-01-01T00:00:00Z", "2999-12", "2024-01-01T00:00:00+01:00", "9999", "0001")
    moment = random.choice((*moments, *moments, *moments, random.choice(nasty.DATES), nasty.text(random)))
    return quote(moment, safe="", errors="replace")
