"""Names by their sound, for the parameter `phonetic` of persons: a key of our own for French and English names.

Of each word the consonants count, in their order, and whether it begins with a vowel. What sounds alike in either
language falls together (`ph` and `f`; `c`, `k` and `qu`; `s`, `z` and soft `c`; `d` and `t`; `b` and `p`; `v` and `w`),
`h` and what French leaves mute at the end of a word are passed over, doubled letters count once. So `Lefebvre` and
`Lefèvre`, `Gauthier` and `Gautier`, `Philippe` and `Filip`, `Dupont` and `Dupond` have one key each.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from fhir_server.search.entries import Text
from fhir_server.search.kinds.asked import Asked
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.kinds.string import beginning, parts, words
from fhir_server.search.predicate import Predicate, StringIs, conj

MODIFIERS: Final = frozenset({""})

_NAME: Final = ("text", "family", "given")
_MOST: Final = 16
_SOUNDS: Final = (
    *(("sch", "x"), ("ch", "x"), ("sh", "x"), ("ph", "f"), ("h", ""), ("qu", "k"), ("ck", "k"), ("gn", "n")),
    *(("ce", "se"), ("ci", "si"), ("cy", "sy"), ("ge", "je"), ("gi", "ji"), ("gy", "jy"), ("gu", "g")),
    *(("bv", "v"), ("mb", "nb"), ("mp", "np")),
)
_VOWELS: Final = "aeiouy"
_MUTE: Final = "estdxz"
_ALIKE: Final = str.maketrans({"c": "k", "q": "k", "z": "s", "d": "t", "b": "p", "w": "v"} | dict.fromkeys(_VOWELS, ""))
_DOUBLED: Final = re.compile(r"(\w)\1+")


def where(asked: Asked, text: str) -> Predicate:
    """Each word sounds like one of the name."""
    return conj(*(StringIs(asked.param, "exact", key) for key in dict.fromkeys(keys(words(asked, text)))))


@lru_cache(maxsize=1024)
def keys(normal: str) -> tuple[str, ...]:
    """The key of each of the first 16 words of a text in normal form."""
    for letters, sound in _SOUNDS:
        normal = normal.replace(letters, sound)
    return tuple(_key(word) for word in islice(normal.split(), _MOST))


def _key(word: str) -> str:
    vowel = "a" if word[0] in _VOWELS else ""
    consonants = (word.rstrip(_MUTE) or word).translate(_ALIKE)
    return vowel + _DOUBLED.sub(r"\1", consonants)


def _sound(param: str, value: Any, sink: Sink) -> None:
    if type(value) is str:
        for key in keys(beginning(value)):
            sink.strings.append(Text(param, key, key))


ADD: Final[dict[str, Add]] = {"string": _sound, "HumanName": parts(_NAME, _sound)}
