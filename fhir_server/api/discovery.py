"""What the authorization server says of itself: SMART configuration, and OpenID Connect Discovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.auth.keys import ALGORITHMS as SIGNING
from fhir_server.auth.public_keys import ALGORITHMS as ASSERTED
from fhir_server.settings import Settings

CAPABILITIES: Final = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-ehr-patient",
    "context-standalone-patient",
    "permission-offline",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
"""Of SMART App Launch 2.2; access §1 lists them, and no more than works."""

GRANTS: Final = ("authorization_code", "refresh_token", "client_credentials")
SCOPES: Final = (
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "offline_access",
    "online_access",
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
)
_METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")


def smart_configuration(settings: Settings, grants: Mapping[str, object]) -> dict[str, Any]:
    """`.well-known/smart-configuration`; every url is absolute. `grants`: grant types besides the usual ones."""
    return _told(settings, grants) | {"capabilities": list(CAPABILITIES)}


def openid_configuration(settings: Settings, grants: Mapping[str, object]) -> dict[str, Any]:
    """`.well-known/openid-configuration` of the issuer."""
    return _told(settings, grants) | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(SIGNING),
        "response_modes_supported": ["query"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "fhirUser"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def _told(settings: Settings, grants: Mapping[str, object]) -> dict[str, Any]:
    base = settings.web_base
    return {
        "issuer": base,
        "jwks_uri": f"{base}/oauth/jwks",
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "management_endpoint": f"{base}/apps",
        "grant_types_supported": [*GRANTS, *grants],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": ["none", *_METHODS],
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "introspection_endpoint_auth_methods_supported": list(_METHODS),
        "revocation_endpoint_auth_methods_supported": ["none", *_METHODS],
        "scopes_supported": list(SCOPES),
    }
