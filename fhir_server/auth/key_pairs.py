"""Key pairs for software that signs its own assertions: the private one for it, the public one for its registration."""

from __future__ import annotations

from typing import Any

from joserfc.jwk import ECKey


def key_pair(kid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A new pair for ES384, as JWKs: (private, public)."""
    key = ECKey.generate_key("P-384", {"kid": kid, "use": "sig", "alg": "ES384"}, private=True)
    return dict(key.as_dict(private=True)), dict(key.as_dict(private=False))
