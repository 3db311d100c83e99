"""One request of the fuzzer, and how a person would send it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]

_SHOWN = 4_000


@dataclass(frozen=True, slots=True)
class Case:
    """`actor`: whose token travels with it, "" for none. `target`: path and query as on the request line. `raw`: the
    whole request, for one that is no HTTP; nothing else of the case is used then."""

    index: int
    kind: str
    actor: str
    method: str = "GET"
    target: str = "/fhir"
    headers: Headers = ()
    body: bytes = b""
    chunked: bool = False
    raw: bytes = b""

    def wire(self, token: str) -> bytes:
        """The request as bytes."""
        if self.raw:
            return self.raw
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        body = self.body
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = _chunks(body)
        elif body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def __str__(self) -> str:
        """What is needed to send it again; the token is named, not shown."""
        if self.raw:
            return f"#{self.index} {self.kind}: {self.raw[:_SHOWN]!r}"
        lines = [f"#{self.index} {self.kind}, as {self.actor or 'nobody'}", f"{self.method} {self.target[:_SHOWN]}"]
        lines += [f"{name}: {value[:_SHOWN]}" for name, value in self.headers]
        if self.body:
            more = f" … {len(self.body)} bytes" if len(self.body) > _SHOWN else ""
            lines.append(f"{self.body[:_SHOWN]!r}{more}")
        return "\n    ".join(lines)


def _chunks(body: bytes) -> bytes:
    """In pieces of 7 bytes for the first hundred, then the rest at once."""
    pieces = [body[at : at + 7] for at in range(0, min(len(body), 700), 7)]
    pieces += [body[700:]] if len(body) > 700 else []
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
