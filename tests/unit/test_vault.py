"""Secrets at rest."""

from pathlib import Path

import pytest

from moonpool.errors import EngineError, InvalidInput
from moonpool.vault import NAME, Vault


def test_what_was_sealed_opens_after_a_restart(tmp_path: Path) -> None:
    sealed = Vault.open(tmp_path).box("webhooks").seal("s3cret ü")
    assert "s3cret" not in sealed
    assert Vault.open(tmp_path).box("webhooks").open(sealed) == "s3cret ü"


def test_the_key_is_the_servers_alone(tmp_path: Path) -> None:
    Vault.open(tmp_path)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_box_opens_nothing_of_another(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path)
    with pytest.raises(EngineError):
        vault.box("channels").open(vault.box("webhooks").seal("s"))


def test_a_key_is_changed_by_putting_one_before_it(tmp_path: Path) -> None:
    old = Vault.open(tmp_path, "the old key of this server").box("p").seal("s")
    both = Vault.open(tmp_path, "a new key of this server\nthe old key of this server").box("p")
    assert both.open(old) == "s"
    new = both.seal("s")
    assert Vault.open(tmp_path, "a new key of this server").box("p").open(new) == "s"
    with pytest.raises(EngineError):
        Vault.open(tmp_path, "a new key of this server").box("p").open(old)


@pytest.mark.parametrize("given", ["", "short", "long enough for a key\nshort"])
def test_short_keys_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(InvalidInput):
        Vault.open(tmp_path, given)
