"""Loading adapters over HTTP: no path leads out of the folders that were allowed, and only admins do it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ruvllm import LLM
from tests.adapters.gguf_files import from_folder, write
from tests.serve.adapters import FIRST, USER, adapter_server, folder, load, post, unload
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer


@pytest.fixture
def llm(tiny_chat_path: Path) -> Iterator[LLM]:
    with LLM(tiny_chat_path) as llm:
        yield llm


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder with an adapter, beside one that is nobody's business and has the same in it."""
    for name in ("allowed", "allowed-not", "secret"):
        shutil.copytree(folder(FIRST), tmp_path / name / "tone")
    return tmp_path / "allowed"


@pytest.fixture
def server(llm: LLM, allowed: Path) -> Iterator[RunningServer]:
    with adapter_server(llm, allowed) as server:
        yield server
        # Whatever was tried.
        assert llm.adapters.list() == []
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_paths_out_of_the_folders_are_refused_alike_whether_there_is_something_or_not(
    server: RunningServer, allowed: Path
) -> None:
    outside = allowed.parent / "secret"
    (allowed / "link").symlink_to(outside / "tone", target_is_directory=True)
    (allowed / "through").symlink_to(outside, target_is_directory=True)
    (allowed / "loop").symlink_to(allowed / "loop")
    given = [
        str(outside / "tone"),
        str(outside / "nothing"),
        "../secret/tone",
        "../secret/nothing",
        f"{allowed}/../secret/tone",
        "tone/../../secret/tone",
        f"{allowed}-not/tone",
        "link",
        str(allowed / "link"),
        "through/tone",
        "/etc",
        "/proc/self/cwd",
        "/",
        "..",
        "//etc/passwd",
    ]
    for path in given:
        answer = load(server, "tone", path)
        assert answer.status_code == 403, path
        error = answer.json()["error"]
        assert error["code"] == "permission_denied"
        assert error["param"] == "lora_path"
        # Of where the folders are it tells nothing that was not sent.
        assert error["message"].replace(repr(path), "") == (
            "lora_path is , which is in no folder from which adapters may be loaded"
        )


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_that_are_links_out_of_the_folders_are_not_followed(
    server: RunningServer, allowed: Path, name: str
) -> None:
    (allowed / "tone" / name).unlink()
    (allowed / "tone" / name).symlink_to(allowed.parent / "secret" / "tone" / name)
    answer = load(server, "tone", "tone")
    assert answer.status_code == 403
    assert answer.json()["error"]["param"] == "lora_path"


def test_links_inside_the_folders_are_followed(llm: LLM, allowed: Path) -> None:
    """As in the Hub's cache, whose snapshots are links to its blobs."""
    (allowed / "blobs").mkdir()
    (allowed / "snapshot").mkdir()
    for path in (allowed / "tone").iterdir():
        path.rename(allowed / "blobs" / path.name)
        (allowed / "snapshot" / path.name).symlink_to(Path("..") / "blobs" / path.name)
    with adapter_server(llm, allowed) as server:
        assert load(server, "tone", "snapshot").status_code == 200


def test_gguf_files_are_loaded_from_the_folders_and_from_nowhere_else(llm: LLM, allowed: Path) -> None:
    file = write(allowed / "tone.gguf", from_folder(folder(FIRST)))
    outside = write(allowed.parent / "secret" / "tone.gguf", from_folder(folder(FIRST)))
    (allowed / "link.gguf").symlink_to(outside)
    with adapter_server(llm, allowed) as server:
        for path in (outside, "../secret/tone.gguf", "link.gguf", allowed / "link.gguf"):
            assert load(server, "x", path).status_code == 403
        for path in ("nothing.gguf", "tone.gguf/adapter_config.json"):
            assert load(server, "x", path).status_code == 404
        assert load(server, "a", "tone.gguf").status_code == 200
        assert load(server, "b", file).status_code == 200
        (allowed / "broken.gguf").write_bytes(file.read_bytes()[:1000])
        answer = load(server, "x", "broken.gguf")
        assert answer.status_code == 400
        # Where the folders are is told to nobody.
        assert str(allowed) not in answer.text
        assert "broken.gguf" in answer.text
    assert [(one.name, one.source) for one in llm.adapters.list()] == [("a", file), ("b", file)]


