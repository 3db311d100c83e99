"""Full text: the words of a version as tokens of the FTS5 table `words`, whose rowid is the vid.

A token is the symbol of the resource type, a letter for where the word is, and the word: `12bsang` for one of the
narrative, which both texts have, `12csang` for one that is only elsewhere, which `_content` alone has. The
compartment is a token too, `5p`, so that a question about one record reads no more than that record's postings.
Letters and digits of ASCII in lower case, and all that is beyond ASCII, stand for themselves, as the tokenizer has it;
any other word, and a long one, stands for its hash, so that words are compared exactly.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from fhir_server.search.entries import Prose
from fhir_server.storage.sqlite.clauses import Clause
from fhir_server.storage.sqlite.statements import insert

_LETTERS: Final = {"_text": ("b",), "_content": ("b", "c")}
"""Of the words of each text."""

_HASHED: Final = {"b": "e", "c": "d"}
_MARKS: Final = {"_text": "mt", "_content": "mc"}
"""Of a text that is there, even one without words."""

_PLAIN: Final = re.compile(r"[0-9a-z\x80-\U0010ffff]{0,100}")
_ALL_PLAIN: Final = re.compile(r"[0-9a-z\x80-\U0010ffff]{1,100}(?: [0-9a-z\x80-\U0010ffff]{1,100})*")


def document(prose: Sequence[Prose], type: int, cid: int) -> str | None:
    """The tokens of one version of a resource of type `type`, in compartment `cid`; None for one without a text."""
    if not prose:
        return None
    texts = {each.param: each.words.split(" ") for each in prose}
    narrative, elsewhere = texts.get("_text", []), texts.get("_content", [])
    if narrative and elsewhere:
        known = frozenset(narrative)
        elsewhere = [word for word in elsewhere if word not in known]
    marks = [f"{cid}p", f"{type}{_MARKS['_content']}", *([f"{type}{_MARKS['_text']}"] if narrative else ())]
    return " ".join([*marks, *_tokens(type, "b", narrative), *_tokens(type, "c", elsewhere)])


def _tokens(type: int, letter: str, words: Sequence[str]) -> Iterable[str]:
    text = " ".join(words)
    if _ALL_PLAIN.fullmatch(text):
        # At once: most texts have hundreds of words, and none that is not plain.
        before = f"{type}{letter}"
        return (before + text.replace(" ", " " + before),)
    return [_token(type, letter, word) for word in words]


def add(cursor: sqlite3.Cursor, documents: Sequence[tuple[int, str]]) -> None:
    """Keep the tokens of new versions, each with its vid."""
    insert(cursor, "words", "rowid, tokens", documents)


def exchange(cursor: sqlite3.Cursor, vid: int, before: str | None, now: str | None) -> None:
    """Keep other tokens of a version."""
    if before is not None:
        cursor.execute("INSERT INTO words (words, rowid, tokens) VALUES ('delete', ?, ?)", (vid, before))
    if now is not None:
        add(cursor, [(vid, now)])


def matching(param: str, words: Sequence[str], types: Iterable[int], cids: Sequence[int] | None) -> Clause | None:
    """SELECT the vids of the versions of those types whose text `param` holds every word; None for no such text."""
    if param not in _LETTERS:
        return None
    asked = " OR ".join(f"({_asked(type, param, words)})" for type in types)
    if cids is not None:
        records = " OR ".join(_quoted(f"{cid}p") for cid in cids)
        asked = f"({records}) AND ({asked})"
    return Clause("SELECT rowid FROM words WHERE words MATCH ?", (asked,))


def _asked(type: int, param: str, words: Sequence[str]) -> str:
    if not words:
        return _quoted(f"{type}{_MARKS[param]}")
    either = (" OR ".join(_quoted(_token(type, letter, word)) for letter in _LETTERS[param]) for word in words)
    return " AND ".join(f"({each})" for each in either)


def _token(type: int, letter: str, word: str) -> str:
    if _PLAIN.fullmatch(word):
        return f"{type}{letter}{word}"
    return f"{type}{_HASHED[letter]}{blake2b(word.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _quoted(token: str) -> str:
    return f'"{token}"'
