"""What an application on Ray may be told; without Ray."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ruvllm.integrations.ray.settings import RaySettings


@pytest.mark.parametrize(
    "server",
    [
        {"cors_origins": "https://a.example"},
        {"allowed_hosts": "localhost"},
        {"allowed_hosts": [1]},
        {"calibration": {"x": 1}},
        {"adapter_dirs": ["/adapters"]},
        {"idle_unload": 5},
    ],
)
def test_settings_of_the_server_have_their_types(server: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RaySettings(server=server)


def test_lists_are_taken_as_a_file_has_them() -> None:
    settings = RaySettings(server={"cors_origins": ["https://a.example"]}).server_settings()
    assert settings.cors_origins == ("https://a.example",)


def test_without_keys_only_this_machine_s_names_are_answered(tmp_path: Path) -> None:
    assert "127.0.0.1" in (RaySettings().server_settings().allowed_hosts or ())
    assert RaySettings(server={"allowed_hosts": None}).server_settings().allowed_hosts is None
    keys = tmp_path / "keys"
    keys.write_text("sk-a-tenant tenant=a\n")
    assert RaySettings(api_key_file=keys).server_settings().allowed_hosts is None


def test_no_turns_are_taken_behind_where_seats_are_shared(tmp_path: Path) -> None:
    learns: dict[str, Any] = {"learn": True}
    assert RaySettings(server=learns).server_settings().learn_interval == 60
    assert RaySettings(server=learns, learn_dir=tmp_path).server_settings().learn_interval == 0
    with pytest.raises(ValidationError, match="consolidate"):
        RaySettings(server={**learns, "learn_interval": 60}, learn_dir=tmp_path)
