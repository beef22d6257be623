from pathlib import Path

import pytest
from pydantic import ValidationError

from moonpool.config import Settings

SECRET = "a-very-secret-value"


def test_defaults() -> None:
    settings = Settings()
    assert settings.database == "sqlite:////var/lib/moonpool/db.sqlite"
    assert (settings.origin, settings.preview_domain) == ("http://127.0.0.1:8080", "localhost:8080")
    assert settings.host().warm_pool == 4


def test_every_setting_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONPOOL_DATA", "/srv/moonpool")
    monkeypatch.setenv("MOONPOOL_POOL_SIZE", "20")
    monkeypatch.setenv("MOONPOOL_NETWORK_ALLOW", "10.0.0.0/8, 192.168.1.0/24,")
    monkeypatch.setenv("MOONPOOL_DATABASE_URL", "postgresql://moonpool@localhost/moonpool")
    monkeypatch.setenv("MOONPOOL_PUBLIC_URL", "https://sandboxes.example.org/")
    settings = Settings()
    assert settings.host().data == Path("/srv/moonpool")
    assert settings.host().warm_pool == 20
    assert settings.host().operator_allow == ("10.0.0.0/8", "192.168.1.0/24")
    assert settings.database.startswith("postgresql://")
    assert settings.origin == "https://sandboxes.example.org"


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONPOOL_API_KEY", SECRET)
    monkeypatch.setenv("MOONPOOL_DATABASE_URL", f"postgresql://moonpool:{SECRET}@localhost/moonpool")
    settings = Settings()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("POOL_SIZE", "many"), ("POOL_SIZE", "-1"), ("ON_EXIT", "explode"), ("MAX_CPU", "0"), ("LOG_LEVEL", "loud")],
)
def test_nonsense_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MOONPOOL_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert f"input_value='{value}'" not in str(caught.value)
