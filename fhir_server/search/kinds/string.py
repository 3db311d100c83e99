"""Strings: names, addresses, titles (https://hl7.org/fhir/R4/search.html#string).

A text is found by its first 1,000 characters, a part of a name by its first 16 words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from unicodedata import category, normalize

from fhir_server.search.entries import Text
from fhir_server.search.kinds.asked import Asked, unescape
from fhir_server.search.kinds.bounds import CUT, LONGEST, MOST, cut
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.predicate import Predicate, StringIs, conj

MODIFIERS: Final = frozenset({"", "exact", "contains"})

_WORDS: Final = 10
# Words of a name that it is found from; each is stored with all that follows it.
_STARTS: Final = 16
_ADDRESS: Final = ("text", "line", "city", "district", "state", "postalCode", "country")
_NAME: Final = ("text", "family", "given", "prefix", "suffix")

# What names and the displays of codes are no longer than, and how many are remembered: the same ones come again and
# again.
_SHORT: Final = 100
_REMEMBERED: Final = 4096

_NO_WORD: Final = re.compile(r"[\W_]+")
# Letters that Unicode does not take apart, as people type them.
_LETTERS: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i"})


def _fold(text: str) -> str:
    letters = normalize("NFKD", normalize("NFKD", text).casefold().translate(_LETTERS))
    return _NO_WORD.sub(" ", "".join(each for each in letters if category(each) not in ("Mn", "Me", "Cf")))


# What European languages are written with, letter by letter: many times faster than taking each text apart.
_FOLDED: Final = {chr(code): _fold(chr(code)) for code in (*range(0x80, 0x250), *range(0x2000, 0x2070))}
_FOLDED_ASCII: Final = {code: _fold(chr(code)) for code in range(0x80)}
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def normalise(text: str) -> str:
    """The form in which texts are compared: no accents, no case, punctuation and runs of blanks as one blank."""
    return _remembered(text) if len(text) <= _SHORT else _normal(text)


def words_of(text: str) -> list[str]:
    """The words of the normal form."""
    return _remembered(text).split() if len(text) <= _SHORT else _words(text)


def _normal(text: str) -> str:
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    folded = text.lower()
    if not folded.isascii():
        for letter in set(_BEYOND_ASCII.findall(folded)):
            folded = folded.replace(letter, _FOLDED.get(letter, letter))
    return (folded.translate(_FOLDED_ASCII) if folded.isascii() else _fold(text)).split()


_remembered = lru_cache(maxsize=_REMEMBERED)(_normal)


def where(asked: Asked, text: str) -> Predicate:
    """The beginning of a text, with :contains any part of it, with :exact all of it as sent.

    Of a whole name (HumanName) each word must begin some part: `jean dupont` finds given Jean, family Dupont. Not so
    where the element may be a plain string as well, which is found by its beginning alone.
    """
    if asked.modifier == "exact":
        return StringIs(asked.param, "exact", unescape(text))
    normal = words(asked, text)
    if asked.modifier == "contains":
        return StringIs(asked.param, "contains", normal)
    if asked.types == ("HumanName",) and normal.count(" ") < _WORDS:
        return conj(*(StringIs(asked.param, "starts", word) for word in normal.split()))
    return StringIs(asked.param, "starts", normal)


def words(asked: Asked, text: str) -> str:
    """The normal form of a text to look for, which must have some letter or digit and no more than the index has."""
    normal = normalise(unescape(text))
    if not normal:
        raise asked.malformed("A text with letters or digits is expected.")
    if len(normal) > LONGEST:
        raise asked.malformed("A shorter text is expected.")
    return normal


def beginning(text: str) -> str:
    """The normal form of a text to be found: of its beginning, as much as the index has."""
    return normalise(text[:CUT])[:CUT]


def _string(param: str, value: Any, sink: Sink) -> None:
    if type(value) is str and (normal := beginning(value)):
        sink.strings.append(Text(param, normal, cut(value)))


def add_name(param: str, value: Any, sink: Sink) -> None:
    """A part of a name, and again from the next words on: "Carreno Quinones" is found by "quinones" too."""
    if type(value) is not str or not (normal := beginning(value)):
        return
    sink.strings.append(Text(param, normal, cut(value)))
    if " " in normal:
        for blank in islice(re.finditer(" (?=.)", normal), _STARTS - 1):
            sink.strings.append(Text(param, normal[blank.end() :], ""))


def parts(names: tuple[str, ...], add: Add) -> Add:
    """Adds each of those elements of a value of a complex type."""

    def add_parts(param: str, value: Any, sink: Sink) -> None:
        if type(value) is not dict:
            return
        for name in names:
            part = value.get(name)
            if type(part) is list:
                for each in part[:MOST]:
                    add(param, each, sink)
            elif part is not None:
                add(param, part, sink)

    return add_parts


ADD: Final[dict[str, Add]] = {
    "string": _string,
    # What R4 derives from string: `as string` keeps them.
    "markdown": _string,
    "code": _string,
    "id": _string,
    "HumanName": parts(_NAME, add_name),
    "Address": parts(_ADDRESS, _string),
}
