"""What the server writes to its log: one line each, with the request it belongs to, and nothing of anybody (access §9).

Lines of ours are a constant sentence and a few named facts. Of a fault only its kind and its place are told: its
message may quote a resource, and so may the values around it. Of other libraries' lines the pattern is told, never what
was put into it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from traceback import extract_tb
from typing import Any, Final, TextIO

import structlog

REQUEST: Final[ContextVar[str]] = ContextVar("request", default="")
"""The id of the request that is being answered, as X-Request-Id says it."""

_FRAMES: Final = 6
_TALKATIVE: Final = ("httpx", "httpcore")
"""They tell whole urls at level info."""


def configure(level: str, to: TextIO | None = None) -> None:
    """Write what is of that level (debug, info, warning, error) or above, to standard error if nothing else is said."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_request,
            _with_fault,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(to or sys.stderr),
    )
    root = logging.getLogger()
    root.setLevel(max(least, logging.INFO))
    for handler in [each for each in root.handlers if isinstance(each, _Foreign)]:
        root.removeHandler(handler)
    root.addHandler(_Foreign())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Foreign(logging.Handler):
    """Lines of other libraries, told as ours are."""

    def emit(self, record: logging.LogRecord) -> None:
        """The first line of the pattern: what follows it, and what is put into it, may be anybody's."""
        said = str(record.msg).partition("\n")[0]
        log = structlog.get_logger()
        log.log(record.levelno, said, logger=record.name, exc_info=record.exc_info)


def _with_request(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request = REQUEST.get()
    if request:
        line.setdefault("request_id", request)
    return line


def _with_fault(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The kinds of an exception and of what caused it, and where it was raised, in the place of exc_info."""
    told = line.pop("exc_info", None)
    if told is True:
        told = sys.exc_info()
    error = told if isinstance(told, BaseException) else told[1] if isinstance(told, tuple) else None
    if error is not None:
        line["where"] = " ".join(f"{each.name}:{each.lineno}" for each in extract_tb(error.__traceback__)[-_FRAMES:])
        kinds: list[str] = []
        while error is not None and len(kinds) < _FRAMES:
            kinds.append(type(error).__name__)
            error = error.__cause__ or error.__context__
        line["fault"] = " ".join(kinds)
    return line
