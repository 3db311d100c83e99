"""Where data may lie, and where secrets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.settings import Settings, secret_at
from fhir_server.storage.opening import keks_of, open_kept
from fhir_server.storage.residency import Elsewhere, check_residency

KEK = "1f" * 32


@pytest.fixture
def region(tmp_path: Path) -> Path:
    """A folder in the region; beside it one that is not."""
    for name in ("fr", "fr-not", "us"):
        (tmp_path / name).mkdir()
    (tmp_path / "fr" / "link").symlink_to(tmp_path / "us")
    return tmp_path / "fr"


def test_without_a_region_a_store_lies_anywhere(tmp_path: Path) -> None:
    """Nothing needs to be set."""
    check_residency(Settings(store=f"sqlite:{tmp_path / 'x.db'}"))


def test_a_region_without_places_is_refused() -> None:
    """A word alone keeps nothing anywhere."""
    with pytest.raises(Elsewhere, match="STORE_LOCATIONS"):
        check_residency(Settings(data_region="FR"))


@pytest.mark.parametrize(
    ("store", "lies_there"),
    [
        ("sqlite:{}/record.db", True),
        ("SQLITE:{}/deeper/record.db", True),
        ("{}/record.db", True),
        ("sqlite:{}/../us/record.db", False),
        ("sqlite:{}/link/record.db", False),
        ("sqlite:{}-not/record.db", False),
        ("sqlite:record.db", False),
        ("mongodb://db.fr.example/x", True),
        ("mongodb://user:pass@db.fr.example:27017/x", True),
        ("mongodb://db.fr.example:1,db.us.example:2/x", False),
        ("mongodb://db.fr.example@db.us.example/x", False),
        ("mongodb://db.us.example/db.fr.example", False),
    ],
)
def test_a_store_is_opened_in_its_region_only(region: Path, store: str, lies_there: bool) -> None:
    """Where it really lies: neither dots, nor links, nor a name that only begins so lead out."""
    settings = Settings(store=store.format(region), data_region="FR", store_locations=f"{region} db.fr.example")
    if lies_there:
        check_residency(settings)
    else:
        with pytest.raises(Elsewhere, match="FHIR_SERVER_STORE "):
            check_residency(settings)


def test_a_store_elsewhere_is_not_made(region: Path) -> None:
    """The start is refused before anything is written; the same for the file of its keys."""
    outside = region.parent / "us" / "record.db"
    allowed = {"store_locations": str(region), "data_region": "FR"}
    with pytest.raises(Elsewhere, match=r"FR.* names"):
        open_kept(Settings(store=f"sqlite:{outside}", **allowed))
    assert not outside.exists()
    with pytest.raises(Elsewhere, match="FHIR_SERVER_KEY_STORE"):
        open_kept(Settings(store=f"sqlite:{region / 'record.db'}", key_store=str(outside), **allowed))


def secret(folder: Path, text: str, mode: int = 0o600) -> str:
    """The path of a file with a secret."""
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """The message names the setting and what to do, and not the secret."""
    with pytest.raises(ValueError, match=r"FHIR_SERVER_KEK_FILE.*chmod 600") as error:
        secret_at("kek_file", secret(tmp_path, KEK, mode))
    assert KEK not in str(error.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    """Without the line break that editors add."""
    assert secret_at("kek_file", secret(tmp_path, f"{KEK}\n", mode)) == KEK


def test_a_secret_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under any name, for platforms that hand secrets out so."""
    monkeypatch.setenv("OUR_KEK", KEK)
    assert secret_at("kek_file", "env:OUR_KEK") == KEK
    with pytest.raises(ValueError, match="FHIR_SERVER_KEK_FILE: there is no secret"):
        secret_at("kek_file", "env:OTHER")


def test_a_secret_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """No file, a file that is no text, an empty one."""
    for path in (str(tmp_path / "no"), str(tmp_path)):
        with pytest.raises(ValueError, match="FHIR_SERVER_X: the file cannot be read"):
            secret_at("x", path)
    with pytest.raises(ValueError, match="FHIR_SERVER_X: there is no secret"):
        secret_at("x", secret(tmp_path, " \n"))


def test_the_keys_of_the_settings(tmp_path: Path) -> None:
    """None, one, or one and the one before it."""
    path = secret(tmp_path, KEK)
    assert keks_of(Settings()) is None
    found = keks_of(Settings(kek_file=path, kek_file_before=path))
    assert found is not None
    assert [found.now.name] == [each.name for each in found.before]
    with pytest.raises(ValueError, match="KEK_FILE_BEFORE"):
        keks_of(Settings(kek_file_before=path))
