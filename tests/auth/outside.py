"""An identity provider for the length of a block, and the people it knows."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.live import free_port

SECRET = "a secret of the client"
DOCTOR = "f:550dc1c8:899900000011"


@dataclass
class Outside:
    """One provider that answers."""

    issuer: str
    http: httpx.Client

    def knows(self, subject: str, **claims: Any) -> None:
        """Make a person known, with what is said of them."""
        self.http.put(f"/users/{subject}", json=claims).raise_for_status()

    def lies(self, **how: Any) -> None:
        """From now on it answers so; without arguments, the truth."""
        self.http.post("/lie", json=how).raise_for_status()

    def log_in(self, url: str, subject: str) -> str:
        """Log in at the url where a browser was sent; the url that it is sent back to."""
        answer = self.http.post(url, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def declined(self, url: str) -> str:
        """The same, saying no."""
        return str(self.http.post(url, data={"action": "deny"}).headers["location"])


@contextmanager
def outside(folder: Path) -> Iterator[tuple[Outside, dict[str, Any]]]:
    """The provider, and the settings of a server for which it is Pro Santé Connect and FranceConnect at once."""
    issuer = f"http://127.0.0.1:{free_port()}"
    script = Path(__file__).with_name("oidc_provider.py")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", script, issuer.rpartition(":")[2], SECRET],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=issuer, timeout=30) as http:
            _await(http, process)
            secret = folder / "client-secret"
            secret.write_text(SECRET + "\n")
            secret.chmod(0o600)
            settings = {
                f"{name}_{key}": value
                for name in ("psc", "fc")
                for key, value in (("issuer", issuer), ("client_id", "us"), ("secret_file", str(secret)))
            }
            yield Outside(issuer, http), {**settings, "psc_scope": "openid profile", "fc_scope": "openid"}
    finally:
        process.terminate()
        process.wait(10)


def exercice(profession: str = "10", category: str = "C", **activities: Any) -> dict[str, Any]:
    """One exercice of SubjectRefPro; `activities`: of the one activity that it has."""
    activity = {"codeSecteurDactivite": "SA07", "numeroFinessSite": "990000001", **activities}
    return {
        "codeProfession": profession,
        "codeCategorieProfessionnelle": category,
        "nomDexercice": "MARTIN",
        "prenomDexercice": "Claire",
        "codeSavoirFaire": "SM54",
        "activities": [activity],
    }


def professional(*exercices: dict[str, Any], rpps: str = "99900000011", **more: Any) -> dict[str, Any]:
    """The claims of Pro Santé Connect about a professional."""
    return {
        "SubjectNameID": f"8{rpps}",
        "family_name": "MARTIN",
        "given_name": "Claire",
        "otherIds": [{"identifiant": f"8{rpps}", "origine": "RPPS", "qualite": 1}],
        "SubjectRefPro": {"exercices": list(exercices) or [exercice()]},
        "acr": "eidas1",
        **more,
    }


def _await(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            http.get("/.well-known/openid-configuration")
        except httpx.TransportError:
            if process.poll() is not None:
                raise RuntimeError("the identity provider did not start") from None
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the identity provider does not answer")
