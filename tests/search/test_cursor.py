"""Paging tokens open for the search and the caller they were made for, and for nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Malformed
from fhir_server.search.cursor import After, Cursors

CURSORS = Cursors(bytes(range(32)))
AFTER = (("a1b2", None), 42)
TOKEN = CURSORS.seal(AFTER, query="q", binding="b")
ALPHABET = ascii_letters + digits + "-_"

VALUES = (
    st.none() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=64)
)
AFTERS = st.tuples(st.lists(VALUES, max_size=3).map(tuple), st.integers(0, 2**62))


@given(AFTERS, st.text(), st.text())
def test_what_was_sealed_is_opened(after: After, query: str, binding: str) -> None:
    """By the same server, for the same search and caller, in characters that a URL can hold."""
    token = CURSORS.seal(after, query=query, binding=binding)
    assert CURSORS.open(token, query=query, binding=binding) == after
    assert set(token) <= set(ALPHABET)


def refused(cursors: Cursors, token: str, query: str = "q", binding: str = "b") -> None:
    with pytest.raises(Malformed) as raised:
        cursors.open(token, query=query, binding=binding)
    assert raised.value.issues[0].expression == "_cursor"


def test_another_search_another_caller_and_another_key_are_refused() -> None:
    """With the same error as a forged token."""
    refused(CURSORS, TOKEN, query="Q")
    refused(CURSORS, TOKEN, binding="B")
    refused(Cursors(bytes(32)), TOKEN)


def test_characters_cannot_move_between_search_caller_and_position() -> None:
    """("qb", "") is not ("q", "b")."""
    for query, binding in (("qb", ""), ("", "qb")):
        refused(CURSORS, TOKEN, query=query, binding=binding)


def test_every_changed_missing_or_added_character_is_refused() -> None:
    """At every place, the spare bits of the last one included."""
    for place, right in enumerate(TOKEN):
        for wrong in ALPHABET:
            if wrong != right:
                refused(CURSORS, TOKEN[:place] + wrong + TOKEN[place + 1 :])
        refused(CURSORS, TOKEN[:place] + TOKEN[place + 1 :])
        refused(CURSORS, TOKEN[:place])
        refused(CURSORS, TOKEN[:place] + "=" + TOKEN[place:])
    for more in (*ALPHABET, "=", " ", "\n", "é"):
        refused(CURSORS, TOKEN + more)


def test_a_position_of_ones_own_is_refused() -> None:
    """Unsealed, or under the seal of another position."""
    sealed = urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for forged in (b'["a1b2",43]', sealed[:32] + b'["a1b2",43]', sealed[:32], b""):
        refused(CURSORS, urlsafe_b64encode(forged).rstrip(b"=").decode())


@given(st.text())
def test_any_text_is_refused_in_the_same_way(token: str) -> None:
    """Never another error."""
    refused(CURSORS, token)


def test_a_token_does_not_tell_where_it_leads() -> None:
    """Neither by its text nor by its length: positions count hidden rows too (I8)."""
    tokens = [CURSORS.seal(((0,), position), query="q", binding="b") for position in (1, 2, 10**12)]
    assert len({len(token) for token in tokens}) == 1
    assert all(b"1000000000000" not in urlsafe_b64decode(token + "=" * (-len(token) % 4)) for token in tokens)


def test_a_key_of_another_length_is_refused() -> None:
    """32 bytes."""
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="32"):
            Cursors(bytes(length))
