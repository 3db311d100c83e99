"""Submission sets and folders (IHE MHD Lists) as their reader may see them: without the entries that are hidden.

One of which no entry is visible is not visible itself; that the predicate sees to (spec access §3.1, L39).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import Any, Final

import orjson

from fhir_server.consent.categories import FOLDERS
from fhir_server.consent.keys import link_of
from fhir_server.consent.kinds import kind_of
from fhir_server.context import Context
from fhir_server.fhir.splice import with_members
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    And,
    Chained,
    Eq,
    Not,
    Or,
    Predicate,
    Referred,
    RefersTo,
    Words,
    conj,
    disj,
    negate,
    one_of,
)
from fhir_server.storage.interface import Snapshot, Version

_FOLDER: Final = conj(Eq("rtype", "List"), one_of("type_code", FOLDERS))


def as_asked(where: Predicate, types: Collection[str]) -> Predicate:
    """Criteria on resources of these types, such that a folder is found by those of its entries alone that the caller
    sees, and not by its words, which may be about the others. `search.hops.cleared` completes what is added."""
    match where:
        case Chained(types=there, to=to):
            return replace(where, to=as_asked(to, there))
        case Referred(type=there, by=by):
            return replace(where, by=as_asked(by, (there,)))
        case And(of):
            asked = [as_asked(each, types) for each in of]
            # Nearly always there is nothing to add: the criteria of a remembered question are then used as they are.
            return where if all(map(is_, asked, of)) else conj(*asked)
        case Not(of):
            return negate(as_asked(of, types))
        case Or(of):
            items = [each for each in of if isinstance(each, RefersTo) and each.param == "item"]
            return disj(*(as_asked(each, types) for each in of if each not in items), _found_by(items, types))
        case RefersTo(param="item"):
            return _found_by([where], types)
        case Words() if "List" in types:
            return conj(where, negate(_FOLDER))
    return where


def _found_by(items: Sequence[RefersTo], types: Collection[str]) -> Predicate:
    """What has one of these entries; of folders those that the caller sees it in."""
    if not items or "List" not in types:
        return disj(*items)
    return conj(disj(*items), disj(negate(_FOLDER), _leading(each.target for each in items)))


def _leading(targets: Iterable[str]) -> Predicate:
    """The Lists with an entry that leads to one of these, each "Type/id" or the url of what is elsewhere."""
    by_type: dict[str, list[str]] = {}
    elsewhere: list[Predicate] = []
    for target in targets:
        type_, _, id_ = target.partition("/")
        if kind_of(type_) == "record" and id_ and "/" not in id_:
            by_type.setdefault(type_, []).append(id_)
        else:
            elsewhere.append(RefersTo("item", target))
    led = (Chained("item", (type_,), one_of("id", ids)) for type_, ids in by_type.items())
    return disj(*elsewhere, *led)


async def as_shown(ctx: Context, snapshot: Snapshot, versions: Sequence[Version]) -> Sequence[Version]:
    """The versions, the bodies of folders among them without hidden entries; the narrative goes with a hidden entry,
    since it may name it."""
    if ctx.services.open or all(each.type != "List" for each in versions):
        return versions
    return [await _folder(ctx, snapshot, each) if is_folder(each) else each for each in versions]


def is_folder(version: Version) -> bool:
    """Whether it is a submission set or a folder that says something."""
    return version.type == "List" and version.facts.type_code in FOLDERS and not version.deleted


async def _folder(ctx: Context, snapshot: Snapshot, version: Version) -> Version:
    entries = orjson.loads(version.body).get("entry", [])
    links = [_link(ctx, each) for each in entries]
    seen = await _seen(ctx, snapshot, str(version.facts.patient), filter(None, links))
    kept = [entry for entry, link in zip(entries, links, strict=True) if link is None or link in seen]
    if len(kept) == len(entries):
        return version
    return version._replace(body=with_members(version.body, {"entry": kept or None, "text": None}))


def _link(ctx: Context, entry: Mapping[str, Any]) -> str | None:
    """What an entry leads to in a record of this server, as "Type/id"."""
    link = link_of(entry.get("item", {}).get("reference"), ctx.base)
    return link if link and kind_of(link.partition("/")[0]) == "record" else None


async def _seen(ctx: Context, snapshot: Snapshot, patient: str, links: Iterable[str]) -> set[str]:
    """Those of the links that lead to what the caller sees."""
    by_type: dict[str, list[str]] = {}
    for link in links:
        type_, _, id_ = link.partition("/")
        by_type.setdefault(type_, []).append(id_)
    found = set()
    for type_, ids in by_type.items():
        visible = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), letter="rs", only=(type_,))
        plan = Plan((type_,), one_of("id", ids), patients=(patient,), limit=len(ids))
        found |= {f"{type_}/{each.id}" for each in await snapshot.search(plan, visible=visible)}
    return found
