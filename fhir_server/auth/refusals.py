"""How an authorization server says no (RFC 6749 §4.1.2.1, §5.2): a code for the program, a sentence for its author."""

from __future__ import annotations

from typing import Final


class Refused(Exception):
    """A request to the authorization server that is not met. `code`: of RFC 6749, 8707 or OpenID Connect; `text` holds
    nothing that the caller does not know."""

    def __init__(self, code: str, text: str = "", *, status: int = 400) -> None:
        super().__init__(text or code)
        self.code, self.text, self.status = code, text, status


_NOT_THIS_CLIENT: Final = "The client is not registered, or did not prove to be that client."


def unknown_client() -> Refused:
    """The one refusal of a client, whatever is wrong with it: unknown, no proof, a wrong one, one used before."""
    return Refused("invalid_client", _NOT_THIS_CLIENT, status=401)


def invalid_grant() -> Refused:
    """The one refusal of a code or refresh token: unknown, used, expired, another client's, without its verifier."""
    return Refused("invalid_grant", "The grant is not valid, not any more, or not for this client.")
