"""A server with adapters, and what its tests ask of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ruvllm import LLM
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from tests.conftest import FIXTURES
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

__all__ = ["ADMIN", "FIRST", "SECOND", "USER", "adapter_server", "folder", "load", "post", "unload"]

ADMIN, USER = "sk-admin-0001", "sk-user-00001"
# The reference adapters: what they compute is known of PEFT.
FIRST, SECOND = "lora-all-r4", "lora-rs-r8"


def folder(name: str) -> Path:
    """The folder of a reference adapter."""
    return FIXTURES / "adapters" / name / "adapter"


@contextmanager
def adapter_server(llm: LLM, *adapter_dirs: Path) -> Iterator[RunningServer]:
    """The model behind a server with an admin's and a user's key."""
    keys = KeyRing([ApiKey.of(ADMIN), ApiKey.of(USER, tenant="acme", is_admin=False)])
    settings = ServerSettings(keys=keys, adapter_dirs=adapter_dirs)
    with running(create_app({TINY: llm}, settings)) as server:
        yield server


def post(server: RunningServer, path: str, key: str = ADMIN, **body: Any) -> httpx.Response:
    """Send a body with a key; none where it is empty."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{server.url}{path}", json=body, headers=headers, timeout=30)


def load(server: RunningServer, name: str, path: object, key: str = ADMIN, **more: Any) -> httpx.Response:
    """Ask to load an adapter."""
    return post(server, "/v1/load_lora_adapter", key, lora_name=name, lora_path=str(path), **more)


def unload(server: RunningServer, name: str, key: str = ADMIN, **more: Any) -> httpx.Response:
    """Ask to forget one."""
    return post(server, "/v1/unload_lora_adapter", key, lora_name=name, **more)
