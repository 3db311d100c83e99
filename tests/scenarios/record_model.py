"""One record told as sets, naively: what happened in it, and who sees what. Shares no code with the server.

The rules are those of spec access §3.3 and §3.5, for the kinds of data and the people of the state machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

# Kind of data -> (type code, class): spec access §10.
KINDS = {
    "letter": ("11488-4", "10"),
    "summary": ("60591-5", "11"),
    "Observation": (None, None),
    "AllergyIntolerance": ("60591-5", "11"),
    "MedicationRequest": ("57833-6", "42"),
    "CarePlan": (None, "44"),
}
DOCUMENTS = ("letter", "summary")
# Profession -> the classes that the matrix allows; a médecin reads every class, and what has none.
NURSE_CLASSES = {"10", "11", "31", "42", "43", "44", "45", "52"}
CROSS_BORDER = {"60591-5", "57833-6"}
PARIS = ZoneInfo("Europe/Paris")


@dataclass(frozen=True)
class Doctor:
    """A professional: RPPS and FINESS number, profession (TRE_G15), and whether regulation is theirs."""

    rpps: str
    finess: str
    profession: str = "10"
    regulates: bool = False


PEOPLE = {
    "family_doctor": Doctor("10000000101", "100000101"),
    "specialist": Doctor("10000000102", "100000102"),
    "hospital": Doctor("10000000103", "100000103"),
    "nurse": Doctor("10000000104", "100000104", "60"),
    "regulator": Doctor("10000000105", "100000105", regulates=True),
    "laboratory": Doctor("10000000106", "100000106"),
}
OTHERS = ("patient", "representative", "application", "gateway")


@dataclass
class Row:
    """One resource. `release`: when it is shown to the patient, None for what is not held back."""

    link: str
    kind: str
    author: str
    lineage: str
    masked: bool = False
    not_for_representatives: bool = False
    hiv: bool = False
    release: datetime | None = None
    deleted: bool = False
    replaced: bool = False


@dataclass(frozen=True)
class Said:
    """A directive. `actor`: a name of PEOPLE, "org …" for the structure of one, "DE", or "" for nobody by name;
    `label`: a class, "HIV", or "" for none; `lineage`: of the resource that it is about."""

    id: str
    actor: str = ""
    label: str = ""
    lineage: str = ""
    start: datetime | None = None
    end: datetime | None = None


@dataclass
class Record:
    """What has happened in one record, and what time it is."""

    now: datetime
    rows: dict[str, Row] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    team: set[str] = field(default_factory=set)
    treating: str = ""
    represented: bool = True
    opened: dict[str, dict[str, datetime]] = field(default_factory=dict)

    def live(self, *ids: str) -> list[Said]:
        """The directives of these kinds that hold now."""
        return [
            each
            for each in self.said.values()
            if each.id in ids
            and (each.start is None or each.start <= self.now)
            and (each.end is None or self.now < each.end)
        ]

    @property
    def closed(self) -> bool:
        """D01."""
        return any(each.id == "D01" for each in self.said.values())

    def sees(self, who: str, row: Row) -> bool:
        """Whether that person sees that resource, deleted or not."""
        if self.closed:
            return False
        held_back = row.release is not None and self.now < row.release
        if who == "patient":
            return not held_back
        if who == "representative":
            return self.represented and not held_back and not row.not_for_representatives
        if who == "application":
            shared = any(self._labelled(each.label, row) for each in self.live("D09"))
            return shared and not held_back and not self.masked(row) and not self._denied(row, {""})
        if who == "gateway":
            fits = KINDS[row.kind][0] in CROSS_BORDER and row.release is None
            return bool(self.live("D10")) and fits and not self.masked(row) and not self._denied(row, {"", "DE"})
        return self._professional(who, row)

    def _professional(self, who: str, row: Row) -> bool:
        own = row.author == who
        mode = self.mode(who)
        treating = self.treating == who or any(each.actor == who for each in self.live("D06"))
        team = who in self.team and bool(self.live("D04"))
        granted = any(
            each.actor in (who, f"org {who}") and not (each.label and self._labelled(each.label, row))
            for each in self.live("D05")
        )
        if not own and not (treating or team or granted or mode or self.open("consult", who)):
            return False
        if not own and PEOPLE[who].profession == "60" and KINDS[row.kind][1] not in NURSE_CLASSES:
            return False
        names = {who} if treating else {"", who, f"org {who}"}
        if self._denied(row, names, ("D07", "D08") if mode == "centre_15" else ("D03", "D07", "D08")):
            return False
        return own or treating or not self.masked(row)

    def mode(self, who: str) -> str:
        """The emergency that this person acts in, "" for none."""
        opposed = {each.label for each in self.live("D02")}
        return next((m for m in ("centre_15", "bris_de_glace") if self.open(m, who) and m not in opposed), "")

    def open(self, regime: str, who: str) -> bool:
        """Whether this person's session has opened the record so."""
        until = self.opened.get(who, {}).get(regime)
        return until is not None and self.now < until

    def masked(self, row: Row) -> bool:
        """Whether it is masked to professionals at large."""
        return row.masked or any(each.lineage == row.lineage for each in self.live("D07") if not each.actor)

    def _denied(self, row: Row, names: set[str], ids: tuple[str, ...] = ("D03", "D07", "D08")) -> bool:
        for each in self.live(*ids):
            if each.id == "D07" and not each.actor:
                continue
            about = not each.lineage or each.lineage == row.lineage
            if each.actor in names and about and self._labelled(each.label, row):
                return True
        return False

    def _labelled(self, label: str, row: Row) -> bool:
        return not label or (row.hiv if label == "HIV" else KINDS[row.kind][1] == label)

    def seen(self, who: str) -> set[str]:
        """The live resources that this person finds."""
        return {link for link, row in self.rows.items() if not row.deleted and self.sees(who, row)}

    def push(self, row: Row) -> None:
        """A new resource, with what it takes over from the one that it replaces."""
        before = next((each for each in self.rows.values() if each.link == row.lineage), None)
        if before is not None:
            chain = [each for each in self.rows.values() if each.lineage == before.lineage]
            last = chain[-1]
            last.replaced = True
            row = replace(
                row,
                lineage=before.lineage,
                masked=row.masked or last.masked,
                hiv=row.hiv or last.hiv,
                not_for_representatives=row.not_for_representatives or last.not_for_representatives,
                release=last.release or row.release,
            )
        self.rows[row.link] = row


def a_month_after(moment: datetime) -> datetime:
    """A calendar month on the clocks of Paris."""
    local = moment.astimezone(PARIS)
    first = (local.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1)
    last = ((first + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
    return (
        first.replace(day=min(local.day, last), hour=local.hour, minute=local.minute, second=local.second)
        .replace(microsecond=local.microsecond)
        .astimezone(UTC)
    )
