"""The Synthea load: every entry stored, every reference resolved, every byte kept."""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
import pytest

from tests.conftest import Caller
from tests.live import running

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
ENTRIES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
REFERENCE = re.compile(rb'("reference"\s*:\s*)"((?:[^"\\]|\\.)*)"')


class Loader:
    """A keep-alive connection to one server."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._path = parts.path
        self._http = HTTPConnection(parts.hostname or "", parts.port, timeout=300)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def post(self, body: bytes) -> tuple[int, Any]:
        """POST [base]."""
        self._http.request("POST", self._path, body, {"Content-Type": "application/fhir+json"})
        answer = self._http.getresponse()
        return answer.status, orjson.loads(answer.read())

    def get(self, url: str) -> tuple[int, bytes]:
        """GET under the base."""
        self._http.request("GET", f"{self._path}/{url}")
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def all(self, types: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Every resource of the types as "Type/id" and bytes, page by page."""
        for type_ in sorted(types):
            url = f"{type_}?_count=500"
            while url:
                status, body = self.get(url)
                assert status == 200
                page = MEMBERS.decode(body)
                for entry in ENTRIES.decode(page["entry"]):
                    yield orjson.loads(bytes(entry["fullUrl"])).partition("/fhir/")[2], bytes(entry["resource"])
                links = {each["relation"]: each["url"] for each in orjson.loads(bytes(page["link"]))}
                url = links.get("next", "").partition("/fhir/")[2]


def _files(folder: Path) -> list[Path]:
    """Hospitals, then practitioners, then patients: the later refer to the former."""
    shared = [next(folder.glob(f"0-{kind}*")) for kind in ("hospital", "practitioner")]
    return shared + sorted(each for each in folder.glob("*.bz2") if each not in shared)


def _sent(body: bytes) -> list[bytes]:
    return [bytes(entry["resource"]) for entry in ENTRIES.decode(MEMBERS.decode(body)["entry"])]


def _plain(resource: bytes) -> dict[str, bytes]:
    """The members whose bytes must be the client's: not id, not meta, and references without their target."""
    members = {name: bytes(raw) for name, raw in MEMBERS.decode(resource).items() if name not in ("id", "meta")}
    return {name: REFERENCE.sub(rb'\1"*"', raw) for name, raw in members.items()}


@pytest.mark.shared_data
def test_every_entry_is_stored_byte_for_byte_and_every_reference_resolves(shared_data: Path, tmp_path: Path) -> None:
    """The whole set, and every page of each of its types."""
    found: list[str] = []
    stored: dict[str, bytes] = {}
    wanted: set[str] = set()
    with running(tmp_path, open=True) as settings, closing(Loader(settings.fhir_base)) as loader:
        for file in _files(shared_data / "synthea"):
            body = bz2.decompress(file.read_bytes())
            status, answer = loader.post(body)
            assert status == 200, f"{file.name}: {answer}"
            entries = answer["entry"]
            assert {entry["response"]["status"] for entry in entries} == {"201 Created"}, file.name
            for entry, resource in zip(entries, _sent(body), strict=True):
                location = entry["response"]["location"].removeprefix(settings.fhir_base + "/")
                stored[location.partition("/_history")[0]] = resource
        for url, back in loader.all({url.partition("/")[0] for url in stored}):
            assert _plain(back) == _plain(stored[url]), url
            wanted.update(target.decode() for _, target in REFERENCE.findall(back))
            found.append(url)
    literal = {each for each in wanted if not each.startswith("#")}
    assert len(stored) == 66_283
    assert sorted(found) == sorted(stored)
    assert literal <= stored.keys()


@pytest.mark.shared_data
def test_a_patient_before_the_practitioners_fails_whole(shared_data: Path, tmp_path: Path) -> None:
    """412 for a conditional reference that finds nothing, and nothing is left behind."""
    with running(tmp_path, open=True) as settings, closing(Loader(settings.fhir_base)) as loader:
        status, _ = loader.post(bz2.decompress(_files(shared_data / "synthea")[2].read_bytes()))
        assert status == 412
        for kind in ("Patient", "Observation", "Encounter", "Claim"):
            assert orjson.loads(loader.get(f"{kind}?_summary=count")[1])["total"] == 0


@pytest.mark.shared_data
def test_the_shared_files_twice_make_nothing_twice_but_plain_creates(shared_data: Path, open_server: Caller) -> None:
    """ifNoneExist finds the hospitals and practitioners; 195 PractitionerRoles have no criteria."""
    for _ in range(2):
        for file in _files(shared_data / "synthea")[:2]:
            assert open_server.post("", bz2.decompress(file.read_bytes())).status_code == 200
    totals = {
        kind: open_server.get(f"{kind}?_summary=count").json()["total"]
        for kind in ("Organization", "Location", "Practitioner", "PractitionerRole")
    }
    assert totals == {"Organization": 194, "Location": 194, "Practitioner": 195, "PractitionerRole": 390}