def test_a_folder_that_is_itself_a_link_may_be_allowed(llm: LLM, allowed: Path) -> None:
    link = allowed.parent / "link-to-allowed"
    link.symlink_to(allowed, target_is_directory=True)
    with adapter_server(llm, link) as server:
        assert load(server, "a", "tone").status_code == 200
        assert load(server, "b", link / "tone").status_code == 200
        assert load(server, "c", allowed / "tone").status_code == 200
        assert load(server, "d", "../secret/tone").status_code == 403


@pytest.mark.parametrize("path", ["nothing", "tone/adapter_config.json", "x" * 4000, "a/" * 2000, "loop"])
def test_what_is_no_folder_is_told_as_such(server: RunningServer, allowed: Path, path: str) -> None:
    (allowed / "loop").symlink_to(allowed / "loop")
    assert load(server, "tone", path).status_code == 404


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tone", "tone\0"),
        ("tone", ""),
        ("", "tone"),
        ("tone", "x" * 5000),
        ("x" * 2000, "tone"),
        ("x" * 200, "tone"),
        (TINY, "tone"),
        (f"{TINY}:tone", "tone"),
        ("../tone", "tone"),
        ("to\nne", "tone"),
        ("tone ", "tone"),
        ("\u202etone", "tone"),
    ],
)
def test_wrong_names_and_paths_are_bad_requests(server: RunningServer, name: str, path: str) -> None:
    answer = load(server, name, path)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"


def test_only_admin_keys_change_which_adapters_there_are(llm: LLM, allowed: Path) -> None:
    with adapter_server(llm, allowed) as server:
        for key, status in ((USER, 403), ("", 401), ("sk-nobody-0001", 401)):
            assert load(server, "tone", "tone", key).status_code == status
            assert unload(server, "tone", key).status_code == status
        assert llm.adapters.list() == []
        assert load(server, "tone", "tone").status_code == 200
        for key, status in ((USER, 403), ("", 401)):
            assert load(server, "tone", "tone", key, load_inplace=True).status_code == status
            assert unload(server, "tone", key).status_code == status
        assert [one.name for one in llm.adapters.list()] == ["tone"]


def test_without_a_folder_nothing_is_loaded_over_http(llm: LLM) -> None:
    with adapter_server(llm) as server:
        for path in (folder(FIRST), "/", "tone"):
            answer = load(server, "tone", path)
            assert answer.status_code == 403
            assert "--adapter-dir" in answer.json()["error"]["message"]
    assert llm.adapters.list() == []


def test_pages_of_other_origins_load_nothing(llm: LLM, allowed: Path) -> None:
    with adapter_server(llm, allowed) as server:
        headers = {"origin": "https://evil.example", "x-api-key": "sk-admin-0001"}
        body = {"lora_name": "tone", "lora_path": "tone"}
        answer = httpx.post(f"{server.api}/load_lora_adapter", json=body, headers=headers)
        assert answer.status_code == 403
        answer = httpx.post(f"{server.api}/load_lora_adapter", content=b"lora_name=tone", headers=headers)
        assert answer.status_code == 403
    assert llm.adapters.list() == []


def test_bodies_are_bounded_as_everywhere(server: RunningServer) -> None:
    assert load(server, "tone", "tone", padding="x" * 5_000_000).status_code == 413
    assert load(server, "tone", "tone", padding=[[]] * 30_000).status_code == 400
    for body in ({}, {"lora_name": "tone"}, {"lora_name": 7, "lora_path": "tone"}, {"lora_name": ["a"]}):
        assert post(server, "/v1/load_lora_adapter", **body).status_code == 400
    for body in ({}, {"lora_name": None}, {"lora_name": "tone", "model": "nobody"}):
        assert post(server, "/v1/unload_lora_adapter", **body).status_code in (400, 404)


def test_a_broken_adapter_is_refused_and_what_it_was_to_replace_stays(llm: LLM, allowed: Path) -> None:
    with adapter_server(llm, allowed) as server:
        load(server, "tone", "tone").raise_for_status()
        before = llm.adapters.info("tone").generation
        shutil.copytree(allowed / "tone", allowed / "broken")
        with (allowed / "broken" / "adapter_model.safetensors").open("r+b") as file:
            file.truncate(1000)
        (allowed / "empty").mkdir()
        for path in ("broken", "empty"):
            for more in ({}, {"load_inplace": True}):
                answer = load(server, "tone" if more else "other", path, **more)
                assert answer.status_code == 400, answer.text
                # The names of files alone.
                assert str(allowed) not in answer.text
        assert [(one.name, one.generation) for one in llm.adapters.list()] == [("tone", before)]
