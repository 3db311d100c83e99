"""How much of a resource goes into the index, so that no resource costs many times its own size there."""

from __future__ import annotations

from typing import Final

# Characters of a text that is searched for. SQLite and PostgreSQL keep it in the keys of their indexes.
LONGEST: Final = 1_000
# Entries of one parameter and one resource; by what comes after them it is not found.
MOST: Final = 1_000
# Types that a reference without one may lead to: more make one id a question about half the server.
GUESSED: Final = 12


# Characters that the index keeps of a text.
CUT: Final = LONGEST + 1


def cut(text: str) -> str:
    """`text` as the index has it: one character more than what is searched for, if it is that long.

    Thus what was cut is there, and is found by its beginning, but is never taken for the same as what is asked for.
    """
    return text[:CUT]
