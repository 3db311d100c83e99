"""Any XDS metadata, for the round trip: what is written is what is read."""

from __future__ import annotations

from hypothesis import strategies as st

from importers.metadata import (
    Association,
    Author,
    Code,
    DocumentEntry,
    Folder,
    Identifier,
    Institution,
    Person,
    Registry,
    SubmissionSet,
)

# White space is folded by the reader and control characters are no XML.
_letters = st.characters(codec="utf-8", categories=("L", "N", "P", "S"))
texts = st.lists(st.text(_letters, min_size=1, max_size=8), min_size=1, max_size=3).map(" ".join)
words = st.text(_letters, min_size=1, max_size=10)
maybe = st.none() | texts
oids = st.lists(st.integers(0, 9999), min_size=3, max_size=6).map(lambda each: f"1.2.{'.'.join(map(str, each))}")
times = st.datetimes().map(lambda each: each.strftime("%Y%m%d%H%M%S"))
uuids = st.uuids().map(lambda each: f"urn:uuid:{each}")

codes = st.builds(Code, texts, st.none() | oids, maybe)
identifiers = st.builds(Identifier, texts, st.none() | oids, st.none() | st.sampled_from(["NH", "PI", "IDNPS"]))
persons = st.builds(Person, st.none() | identifiers, texts, maybe, maybe, maybe, maybe, st.none() | st.just("D"))
institutions = st.builds(Institution, texts, st.none() | identifiers)


def some(of: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    """None to three."""
    return st.lists(of, max_size=3).map(tuple)


authors = st.builds(Author, st.none() | persons, some(institutions), some(codes), some(codes), some(words))


@st.composite
def entries(draw: st.DrawFn) -> DocumentEntry:
    """An entry with any of its attributes."""
    return draw(
        st.builds(
            DocumentEntry,
            id=uuids,
            mime_type=st.sampled_from(["text/xml", "application/pdf", "image/jpeg", "application/zzz"]),
            on_demand=st.booleans(),
            status=st.sampled_from([None, "Approved", "Deprecated", "Archived", "Deleted"]),
            logical_id=st.none() | uuids,
            unique_id=st.none() | oids,
            patient_id=st.none() | identifiers,
            source_patient_id=st.none() | identifiers,
            source_patient_info=some(words.map(lambda each: f"PID-3|{each}")),
            title=maybe,
            comments=maybe,
            language=st.none() | st.just("fr-FR"),
            creation_time=st.none() | times,
            service_start_time=st.none() | times,
            service_stop_time=st.none() | times,
            hash=st.none() | st.binary(min_size=20, max_size=20).map(bytes.hex),
            size=st.none() | st.integers(0, 10**9),
            uri=st.none() | st.text("ABC/.0|", min_size=1, max_size=300),
            repository_unique_id=st.none() | oids,
            authors=some(authors),
            legal_authenticator=st.none() | persons,
            class_code=st.none() | codes,
            type_code=st.none() | codes,
            format_code=st.none() | codes,
            facility_type=st.none() | codes,
            practice_setting=st.none() | codes,
            confidentiality=some(codes),
            events=some(codes),
            reference_ids=some(identifiers),
        )
    )


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """Entries of different ids, a set, folders, what is what to what."""
    found = draw(st.lists(entries(), min_size=1, max_size=3, unique_by=lambda each: each.id))
    who = {"patient_id": st.none() | identifiers, "title": maybe, "comments": maybe, "unique_id": st.none() | oids}
    status = st.sampled_from([None, "Approved"])
    submission = draw(
        st.none()
        | st.builds(
            SubmissionSet,
            id=st.just("set"),
            source_id=st.none() | oids,
            status=status,
            submission_time=st.none() | times,
            content_type=st.none() | codes,
            authors=some(authors),
            **who,
        )
    )
    folder = st.builds(Folder, id=uuids, status=status, last_update_time=st.none() | times, codes=some(codes), **who)
    folders = draw(st.lists(folder, max_size=2, unique_by=lambda each: each.id))
    kinds = st.sampled_from(["HasMember", "RPLC", "APND", "XFRM", "XFRM_RPLC", "signs"])
    ends = st.sampled_from([each.id for each in found]) | uuids
    association = st.builds(Association, kinds, ends, ends, uuids, st.sampled_from([None, "Original", "Reference"]))
    return Registry(tuple(found), submission, tuple(folders), tuple(draw(st.lists(association, max_size=3))))
