"""Damage to JSON: first to the tree, at any level of it, then to the text."""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, TypeAlias

from tests.fuzz import nasty

Place: TypeAlias = tuple[Any, Any]
_MARK: Final = "\u241fraw\u241f"


def dump(tree: Any, *, ascii: bool = True) -> bytes:
    """As JSON text; a `Raw` is written without quotes, a lone surrogate as an escape."""
    raws: list[str] = []

    def replaced(part: Any) -> Any:
        if isinstance(part, nasty.Raw):
            raws.append(part)
            return f"{_MARK}{len(raws) - 1}{_MARK}"
        if isinstance(part, dict):
            return {key: replaced(value) for key, value in part.items()}
        return [replaced(each) for each in part] if isinstance(part, list) else part

    text = json.dumps(replaced(tree), ensure_ascii=ascii, separators=(",", ":"))
    mark = json.dumps(_MARK, ensure_ascii=ascii)[1:-1]
    if raws:
        text = re.sub(f'"{re.escape(mark)}(\\d+){re.escape(mark)}"', lambda found: raws[int(found[1])], text)
    return text.encode("utf-8", "surrogatepass")


def places(tree: Any) -> Iterator[Place]:
    """(container, key) of every value below the root."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from places(tree[key])


def damage_tree(random: Random, tree: Any) -> None:
    """Change one thing, in place."""
    container, key = random.choice(list(places(tree)))
    random.choice(_TREE)(random, container, key)


def damage_text(random: Random, body: bytes) -> bytes:
    """Change the text, so that it is mostly no JSON, no UTF-8 or no resource any more."""
    return random.choice(_TEXT)(random, body)


def _wrong_value(random: Random, container: Any, key: Any) -> None:
    container[key] = nasty.value(random)


def _wrong_text(random: Random, container: Any, key: Any) -> None:
    container[key] = nasty.text(random)


def _wrong_number(random: Random, container: Any, key: Any) -> None:
    container[key] = nasty.Raw(random.choice(nasty.NUMBERS))


def _wrapped(random: Random, container: Any, key: Any) -> None:
    container[key] = random.choice(([container[key]], {"value": container[key]}, [container[key], None]))


def _unwrapped(random: Random, container: Any, key: Any) -> None:
    part = container[key]
    container[key] = (
        part[0] if isinstance(part, list) and part else next(iter(part.values()), 0) if isinstance(part, dict) else {}
    )


def _removed(random: Random, container: Any, key: Any) -> None:
    del container[key]


def _doubled(random: Random, container: Any, key: Any) -> None:
    """The same name twice, which no tree can hold: the second travels inside the first's text."""
    if isinstance(container, dict) and not isinstance(container[key], nasty.Raw):
        first = dump(container[key]).decode("utf-8", "surrogatepass")
        container[key] = nasty.Raw(f"{first},{json.dumps(str(key))}:{first}")
    else:
        container[key] = [container[key]] * 3


def _unknown(random: Random, container: Any, key: Any) -> None:
    name = random.choice(
        ("nosuch", "", "_", "__proto__", "fhir_comments", "_" + str(key), "resourceType", nasty.text(random))
    )
    target = container if isinstance(container, dict) else container[key]
    if isinstance(target, dict):
        target[name] = nasty.value(random)
    else:
        container[key] = {name: nasty.value(random)}


def _renamed(random: Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[random.choice((str(key).upper(), str(key) + "[x]", " " + str(key), "_" + str(key)))] = container.pop(
            key
        )
    else:
        container[key] = nasty.value(random)


def _deep(random: Random, container: Any, key: Any) -> None:
    container[key] = nasty.nested(random)


def _many(random: Random, container: Any, key: Any) -> None:
    """Copies, so that the next damage hits one of them: the client must not be what is slow."""
    count = random.choice((2, 50, 50, 500)) if len(dump(container[key])) < 1_000 else 2
    container[key] = [copy.deepcopy(container[key]) for _ in range(count)]


_TREE: Final[tuple[Callable[[Random, Any, Any], None], ...]] = (
    _wrong_value,
    _wrong_value,
    _wrong_text,
    _wrong_text,
    _wrong_number,
    _wrapped,
    _unwrapped,
    _removed,
    _doubled,
    _unknown,
    _renamed,
    _deep,
    _many,
)


def _cut(random: Random, body: bytes) -> bytes:
    return body[: random.randrange(len(body) + 1)]


def _flipped(random: Random, body: bytes) -> bytes:
    changed = bytearray(body or b" ")
    for _ in range(random.choice((1, 3, 30))):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _inserted(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body) + 1)
    junk = (
        b"\x00",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b",",
        b'"',
        b"\\",
        b"{",
        b"]",
        b"//x\n",
        b"\\ud800",
    )
    return body[:at] + random.choice(junk) + body[at:]


def _recoded(random: Random, body: bytes) -> bytes:
    text = body.decode("utf-8", "replace")
    return text.encode(random.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp037")), "replace")


def _something_else(random: Random, body: bytes) -> bytes:
    return random.choice(
        (b"", b" ", b"null", b"[]", b"{}", b"1", b'"x"', b"true", b"{}{}", b"\x1f\x8b", b"<Patient/>", b"a=b&c=d")
    )


def _wrapped_text(random: Random, body: bytes) -> bytes:
    opened, closed = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"", b"x"), (b"\xef\xbb\xbf", b""), (b"", b",")))
    return opened + body + closed


def _deep_text(random: Random, body: bytes) -> bytes:
    depth = random.choice((65, 1_000, 100_000))
    return random.choice((b"[", b'{"a":', b"[{", b'{"resourceType":"Patient","extension":[')) * depth


def _zipped(random: Random, body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


_TEXT: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    _cut,
    _cut,
    _flipped,
    _flipped,
    _inserted,
    _inserted,
    _recoded,
    _something_else,
    _wrapped_text,
    _deep_text,
    _zipped,
)
